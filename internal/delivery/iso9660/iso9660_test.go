// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package iso9660_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery/iso9660"
)

func example() delivery.FileSystem {
	return delivery.FileSystem{Label: "config-2", Files: map[string][]byte{
		"openstack/latest/user_data":      bytes.Repeat([]byte("data\n"), 10_000),
		"openstack/latest/meta_data.json": []byte("{}"),
		"openstack/content/0000":          bytes.Repeat([]byte{0}, 2048), // exactly one sector
		"ec2/latest/user-data":            {},
		"meta-data":                       []byte("instance-id: x\n"),
		"Mixed.Case-1.yaml":               []byte("x"),
	}}
}

func encode(t *testing.T, f delivery.FileSystem) (path string) {
	t.Helper()
	image, err := iso9660.Encode(f)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// program runs a program of the machine and returns what it printed.
func program(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s (make packages installs it): %v\n%s", cmd, err, stderr.String())
	}
	return string(out)
}

// A guest reads with a program that is not ours.
func TestAnotherProgramReadsIt(t *testing.T) {
	image, dir := encode(t, example()), t.TempDir()
	program(t, "xorriso", "-abort_on", "WARNING", "-osirrox", "on", "-indev", image, "-extract", "/", dir)
	got := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o400 {
			t.Errorf("%s has mode %s: others than root can read it", path, info.Mode())
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		got[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example().Files, got); diff != "" {
		t.Error(diff)
	}
}

// A reader that knows no Rock Ridge still finds the files, in capitals.
func TestWithoutRockRidge(t *testing.T) {
	listing := program(t, "xorriso", "-abort_on", "WARNING", "-read_fs", "norock", "-indev", encode(t, example()), "-find", "/", "-type", "f")
	for _, name := range []string{"/OPENSTACK/LATEST/USER_DATA", "/META-DATA", "/MIXED.CASE-1.YAML"} {
		if !strings.Contains(strings.ToUpper(listing), name) {
			t.Errorf("%s is not in\n%s", name, listing)
		}
	}
}

// Guests look for the carrier by its label, as this program tells it.
func TestLabel(t *testing.T) {
	for _, label := range []string{"cidata", "config-2", strings.Repeat("L", 32)} {
		f := example()
		f.Label = label
		image := encode(t, f)
		for field, want := range map[string]string{"LABEL": label, "TYPE": "iso9660"} {
			if got := strings.TrimSpace(program(t, "blkid", "-p", "-o", "value", "-s", field, image)); got != want {
				t.Errorf("%s is %q, want %q", field, got, want)
			}
		}
	}
}

// The bytes are part of what a release promises: the same data is the same carrier, on any day and in any release.
func TestSameBytes(t *testing.T) {
	const want = "254b65596bda9de56a6ae82dda79cfc7b1b714e9ef35470d010fb1e718a44bac"
	image, err := iso9660.Encode(example())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(image)
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("the digest of the example is %s, was %s", got, want)
	}
}

func TestRefusals(t *testing.T) {
	many := map[string][]byte{}
	for _, c := range "abcdefghijklmnopqrstuvwxyz" {
		many[string(c)] = nil
	}
	for why, f := range map[string]delivery.FileSystem{
		"a label is needed":                    {Label: "", Files: map[string][]byte{"a": nil}},
		"a label has 32 characters":            {Label: strings.Repeat("l", 33)},
		"a name may not climb":                 {Label: "x", Files: map[string][]byte{"../a": nil}},
		"a path is relative":                   {Label: "x", Files: map[string][]byte{"/a": nil}},
		"a name has no other characters":       {Label: "x", Files: map[string][]byte{"a b": nil}},
		"a name is short":                      {Label: "x", Files: map[string][]byte{strings.Repeat("n", 29): nil}},
		"a name is unique without Rock Ridge":  {Label: "x", Files: map[string][]byte{"a": nil, "A": nil}},
		"so is one with a dot":                 {Label: "x", Files: map[string][]byte{"a": nil, "a.": nil}},
		"a file is no folder":                  {Label: "x", Files: map[string][]byte{"a": nil, "a/b": nil}},
		"a folder is for a handful of files":   {Label: "x", Files: many},
		"there are no names without an ending": {Label: "x", Files: map[string][]byte{"a/": nil}},
	} {
		if image, err := iso9660.Encode(f); err == nil || image != nil {
			t.Errorf("%s: not refused", why)
		}
	}
}
