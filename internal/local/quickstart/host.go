// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hostpackages"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hypervisor"
)

// What a run needs of the machine.
const (
	coldDiskBytes         = 22 << 30 // programs, build cache, two images, the disks of the VMs
	warmDiskBytes         = 8 << 30  // the same with programs and images already in the cache
	memoryBytes           = 6 << 30  // the VMs, the management plane, the page cache that keeps them fast
	memoryPerControlPlane = 3 << 30  // each further control plane
	memoryPerWorker       = 3 << 29  // each further worker
)

// checkHost checks what the run needs of the machine, and installs packages that are missing.
func (q *quickstart) checkHost(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces and libvirtd need root: run it with sudo, for example sudo -E make quickstart")
	}
	if err := os.MkdirAll(q.State, 0o700); err != nil {
		return fmt.Errorf("state folder: %w; choose another with --state", err)
	}
	if err := q.installPackages(ctx); err != nil {
		return err
	}
	if missing := hypervisor.Preflight(); len(missing) > 0 {
		lines := make([]string, 0, len(missing))
		for _, m := range missing {
			lines = append(lines, m.String())
		}
		return fmt.Errorf("this machine lacks: %s", strings.Join(lines, "; "))
	}
	if err := q.checkSpace(); err != nil {
		return err
	}
	return q.checkMemory()
}

// checkSpace refuses to begin what would fill the disk half way.
func (q *quickstart) checkSpace() error {
	need := uint64(coldDiskBytes)
	if _, err := os.Stat(q.manifestPath(q.ToImage)); err == nil {
		need = warmDiskBytes
	}
	if err := os.MkdirAll(q.Cache, 0o755); err != nil {
		return fmt.Errorf("cache folder: %w; set INGOT_CACHE to a folder that can be written", err)
	}
	for _, dir := range []string{q.Cache, q.State} {
		var stat unix.Statfs_t
		if err := unix.Statfs(dir, &stat); err != nil {
			return fmt.Errorf("free space of %s: %w", dir, err)
		}
		if free := stat.Bavail * uint64(stat.Bsize); free < need {
			return fmt.Errorf("%s has %.1f GiB free and the quickstart needs %d GiB: free some space, or choose another disk with INGOT_CACHE and --state",
				dir, float64(free)/(1<<30), need>>30)
		}
	}
	return nil
}

func (q *quickstart) checkMemory() error {
	need := uint64(memoryBytes) + uint64(q.ControlPlanes-1)*memoryPerControlPlane + uint64(max(q.Workers-1, 0))*memoryPerWorker
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return fmt.Errorf("memory of the machine: %w", err)
	}
	if total := info.Totalram * uint64(info.Unit); total < need {
		return fmt.Errorf("this machine has %.1f GiB of memory, and %s and %s need %.1f GiB: use fewer --control-planes or --workers, or a larger machine",
			float64(total)/(1<<30), count(q.ControlPlanes, "control plane"), count(q.Workers, "worker"), float64(need)/(1<<30))
	}
	return nil
}

// installPackages installs the Debian packages that the run needs and the machine does not have.
func (q *quickstart) installPackages(ctx context.Context) error {
	installer := hostpackages.Installer{Report: q.indented}
	if !q.Yes {
		installer.Confirm = func(packages []string) bool {
			return q.confirm("Install these packages: " + strings.Join(packages, " ") + "?")
		}
	}
	return installer.Ensure(ctx)
}

func (q *quickstart) confirm(question string) bool {
	if q.In == nil {
		return false
	}
	q.print(question + " [y/N] ")
	answer, _ := bufio.NewReader(q.In).ReadString('\n')
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y")
}

func lastLines(text string) string {
	const few = 5
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-few):], "\n")
}

// manifestPath is where the NodeImage manifest of a version of our image is in the cache.
func (q *quickstart) manifestPath(version string) string {
	return filepath.Join(q.imageDir(), "ingot-os-"+version+"-amd64.nodeimage.yaml")
}

func (q *quickstart) imageDir() string { return filepath.Join(q.Cache, "images") }
