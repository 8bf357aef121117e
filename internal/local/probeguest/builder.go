// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package probeguest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
)

// Image is the finished disk image. It must not be written to: a machine gets a copy, or an overlay.
type Image struct {
	// Path is the image in the cache.
	Path string
	// Format is qcow2.
	Format string
	// SHA256 is the digest of the file in hexadecimal.
	SHA256 string
	// SizeBytes is the size of the file.
	SizeBytes int64
	// VirtualSizeBytes is the size of the disk that it describes.
	VirtualSizeBytes int64
}

// Build makes the image for the checkout around the working directory, or finds it in the default cache. Report
// receives one line for each thing that a person may have to wait for, and may be nil.
func Build(ctx context.Context, report func(line string)) (Image, error) {
	repo, err := components.FindRepo("")
	if err != nil {
		return Image{}, err
	}
	cache, err := components.DefaultCache()
	if err != nil {
		return Image{}, err
	}
	return Builder{Repo: repo, Cache: cache, Report: report}.Build(ctx)
}

// Builder builds the image. Any number of builders may share a cache, they take turns.
type Builder struct {
	// Repo is the root of the checkout, whose folder nodeimage/probeguest holds the sources.
	Repo string
	// Cache is the folder for results that later builds reuse, about 150 MB.
	Cache string
	// Mirrors are complete lines of sources.list; nil leaves the choice to mmdebstrap.
	Mirrors []string
	// Report receives one line for each thing that a person may have to wait for. It may be nil.
	Report func(line string)
}

// Build returns the image of the present sources. An interrupted build leaves nothing that passes for finished.
func (b Builder) Build(ctx context.Context) (Image, error) {
	if err := checkHost(); err != nil {
		return Image{}, err
	}
	root, err := filepath.Abs(filepath.Join(b.Cache, "probeguest"))
	if err != nil {
		return Image{}, fmt.Errorf("cache: %w", err)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return Image{}, fmt.Errorf("cache for the probe guest: %w; set INGOT_CACHE to a folder that can be written", err)
	}
	unlock, err := process.Lock(ctx, filepath.Join(root, ".lock"), func() { b.report("waiting for another process that builds the probe guest") })
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	run := build{
		stages:  &assembly.Stages{Root: root, Report: b.report, Clock: clock.RealClock{}},
		repo:    b.Repo,
		sources: filepath.Join(b.Repo, "nodeimage", "probeguest"),
		mirrors: b.Mirrors,
	}
	if err := run.stages.Sweep(); err != nil {
		return Image{}, err
	}
	for _, stage := range []func(context.Context) error{run.unpackPackages, run.compile, run.writeDisk} {
		if err := stage(ctx); err != nil {
			return Image{}, fmt.Errorf("probe guest: %w", err)
		}
	}
	return run.image()
}

// build is one run of a Builder: its inputs, and the folder that each stage left.
type build struct {
	stages  *assembly.Stages
	repo    string
	sources string
	mirrors []string

	packages string
	program  string
	disk     string
}

// source is the path of a file in the sources of the probe guest.
func (r *build) source(name string) string { return filepath.Join(r.sources, name) }

// Files of the last stage.
const (
	imageFile  = "probeguest.qcow2"
	imagePaper = "image.json"
)

// describe writes down what image returns, so that a cached image costs no reading.
func describe(dir string) error {
	path := filepath.Join(dir, imageFile)
	sum, err := assembly.FileDigest(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	paper, err := json.Marshal(Image{Format: "qcow2", SHA256: sum, SizeBytes: info.Size(), VirtualSizeBytes: diskMiB * mib})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, imagePaper), paper, 0o644)
}

func (r *build) image() (Image, error) {
	paper, err := os.ReadFile(filepath.Join(r.disk, imagePaper))
	if err != nil {
		return Image{}, err
	}
	var image Image
	if err := json.Unmarshal(paper, &image); err != nil {
		return Image{}, fmt.Errorf("%s in the cache: %w; remove its folder", imagePaper, err)
	}
	image.Path = filepath.Join(r.disk, imageFile)
	return image, nil
}

func (b Builder) report(format string, args ...any) {
	if b.Report != nil {
		b.Report(fmt.Sprintf(format, args...))
	}
}

// checkHost says in one sentence what the host lacks.
func checkHost() error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return fmt.Errorf("host is %s/%s: the probe guest is built on linux/amd64", runtime.GOOS, runtime.GOARCH)
	}
	if os.Geteuid() != 0 {
		return errors.New("the probe guest is built as root, because mmdebstrap downloads Debian packages for it; run with sudo")
	}
	for _, name := range []string{"depmod", "go", "mcopy", "mkfs.vfat", "mmd", "mmdebstrap", "qemu-img", "sgdisk", "unshare"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("program %s is missing; install the packages %v", name, HostPackages())
		}
	}
	return nil
}
