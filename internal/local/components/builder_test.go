// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package components_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
)

// fakeGo stands for the go command: it appends a line to $FAKE_GO_LOG for each build and writes programs where the
// real one would. FAKE_GO_MODE breaks it.
const fakeGo = `#!/bin/sh
case "$1" in
env) echo go1.26.0; exit 0 ;;
build) ;;
*) exit 64 ;;
esac
echo "$@" >>"$FAKE_GO_LOG"
out=$3
shift 3
case "$FAKE_GO_MODE" in
fail) echo "x.go:1:1: something does not compile" >&2; exit 1 ;;
hang) exec sleep 600 ;;
slow) sleep 0.5 ;;
esac
for arg in "$@"; do
  case "$arg" in
  *.*/*/v3) printf '#!/bin/sh\n' >"$out/server"; chmod +x "$out/server" ;;
  k8s.io/*/cmd/*) name=${arg##*/}; printf '#!/bin/sh\n' >"$out/$name"; chmod +x "$out/$name" ;;
  esac
done
`

// world is a checkout with pinned modules, a cache, and the fake go command on the path.
type world struct {
	repo, cache, log string
	mu               sync.Mutex
	lines            []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{repo: t.TempDir(), cache: t.TempDir()}
	for _, group := range []string{"kubernetes", "etcd"} {
		dir := filepath.Join(w.repo, "hack", "components", group)
		writeFile(t, filepath.Join(dir, "go.mod"), "module x\n", 0o644)
		writeFile(t, filepath.Join(dir, "go.sum"), "", 0o644)
	}
	bin := t.TempDir()
	writeFile(t, filepath.Join(bin, "go"), fakeGo, 0o755)
	w.log = filepath.Join(bin, "log")
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("FAKE_GO_LOG", w.log)
	t.Setenv("FAKE_GO_MODE", "")
	return w
}

func (w *world) builder() *components.Builder {
	return &components.Builder{Repo: w.repo, Cache: w.cache, Report: func(line string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.lines = append(w.lines, line)
	}}
}

func (w *world) builds(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile(w.log)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

func TestOneCompilerRunPerGroupAndNoneWhenCached(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		paths, err := w.builder().Build(t.Context(), "etcd", "kube-apiserver", "kubelet")
		if err != nil {
			t.Fatal(err)
		}
		if len(paths) != 3 || !strings.HasPrefix(paths["etcd"], w.cache) {
			t.Fatalf("unexpected paths %v", paths)
		}
	}
	if got := w.builds(t); len(got) != 2 {
		t.Errorf("want one build per group, got %q", got)
	}
	if len(w.lines) == 0 || !strings.Contains(w.lines[0], "building kube-apiserver, kubelet v1.36.3 (first time, about") {
		t.Errorf("a person who waits is not told for what: %q", w.lines)
	}
}

func TestAddingAProgramBuildsOnlyThatOne(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"kubelet", "kubeadm"} {
		if _, err := w.builder().Build(t.Context(), "kubelet", name); err != nil {
			t.Fatal(err)
		}
	}
	got := w.builds(t)
	if len(got) != 2 || strings.Contains(got[1], "cmd/kubelet") {
		t.Errorf("kubelet was built again: %q", got)
	}
}

func TestChangedPinBuildsAnew(t *testing.T) {
	w := newWorld(t)
	before, err := w.builder().Build(t.Context(), "etcd")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(w.repo, "hack", "components", "etcd", "go.sum"), "changed\n", 0o644)
	after, err := w.builder().Build(t.Context(), "etcd")
	if err != nil {
		t.Fatal(err)
	}
	if before["etcd"] == after["etcd"] {
		t.Errorf("a changed go.sum served the old program %s", after["etcd"])
	}
}

func TestTwoBuildersAtOnceBuildOnce(t *testing.T) {
	w := newWorld(t)
	t.Setenv("FAKE_GO_MODE", "slow")
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if _, err := w.builder().Build(t.Context(), "etcd"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := w.builds(t); len(got) != 1 {
		t.Errorf("built %d times: %q", len(got), got)
	}
}

func TestFailedBuildShowsTheCompilersWordsAndLeavesNothing(t *testing.T) {
	w := newWorld(t)
	t.Setenv("FAKE_GO_MODE", "fail")
	_, err := w.builder().Build(t.Context(), "etcd")
	if err == nil || !strings.Contains(err.Error(), "something does not compile") || !strings.Contains(err.Error(), "etcd v3.6.8") {
		t.Errorf("error names neither program nor reason: %v", err)
	}
	requireNoScratch(t, w.cache)
}

func TestCancelledBuildEndsAtOnceAndTheNextOneWorks(t *testing.T) {
	w := newWorld(t)
	t.Setenv("FAKE_GO_MODE", "hang")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := w.builder().Build(ctx, "etcd"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("want the reason of the context, got %v", err)
	}
	requireNoScratch(t, w.cache)
	t.Setenv("FAKE_GO_MODE", "")
	if _, err := w.builder().Build(t.Context(), "etcd"); err != nil {
		t.Errorf("the build after a cancelled one: %v", err)
	}
}

func TestWhatAKilledBuildLeftIsRemoved(t *testing.T) {
	w := newWorld(t)
	paths, err := w.builder().Build(t.Context(), "kubelet")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(filepath.Dir(paths["kubelet"]), "building-123", "kubeadm"), "half a program", 0o755)
	if _, err := w.builder().Build(t.Context(), "kubeadm"); err != nil {
		t.Fatal(err)
	}
	requireNoScratch(t, w.cache)
}

func TestAssetsWinOnlyWhereTheyMay(t *testing.T) {
	for _, tc := range []struct {
		name    string
		program string
		mode    os.FileMode
		wins    bool
		why     string
	}{
		{"server", "kube-apiserver", 0o755, true, "whoever has envtest binaries does not want to wait for a build"},
		{"not executable", "kube-apiserver", 0o644, false, "a broken download must not be run"},
		{"kubelet", "kubelet", 0o755, false, "the folder is a contract for kube-apiserver, etcd and kubectl only"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.builder()
			b.Assets = t.TempDir()
			asset := filepath.Join(b.Assets, tc.program)
			writeFile(t, asset, "#!/bin/sh\n", tc.mode)
			paths, err := b.Build(t.Context(), tc.program)
			if err != nil {
				t.Fatal(err)
			}
			if got := paths[tc.program] == asset; got != tc.wins {
				t.Errorf("used the asset: %t, want %t: %s", got, tc.wins, tc.why)
			}
		})
	}
}

func TestUnknownProgramIsRefusedWithTheKnownOnes(t *testing.T) {
	_, err := newWorld(t).builder().Build(t.Context(), "kube-apiservre")
	if err == nil || !strings.Contains(err.Error(), "kube-apiserver") {
		t.Errorf("got %v", err)
	}
}

// The only test with the real go command: flags, tags and module graph of a real group work together.
func TestRealBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles an upstream module")
	}
	repo, err := components.FindRepo("")
	if err != nil {
		t.Fatal(err)
	}
	b := &components.Builder{Repo: repo, Cache: t.TempDir(), Report: func(line string) { t.Log(line) }}
	paths, err := b.Build(t.Context(), "loopback", "portmap")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"loopback", "portmap"} {
		if info, err := os.Stat(paths[name]); err != nil || info.Size() < 1<<20 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

func requireNoScratch(t *testing.T, cache string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(cache, "components", "*", "building-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the cache: %v %v", left, err)
	}
}

func writeFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}
