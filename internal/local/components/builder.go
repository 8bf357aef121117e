// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package components

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
)

// Builder builds programs that are missing from its cache. The zero Clock is the real one.
//
// Any number of Builders, also in different processes, may share a cache: a file lock per group makes sure that
// nothing is built twice.
type Builder struct {
	// Repo is the root of the checkout; the pinned modules are in its hack/components.
	Repo string
	// Cache is the folder that keeps what was built; see DefaultCache.
	Cache string
	// Assets, when set, is a folder whose kube-apiserver, etcd and kubectl are used instead of building them. It is
	// meant for the value of KUBEBUILDER_ASSETS, and must stay empty for whoever bakes programs into an image.
	Assets string
	// Kubernetes is one of KubernetesVersions; empty means the first.
	Kubernetes string
	// Report receives one line, without newline, for each thing a person may have to wait for. It may be nil.
	Report func(line string)
	// Clock measures how long a build took.
	Clock clock.PassiveClock
}

// FromEnvironment is the Builder for whoever only runs programs: for the checkout around the working directory, with
// DefaultCache, and with KUBEBUILDER_ASSETS as Assets.
func FromEnvironment(report func(line string)) (*Builder, error) {
	repo, err := FindRepo("")
	if err != nil {
		return nil, err
	}
	cache, err := DefaultCache()
	if err != nil {
		return nil, err
	}
	return &Builder{Repo: repo, Cache: cache, Assets: os.Getenv("KUBEBUILDER_ASSETS"), Report: report}, nil
}

// Build returns the absolute path of each named program, and builds what is missing. Programs of one group that are
// missing are built by one run of the compiler. It may be called again at any time, also after it was killed.
func (b *Builder) Build(ctx context.Context, names ...string) (map[string]string, error) {
	if b.Kubernetes != "" && !slices.Contains(KubernetesVersions(), b.Kubernetes) {
		return nil, fmt.Errorf("version %s of Kubernetes cannot be built: use one of %s", b.Kubernetes, strings.Join(KubernetesVersions(), ", "))
	}
	paths := map[string]string{}
	wanted := map[string][]string{}
	for _, name := range names {
		if path, ok := b.asset(name); ok {
			paths[name] = path
			continue
		}
		g, ok := groupOf(name, b.Kubernetes)
		if !ok {
			return nil, fmt.Errorf("program %q is not in the table of components; known are %s", name, strings.Join(Names(), ", "))
		}
		wanted[g.dir] = append(wanted[g.dir], name)
	}
	for _, g := range groups(b.Kubernetes) {
		if len(wanted[g.dir]) == 0 {
			continue
		}
		built, err := b.buildGroup(ctx, g, wanted[g.dir])
		if err != nil {
			return nil, err
		}
		maps.Copy(paths, built)
	}
	return paths, nil
}

// Names lists every program that can be built, sorted.
func Names() []string {
	var names []string
	for _, g := range groups(KubernetesVersion) {
		for name := range g.programs {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// DefaultCache is $INGOT_CACHE, or the folder "ingot" in the user's cache directory.
func DefaultCache() (string, error) {
	if dir := os.Getenv("INGOT_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory: %w; set INGOT_CACHE to a folder that may hold about 2 GB", err)
	}
	return filepath.Join(dir, "ingot"), nil
}

// FindRepo returns the root of the checkout that contains dir ("" is the working directory).
func FindRepo(dir string) (string, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for at := start; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "hack", "components", "kubernetes", "go.mod")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is not inside a checkout of Ingot (no hack/components above it); run from the checkout", start)
		}
	}
}

// ModuleDir returns the folder that holds the source of the group's upstream module, and downloads it when needed.
func (b *Builder) ModuleDir(ctx context.Context, module string) (string, error) {
	for _, g := range groups(b.Kubernetes) {
		if g.module == module {
			return b.goTool(g).moduleDir(ctx, module)
		}
	}
	return "", fmt.Errorf("module %q is not the upstream of any group of components", module)
}

func (b *Builder) asset(name string) (string, bool) {
	if b.Assets == "" || !slices.Contains([]string{"kube-apiserver", "etcd", "kubectl"}, name) {
		return "", false
	}
	path, err := filepath.Abs(filepath.Join(b.Assets, name))
	if err != nil || !isProgram(path) {
		return "", false
	}
	return path, true
}

func (b *Builder) buildGroup(ctx context.Context, g group, names []string) (map[string]string, error) {
	tool := b.goTool(g)
	key, err := tool.cacheKey(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Join(b.Cache, "components", g.dir+"-"+g.version+"-"+key))
	if err != nil {
		return nil, fmt.Errorf("cache %s: %w", b.Cache, err)
	}
	paths := map[string]string{}
	for _, name := range names {
		paths[name] = filepath.Join(dir, name)
	}
	if len(missing(paths)) == 0 {
		return paths, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("cache for components: %w; set INGOT_CACHE to a folder that can be written", err)
	}
	unlock, err := process.Lock(ctx, filepath.Join(dir, ".lock"), func() {
		b.report("waiting for another process that builds %s %s", g.dir, g.version)
	})
	if err != nil {
		return nil, fmt.Errorf("locking the cache of %s: %w", g.dir, err)
	}
	defer unlock()
	todo := missing(paths) // again: another process may have built them while this one waited
	if len(todo) == 0 {
		return paths, nil
	}
	return paths, b.compile(ctx, tool, dir, todo)
}

// compile builds into a scratch folder and moves each finished program into place, so that a program in the cache is
// always whole. The caller holds the lock of dir.
func (b *Builder) compile(ctx context.Context, tool goTool, dir string, names []string) error {
	if err := removeScratch(dir); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(dir, scratchPrefix)
	if err != nil {
		return fmt.Errorf("cache for components: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()

	what := strings.Join(names, ", ") + " " + tool.group.version
	b.report("building %s (first time, about %d min on 2 cores; cached afterwards)", what, tool.group.minutes)
	began := b.clock().Now()
	if err := tool.build(ctx, scratch, names); err != nil {
		return fmt.Errorf("building %s: %w", what, err)
	}
	for _, name := range names {
		from := filepath.Join(scratch, outputName(tool.group.programs[name]))
		if err := os.Rename(from, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("storing %s: %w", name, err)
		}
	}
	b.report("built %s in %s", what, b.clock().Since(began).Round(time.Second))
	return nil
}

func (b *Builder) goTool(g group) goTool {
	return goTool{group: g, dir: filepath.Join(b.Repo, "hack", "components", g.dir)}
}

func (b *Builder) report(format string, args ...any) {
	if b.Report != nil {
		b.Report(fmt.Sprintf(format, args...))
	}
}

func (b *Builder) clock() clock.PassiveClock {
	if b.Clock != nil {
		return b.Clock
	}
	return clock.RealClock{}
}

const scratchPrefix = "building-"

// removeScratch deletes what a killed build left behind.
func removeScratch(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cache for components: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), scratchPrefix) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("removing what a killed build left: %w", err)
			}
		}
	}
	return nil
}

func missing(paths map[string]string) []string {
	var names []string
	for name, path := range paths {
		if !isProgram(path) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
