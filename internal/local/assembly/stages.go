// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"
)

// keepPerStage is how many results of one stage stay in the cache; older ones are removed after a build.
const keepPerStage = 3

// scratchMark is in the name of every unfinished result.
const scratchMark = ".building-"

// Stages is the cache of finished stages of a build below one folder. Who uses it must hold a lock of that folder.
type Stages struct {
	// Root is the folder.
	Root string
	// Report receives what a person may have to wait for.
	Report func(format string, args ...any)
	// Clock measures how long stages take, and says which results were used last.
	Clock clock.PassiveClock
}

// Run returns the folder with the result of a stage. If the cache has none for this key, fill writes it into a scratch folder
// which then takes the final name, so a result under its final name is always whole.
func (s *Stages) Run(name, what, key string, fill func(dir string) error) (string, error) {
	final := filepath.Join(s.Root, name+"-"+key)
	if _, err := os.Stat(final); err == nil {
		now := s.Clock.Now()
		return final, os.Chtimes(final, now, now)
	}
	scratch, err := os.MkdirTemp(s.Root, name+scratchMark)
	if err != nil {
		return "", fmt.Errorf("stage %s: %w", name, err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()

	s.Report("%s", what)
	began := s.Clock.Now()
	if err := fill(scratch); err != nil {
		return "", fmt.Errorf("stage %s (%s): %w", name, what, err)
	}
	if err := os.Chmod(scratch, 0o755); err != nil {
		return "", fmt.Errorf("stage %s: %w", name, err)
	}
	if err := os.Rename(scratch, final); err != nil {
		return "", fmt.Errorf("stage %s: keeping the result: %w", name, err)
	}
	s.Report("%s: done in %s", what, s.Clock.Since(began).Round(time.Second))
	return final, nil
}

// Sweep removes what interrupted builds left, and all but the last used results of each stage.
func (s *Stages) Sweep() error {
	entries, err := os.ReadDir(s.Root)
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	type result struct {
		path string
		used time.Time
	}
	results := map[string][]result{}
	for _, e := range entries {
		path := filepath.Join(s.Root, e.Name())
		if strings.Contains(e.Name(), scratchMark) {
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("cache: removing what an interrupted build left: %w", err)
			}
			continue
		}
		at := strings.LastIndex(e.Name(), "-")
		info, err := e.Info()
		if at < 0 || err != nil || !e.IsDir() {
			continue
		}
		results[e.Name()[:at]] = append(results[e.Name()[:at]], result{path, info.ModTime()})
	}
	for _, of := range results {
		slices.SortFunc(of, func(a, b result) int { return b.used.Compare(a.used) })
		for _, old := range of[min(keepPerStage, len(of)):] {
			if err := os.RemoveAll(old.path); err != nil {
				return fmt.Errorf("cache: removing an old result: %w", err)
			}
		}
	}
	return nil
}

// Inputs collects what decides the result of a stage. The zero value has none.
type Inputs struct {
	parts []string
	err   error
}

// Value adds a named value.
func (in *Inputs) Value(name string, value any) {
	in.parts = append(in.parts, fmt.Sprintf("%s=%q", name, fmt.Sprint(value)))
}

// Files adds the content, the names and the executable bits of files and of all files below folders. Go tests do not
// count.
func (in *Inputs) Files(paths ...string) {
	for _, root := range paths {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			return in.file(root, path)
		})
		if err != nil && in.err == nil {
			in.err = fmt.Errorf("input: %w", err)
		}
	}
}

// smallProgram is the size in bytes up to which a program counts by its content.
const smallProgram = 16 << 20

// Programs adds programs: small ones by content, large ones by place, size and time, which is quick. A large program
// that was built again counts as another one.
func (in *Inputs) Programs(paths ...string) {
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			in.err = errors.Join(in.err, fmt.Errorf("input: %w", err))
		case info.Size() <= smallProgram:
			in.Files(path)
		default:
			in.Value(path, fmt.Sprintf("%d bytes of %d", info.Size(), info.ModTime().UnixNano()))
		}
	}
}

func (in *Inputs) file(root, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	sum, err := FileDigest(path)
	if err != nil {
		return err
	}
	name, err := filepath.Rel(filepath.Dir(root), path)
	if err != nil {
		return err
	}
	in.Value(name, fmt.Sprintf("%s executable=%t", sum, info.Mode()&0o111 != 0))
	return nil
}

// Key is the hash over everything added, in any order, or the first error met while adding.
func (in *Inputs) Key() (string, error) {
	if in.err != nil {
		return "", in.err
	}
	slices.Sort(in.parts)
	sum := sha256.Sum256([]byte(strings.Join(in.parts, "\n")))
	return hex.EncodeToString(sum[:])[:16], nil
}

// FileDigest is the SHA-256 of a file in hexadecimal.
func FileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
