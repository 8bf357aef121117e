// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamilytest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files with what is rendered now")

// digestsName is the file that pins the bytes of every case. A line that changes there means that machines of existing
// users would be rendered anew: that is a breaking change and needs its own reason.
const digestsName = "digests.txt"

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// checkGolden compares the readable form of a bundle with its golden file. That of one setting holds only what it adds.
func (s Suite) checkGolden(t *testing.T, c Case, data []byte) {
	t.Helper()
	readable, err := s.Readable(data)
	if err != nil {
		t.Fatal(err)
	}
	if c.Without != nil {
		readable = s.added(t, c, readable)
	}
	CompareFile(t, filepath.Join(s.Testdata, c.Name+".golden"), "# "+c.Why+"\n"+readable)
}

// added is what the case of one setting has beside the rest: the lines that are not there without it.
func (s Suite) added(t *testing.T, c Case, readable string) string {
	t.Helper()
	without, _ := s.Family.Render(*c.Without)
	base, err := s.Readable(without.Data)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for line := range strings.Lines(base) {
		count[line]++
	}
	var out strings.Builder
	for line := range strings.Lines(readable) {
		if count[line]--; count[line] < 0 {
			out.WriteString(line)
		}
	}
	return out.String()
}

// checkDigests compares the digests of all bundles with the pinned ones, as one list.
func (s Suite) checkDigests(t *testing.T, digests map[string]string) {
	t.Helper()
	var list bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(digests)) {
		fmt.Fprintf(&list, "%s %s\n", digests[name], name)
	}
	CompareFile(t, filepath.Join(s.Testdata, digestsName), list.String())
}

// CompareFile compares text with a file, or writes the file where -update is set.
func CompareFile(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with: go test . -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("what is rendered is not what %s says; existing machines would roll (-want +got):\n%s", path, diff)
	}
}
