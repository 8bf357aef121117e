// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// storeRecipe changes whenever the code below would make something else of the same inputs.
const storeRecipe = 1

// bakeConfig is a containerd that only keeps images.
const bakeConfig = `version = 3
root = %q
state = %q
disabled_plugins = [
  "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri",
  "io.containerd.podsandbox.controller.v1.podsandbox", "io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.native", "io.containerd.snapshotter.v1.erofs",
  "io.containerd.differ.v1.erofs", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = %q
`

// buildStore imports all container images into a containerd root that the node starts with, so that a node neither
// pulls nor unpacks anything.
func (r *build) buildStore(ctx context.Context) error {
	in := &assembly.Inputs{}
	in.Value("recipe", storeRecipe)
	in.Value("images", r.images)
	in.Programs(r.programs["containerd"], r.programs["ctr"])
	for _, image := range r.images {
		in.Programs(r.program(image.program))
		for _, called := range image.calls {
			in.Files(filepath.Join(r.base, baseRoot, called))
		}
	}
	key, err := in.Key()
	if err != nil {
		return err
	}
	r.store, err = r.stages.Run("store", "preloading container images", key, func(dir string) error {
		scratch, err := os.MkdirTemp("", "ingot-bake-") // short, because a socket path may have 107 characters
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(scratch) }()
		archive := filepath.Join(dir, "images.tar")
		if err := r.archiveImages(ctx, filepath.Join(dir, "oci"), archive); err != nil {
			return err
		}
		if err := r.bake(ctx, dir, scratch, archive); err != nil {
			return err
		}
		return os.Remove(archive)
	})
	return err
}

// archiveImages writes the container images as a tar archive of an OCI layout, and removes the layout.
func (r *build) archiveImages(ctx context.Context, oci, archive string) error {
	if err := writeLayout(oci, r.images, r.program, filepath.Join(r.base, baseRoot)); err != nil {
		return err
	}
	if err := (assembly.Tool{Name: "tar", Args: []string{"-C", oci, "-cf", archive, "."}}).Run(ctx); err != nil {
		return err
	}
	return os.RemoveAll(oci)
}

// bake runs a private containerd whose root is dir and imports the archive.
func (r *build) bake(ctx context.Context, dir, scratch, archive string) (err error) {
	socket := filepath.Join(scratch, "sock")
	config := filepath.Join(scratch, "config.toml")
	content := fmt.Sprintf(bakeConfig, filepath.Join(dir, "containerd"), filepath.Join(scratch, "state"), socket)
	if err := os.WriteFile(config, []byte(content), 0o600); err != nil {
		return err
	}
	stop, err := r.startContainerd(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	ctr := func(args ...string) error {
		return assembly.Tool{Name: r.programs["ctr"], Args: append([]string{"--address", socket, "--namespace", "k8s.io"}, args...)}.Run(ctx)
	}
	if err := await(ctx, 30*time.Second, func() error { return ctr("version") }); err != nil {
		return fmt.Errorf("containerd does not answer: %w", err)
	}
	// The layers themselves are dropped once they are unpacked; nothing needs them on a node.
	if err := ctr("images", "import", "--local", "--snapshotter", "overlayfs", "--discard-unpacked-layers", archive); err != nil {
		return err
	}
	for _, image := range r.images {
		// Pinned: the kubelet's garbage collection must never remove what cannot be pulled again.
		if err := ctr("images", "label", image.reference, "io.cri-containerd.image=managed", "io.cri-containerd.pinned=pinned"); err != nil {
			return err
		}
	}
	return ctr("content", "prune", "references")
}

// startContainerd starts containerd in a mount namespace of its own, so that a killed build leaves no mounts. The
// function it returns ends the process and waits for it.
func (r *build) startContainerd(ctx context.Context, config string) (stop func() error, err error) {
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--", r.programs["containerd"], "--config", config)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting containerd: %w", err)
	}
	return func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		err := cmd.Wait()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGTERM {
				return nil
			}
		}
		if err == nil {
			return nil
		}
		return fmt.Errorf("containerd: %w\n%s", err, assembly.LastLines(strings.TrimSpace(log.String()), 15))
	}, nil
}

// await repeats try until it succeeds, and returns its last error after the time limit.
func await(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}
