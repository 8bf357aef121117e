// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package probeguest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// debianSuite is the release that loader and kernel come from.
const debianSuite = "bookworm"

// unpackPackages takes the files out of the Debian packages. Nothing is installed.
func (r *build) unpackPackages(ctx context.Context) error {
	packages, err := assembly.ReadList(r.source("packages.txt"))
	if err != nil {
		return err
	}
	unpack := filepath.Join(r.repo, "nodeimage", "unpack-packages.sh")
	in := &assembly.Inputs{}
	in.Value("suite", debianSuite)
	in.Value("mirrors", r.mirrors)
	in.Value("packages", packages)
	in.Files(unpack)
	key, err := in.Key()
	if err != nil {
		return err
	}
	r.packages, err = r.stages.Run("packages", "downloading Debian's signed loader and kernel", key, func(dir string) error {
		root := filepath.Join(dir, "root")
		// Namespaces of its own, so that a killed build leaves neither processes nor mounts in a folder that is then removed.
		mmdebstrap := assembly.Tool{
			Name: "unshare", Env: []string{"INGOT_UNPACK=" + strings.Join(packages, " ")},
			Args: append([]string{
				"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "mmdebstrap", "--mode=root", "--format=directory",
				"--variant=custom", "--customize-hook=" + unpack, debianSuite, root,
			}, r.mirrors...),
		}
		if err := mmdebstrap.Run(ctx); err != nil {
			return err
		}
		for _, name := range []string{"unpacked", "unpacked.status"} {
			if err := os.Rename(filepath.Join(root, ".ingot", name), filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		release, err := kernelRelease(dir)
		if err != nil {
			return err
		}
		if err := (assembly.Tool{Name: "depmod", Args: []string{"-b", filepath.Join(dir, "unpacked"), release}}).Run(ctx); err != nil {
			return err
		}
		return os.RemoveAll(root)
	})
	return err
}

// kernelRelease is the release of the kernel in the unpacked packages.
func kernelRelease(packages string) (string, error) {
	found, err := filepath.Glob(filepath.Join(packages, "unpacked/lib/modules/*"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("the packages hold modules of %d kernels, want 1", len(found))
	}
	return filepath.Base(found[0]), nil
}

// compile builds the guest's program. The key is what was built, since the go command keeps a cache of its own that
// knows all inputs.
func (r *build) compile(ctx context.Context) error {
	scratch, err := os.MkdirTemp("", "ingot-probeguest-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	program := filepath.Join(scratch, "init")
	golang := assembly.Tool{
		Name: "go", Dir: r.repo, Env: []string{"CGO_ENABLED=0", "GOFLAGS=-mod=readonly"},
		Args: []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, "./nodeimage/probeguest"},
	}
	if err := golang.Run(ctx); err != nil {
		return err
	}
	in := &assembly.Inputs{}
	in.Programs(program)
	key, err := in.Key()
	if err != nil {
		return err
	}
	r.program, err = r.stages.Run("program", "compiling the guest's program", key, func(dir string) error {
		return assembly.Tool{Name: "cp", Args: []string{program, dir}}.Run(ctx)
	})
	return err
}

// diskRecipe changes whenever the code of this package would make another disk of the same inputs.
const diskRecipe = 1

// writeDisk makes the image.
func (r *build) writeDisk(ctx context.Context) error {
	in := &assembly.Inputs{}
	in.Value("recipe", diskRecipe)
	in.Value("packages", filepath.Base(r.packages))
	in.Value("program", filepath.Base(r.program))
	in.Files(r.source("grub.cfg"), r.source("modules.txt"))
	key, err := in.Key()
	if err != nil {
		return err
	}
	r.disk, err = r.stages.Run("disk", "writing the disk of the probe guest", key, func(dir string) error {
		scratch := filepath.Join(dir, "scratch")
		if err := os.Mkdir(scratch, 0o755); err != nil {
			return err
		}
		if err := r.assemble(ctx, scratch, filepath.Join(dir, imageFile)); err != nil {
			return err
		}
		if err := describe(dir); err != nil {
			return err
		}
		return os.RemoveAll(scratch)
	})
	return err
}
