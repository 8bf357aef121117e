// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

// Two images are built one after another for years on one machine: a stage must never hand out half a result, and the
// cache must not grow for ever.

func newStages(t *testing.T) (*Stages, *clocktesting.FakeClock) {
	t.Helper()
	clock := clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0))
	return &Stages{Root: t.TempDir(), Report: func(string, ...any) {}, Clock: clock}, clock
}

func TestAFailedStageLeavesNothingThatPassesForFinished(t *testing.T) {
	s, _ := newStages(t)
	broken := errors.New("disk full")
	_, err := s.Run("root", "writing", "k1", func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "half"), []byte("x"), 0o600); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatalf("error = %v, want the cause", err)
	}
	entries, _ := os.ReadDir(s.Root)
	if len(entries) != 0 {
		t.Fatalf("left behind: %v", entries)
	}
}

func TestAStageThatWasKilledIsBuiltAnew(t *testing.T) {
	s, _ := newStages(t)
	scratch := filepath.Join(s.Root, "root"+scratchMark+"123")
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(scratch); err == nil {
		t.Fatal("the folder of the killed build is still there")
	}
	builds := 0
	for range 2 {
		if _, err := s.Run("root", "writing", "123", func(string) error { builds++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if builds != 1 {
		t.Fatalf("built %d times, want once and then from the cache", builds)
	}
}

func TestTheCacheKeepsOnlyTheLastUsedResultsOfAStage(t *testing.T) {
	s, clock := newStages(t)
	use := func(key string) string {
		clock.Step(time.Minute)
		dir, err := s.Run("disk", "writing", key, func(string) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, clock.Now(), clock.Now()); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	first := use("a")
	second := use("b")
	use("c")
	use("d")
	use("a") // used again: now b is the oldest
	if err := s.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(first); err != nil {
		t.Error("a result in use was removed")
	}
	if _, err := os.Stat(second); err == nil {
		t.Error("the result that was unused for longest is still there")
	}
}

func TestAKeyChangesWithEveryInputAndWithNothingElse(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "overlay", "etc", "motd")
	write := func(content string, mode os.FileMode) {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil { // which writing does not change
			t.Fatal(err)
		}
	}
	key := func(order ...string) string {
		in := &Inputs{}
		for _, name := range order {
			in.Value(name, "v")
		}
		in.Files(filepath.Join(dir, "overlay"))
		k, err := in.Key()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	write("a", 0o644)
	base := key("x", "y")
	if key("y", "x") != base {
		t.Error("the order of inputs matters")
	}
	if err := os.Chtimes(file, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if key("x", "y") != base {
		t.Error("the time of a file matters; two checkouts would never share a cache")
	}
	write("b", 0o644)
	if key("x", "y") == base {
		t.Error("other content, same key")
	}
	write("a", 0o755)
	if key("x", "y") == base {
		t.Error("an executable bit more, same key")
	}
}

func TestAMissingInputIsAnErrorAndNotAKey(t *testing.T) {
	in := &Inputs{}
	in.Files(filepath.Join(t.TempDir(), "nowhere"))
	if _, err := in.Key(); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Fatalf("error = %v, want one that names the file", err)
	}
}
