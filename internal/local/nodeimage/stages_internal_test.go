// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"context"
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

func newStages(t *testing.T) (*stages, *clocktesting.FakeClock) {
	t.Helper()
	clock := clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0))
	return &stages{root: t.TempDir(), report: func(string, ...any) {}, clock: clock}, clock
}

func TestAFailedStageLeavesNothingThatPassesForFinished(t *testing.T) {
	s, _ := newStages(t)
	broken := errors.New("disk full")
	_, err := s.run("root", "writing", "k1", func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "half"), []byte("x"), 0o600); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatalf("error = %v, want the cause", err)
	}
	entries, _ := os.ReadDir(s.root)
	if len(entries) != 0 {
		t.Fatalf("left behind: %v", entries)
	}
}

func TestAStageThatWasKilledIsBuiltAnew(t *testing.T) {
	s, _ := newStages(t)
	scratch := filepath.Join(s.root, "root"+scratchMark+"123")
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(scratch); err == nil {
		t.Fatal("the folder of the killed build is still there")
	}
	builds := 0
	for range 2 {
		if _, err := s.run("root", "writing", "123", func(string) error { builds++; return nil }); err != nil {
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
		dir, err := s.run("disk", "writing", key, func(string) error { return nil })
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
	if err := s.sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(first); err != nil {
		t.Error("a result in use was removed")
	}
	if _, err := os.Stat(second); err == nil {
		t.Error("the result that was unused for longest is still there")
	}
}

func TestBuildersOfOneCacheTakeTurns(t *testing.T) {
	root := t.TempDir()
	unlock, err := lock(t.Context(), root, func() { t.Error("the first one waited") })
	if err != nil {
		t.Fatal(err)
	}
	waited := false
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, root, func() { waited = true }); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the second one got the lock too: %v", err)
	}
	if !waited {
		t.Error("nobody was told about the wait")
	}
	unlock()
	again, err := lock(t.Context(), root, func() {})
	if err != nil {
		t.Fatalf("after the first one was done: %v", err)
	}
	again()
}

func TestAKeyChangesWithEveryInputAndWithNothingElse(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "overlay", "etc", "motd")
	write := func(content string, mode os.FileMode) {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	key := func(order ...string) string {
		in := &inputs{}
		for _, name := range order {
			in.value(name, "v")
		}
		in.files(filepath.Join(dir, "overlay"))
		k, err := in.key()
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
	in := &inputs{}
	in.files(filepath.Join(t.TempDir(), "nowhere"))
	if _, err := in.key(); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Fatalf("error = %v, want one that names the file", err)
	}
}
