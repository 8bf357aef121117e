// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"

	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
)

// Programs builds the Go programs that go into an image; a Builder of package components is one.
type Programs interface {
	// Build returns the path of each named program.
	Build(ctx context.Context, names ...string) (map[string]string, error)
}

// Builder builds Ingot OS. Its fields are set once; any number of builders may share a cache, they take turns.
type Builder struct {
	// Repo is the root of the checkout, whose folder nodeimage holds the sources of the OS.
	Repo string
	// Cache is the folder for results that later builds reuse, about 5 GB.
	Cache string
	// Programs supplies kubelet, containerd and the others.
	Programs Programs
	// Mirrors are complete lines of sources.list; nil leaves the choice to mmdebstrap,
	// which takes Debian's own with updates and security fixes. Name a snapshot to build from the
	// packages of a given day.
	Mirrors []string
	// Flavor is what configures the machines; empty is FlavorIgnition.
	Flavor Flavor
	// UpdateLock writes the versions of the Debian packages into packages.lock of the checkout instead of comparing
	// them with it.
	UpdateLock bool
	// Report receives one line, without newline, for each thing a person may have to wait for. It may be nil.
	Report func(line string)
	// Clock measures how long stages take; nil is the real one.
	Clock clock.PassiveClock
}

// Artefact is a finished image with its papers. All fields but the last two are absolute paths.
type Artefact struct {
	// Image is the disk image, a qcow2 file.
	Image string
	// Checksum is the image's SHA-256 in the format of sha256sum.
	Checksum string
	// SBOM lists what is in the image, as SPDX 2.3 JSON.
	SBOM string
	// Manifest is a NodeImage object that names the image by its digest.
	Manifest string
	// SHA256 is the digest of Image in hexadecimal.
	SHA256 string
	// Bytes is the size of Image.
	Bytes int64
}

// Build makes the image of the given version (v1.0.0) and writes it with its papers into the folder output. What an
// earlier build left in the cache is reused. An interrupted build leaves nothing that passes for finished.
func (b *Builder) Build(ctx context.Context, version, output string) (Artefact, error) {
	if err := checkVersion(version); err != nil {
		return Artefact{}, err
	}
	flavor := cmp.Or(b.Flavor, FlavorIgnition)
	if err := checkFlavor(flavor); err != nil {
		return Artefact{}, err
	}
	if err := checkHost(); err != nil {
		return Artefact{}, err
	}
	programs, err := b.Programs.Build(ctx, programNames(flavor)...)
	if err != nil {
		return Artefact{}, fmt.Errorf("programs for the node image: %w", err)
	}
	root, err := filepath.Abs(filepath.Join(b.Cache, "nodeimage"))
	if err != nil {
		return Artefact{}, fmt.Errorf("cache: %w", err)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return Artefact{}, fmt.Errorf("cache for node images: %w; set INGOT_CACHE to a folder that can be written", err)
	}
	unlock, err := process.Lock(ctx, filepath.Join(root, ".lock"), func() { b.report("waiting for another process that builds a node image") })
	if err != nil {
		return Artefact{}, err
	}
	defer unlock()
	run := &build{
		stages:     &assembly.Stages{Root: root, Report: b.report, Clock: b.clock()},
		sources:    filepath.Join(b.Repo, "nodeimage"),
		repo:       b.Repo,
		mirrors:    b.Mirrors,
		programs:   programs,
		version:    version,
		flavor:     flavor,
		updateLock: b.UpdateLock,
	}
	if err := run.stages.Sweep(); err != nil {
		return Artefact{}, err
	}
	if err := run.all(ctx); err != nil {
		return Artefact{}, err
	}
	return run.publish(ctx, output)
}

// build is one run of a Builder: the inputs that are the same for all stages, and what each stage left.
type build struct {
	stages   *assembly.Stages
	repo     string
	sources  string
	mirrors  []string
	programs map[string]string
	version  string
	flavor   Flavor

	updateLock bool

	kubernetes string // version that kubeadm reports and installs

	images  []containerImage // what kubeadm asks for, and flannel
	base    string           // installed Debian packages, and unpacked ones
	helpers string           // our own programs
	store   string           // containerd's root with all images
	tree    string           // everything but the version
	disk    string           // the finished disk of this version
}

// all runs the stages, each of which needs those before it.
func (r *build) all(ctx context.Context) error {
	for _, stage := range []func(context.Context) error{
		r.listImages,
		r.buildBase,
		func(context.Context) error { return r.compareLock() },
		r.buildHelpers,
		r.buildStore,
		r.buildTree,
		r.buildDisk,
	} {
		if err := stage(ctx); err != nil {
			return err
		}
	}
	return nil
}

// source is the path of a file in the sources of the OS.
func (r *build) source(name ...string) string {
	return filepath.Join(append([]string{r.sources}, name...)...)
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

// checkVersion refuses a version that is not of the form v1.2.3 or v1.2.3-suffix.
func checkVersion(version string) error {
	if !regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]{1,32})?$`).MatchString(version) {
		return fmt.Errorf("version %q: an image has a version like v1.0.0 or v1.1.0-rc.1", version)
	}
	return nil
}

// checkHost says in one sentence what the host lacks.
func checkHost() error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return fmt.Errorf("host is %s/%s: node images are built on linux/amd64", runtime.GOOS, runtime.GOARCH)
	}
	if os.Geteuid() != 0 {
		return errors.New("a node image is built as root, because its files belong to root; run with sudo")
	}
	for _, name := range []string{
		"cp", "depmod", "gcc", "mcopy", "mke2fs", "mkfs.erofs", "mkfs.vfat", "mmd", "mmdebstrap", "qemu-img", "sgdisk", "tar", "unshare",
	} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("program %s is missing; install the packages %v", name, HostPackages())
		}
	}
	return nil
}
