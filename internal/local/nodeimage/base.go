// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// debianSuite is the release that the packages come from.
const debianSuite = "bookworm"

// baseRecipe changes whenever the code below would make something else of the same inputs.
const baseRecipe = 1

// The base stage holds two folders.
const (
	baseRoot     = "root"     // installed packages
	baseUnpacked = "unpacked" // kernel, busybox and boot loader, unpacked only
)

// unpackedStatus lists the unpacked packages in the format of dpkg's status file.
const unpackedStatus = "unpacked.status"

// buildBase installs the Debian packages into a folder.
func (r *build) buildBase(ctx context.Context) error {
	installed, err := r.installedPackages()
	if err != nil {
		return err
	}
	unpacked, err := assembly.ReadList(r.source("packages-unpacked.txt"))
	if err != nil {
		return err
	}
	in := &assembly.Inputs{}
	in.Value("recipe", baseRecipe)
	in.Value("mirrors", r.mirrors)
	in.Value("installed", installed)
	in.Value("unpacked", unpacked)
	in.Files(r.source("unpack-packages.sh"))
	key, err := in.Key()
	if err != nil {
		return err
	}
	r.base, err = r.stages.Run("base", "installing Debian packages (1 to 2 min)", key, func(dir string) error {
		return r.debootstrap(ctx, dir, installed, unpacked)
	})
	return err
}

func (r *build) debootstrap(ctx context.Context, dir string, installed, unpacked []string) error {
	root := filepath.Join(dir, baseRoot)
	// Namespaces of its own, so that a killed build leaves neither processes nor mounts in a folder that is then removed.
	args := []string{
		"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "mmdebstrap",
		"--mode=root", "--format=directory", "--variant=essential",
		"--include=" + strings.Join(installed, ","),
		`--aptopt=APT::Install-Recommends "false"`,
		"--customize-hook=" + r.source("unpack-packages.sh"),
	}
	for _, path := range []string{"doc", "i18n", "info", "lintian", "locale", "man", "zoneinfo"} {
		args = append(args, "--dpkgopt=path-exclude=/usr/share/"+path+"/*")
	}
	// Licences stay: whoever passes an image on must pass them on.
	args = append(args, "--dpkgopt=path-include=/usr/share/doc/*/copyright", debianSuite, root)
	mmdebstrap := assembly.Tool{
		Name: "unshare", Args: append(args, r.mirrors...),
		Env: []string{fmt.Sprintf("SOURCE_DATE_EPOCH=%d", assembly.Epoch), "INGOT_UNPACK=" + strings.Join(unpacked, " ")},
	}
	if err := mmdebstrap.Run(ctx); err != nil {
		return fmt.Errorf("installing Debian packages: %w", err)
	}
	for _, name := range []string{baseUnpacked, unpackedStatus} {
		if err := os.Rename(filepath.Join(root, ".ingot", name), filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("unpacked packages: %w", err)
		}
	}
	return os.RemoveAll(filepath.Join(root, ".ingot"))
}
