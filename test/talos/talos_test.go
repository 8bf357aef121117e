// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos_test

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
)

var release = flag.String("release", "1.13", "the release of the machinery that go test was told to use")

// mode is how Talos runs from an image that is on the disk already.
type mode struct{}

func (mode) String() string        { return "cloud" }
func (mode) RequiresInstall() bool { return false }
func (mode) InContainer() bool     { return false }

func judge(text string) error {
	provider, err := configloader.NewFromBytes([]byte(text))
	if err != nil {
		return err
	}
	_, err = provider.Validate(mode{})
	return err
}

// golden reads a golden file. What it begins with says why it is there; the rest is pinned by a digest.
func golden(t *testing.T, name string) string {
	t.Helper()
	folder := filepath.Join("../../internal/osfamily/talos/testdata", *release)
	content, err := os.ReadFile(filepath.Join(folder, name+".golden"))
	if err != nil {
		t.Fatal(err)
	}
	digests, err := os.ReadFile(filepath.Join(folder, "digests.txt"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(content), "\n\n")
	sum := sha256.Sum256([]byte(text))
	if !strings.Contains(string(digests), hex.EncodeToString(sum[:])+" "+name+"\n") {
		t.Errorf("%s does not hold the bytes that a machine reads", name)
	}
	return text
}

// What is written for a release is what that release reads.
func TestGoldens(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("../../internal/osfamily/talos/testdata", *release, "*.golden"))
	if err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".golden")
		if strings.HasPrefix(name, "setting-") {
			continue // holds what one setting adds; those with every option have them all
		}
		judged++
		if err := judge(golden(t, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if judged < 10 {
		t.Errorf("only %d golden files", judged)
	}
}

// The encryption of the disk is documents of its own, which no machine with every option has.
func TestDiskEncryption(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("../../internal/osfamily/talos/testdata", *release, "setting-disk-encryption*.golden"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d golden files, %v", len(paths), err)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, added, found := strings.Cut(string(content), "\n---\n")
		if !found || !strings.HasPrefix(added, "apiVersion: ") {
			t.Errorf("%s does not hold documents of its own", path)
		}
		if err := judge(golden(t, "worker") + "---\n" + added); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// What is refused at admission because it came later keeps a machine of this release from booting: that is why it is. The
// control is a field that every release has.
func TestLaterFields(t *testing.T) {
	worker := golden(t, "worker")
	for text, since := range map[string]string{
		"kind: OOMConfig\nstrictCgroupClassOrdering: false\n":                                     "1.13",
		"kind: DHCPv4Config\nname: eth0\nignoreRoutes: true\n":                                    "1.14",
		"kind: TimeSyncConfig\nntp: {servers: [time.example.com], useNTS: true}\n":                "1.14",
		"kind: UserVolumeConfig\nname: a\nprovisioning: {minSize: 1GiB}\ntrim: {enabled: true}\n": "1.14",
		"kind: DHCPv4Config\nname: eth0\nignoreHostname: true\n":                                  "1.12",
	} {
		err := judge(worker + "---\napiVersion: v1alpha1\n" + text)
		if *release >= since && err != nil {
			t.Errorf("%s knows this, and refuses it: %s\n%v", *release, text, err)
		}
		if *release < since && (err == nil || !strings.Contains(err.Error(), "unknown")) {
			t.Errorf("%s does not know this: %s\n%v", *release, text, err)
		}
	}
}
