// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// diskRecipe changes whenever the code below would make something else of the same inputs.
const diskRecipe = 3

// Partition sizes. The last one, /var, grows at boot to the end of the machine's disk.
const (
	mib      = 1 << 20
	espMiB   = 64
	rootMiB  = 1024
	varMiB   = 3072
	tableMiB = 1 // before the first and after the last partition
	diskMiB  = tableMiB + espMiB + rootMiB + varMiB + tableMiB
)

// DiskBytes is the size of the disk that an image describes; a machine needs at least this much.
const DiskBytes int64 = diskMiB * mib

// Names of the partitions, by which the initramfs finds them.
const (
	partitionESP  = "ingot-esp"
	partitionRoot = "ingot-root"
	partitionVar  = "ingot-var"
)

// The disk stage holds the finished image and its digest.
const (
	diskImage = "disk.qcow2"
	diskSum   = "disk.sha256"
)

// partition is one partition of the disk, in the order in which they lie on it.
type partition struct {
	name, kind string
	startMiB   int
	sizeMiB    int
}

func partitions() []partition {
	return []partition{
		{name: partitionESP, kind: "EF00", startMiB: tableMiB, sizeMiB: espMiB},
		{name: partitionRoot, kind: "8300", startMiB: tableMiB + espMiB, sizeMiB: rootMiB},
		{name: partitionVar, kind: "8300", startMiB: tableMiB + espMiB + rootMiB, sizeMiB: varMiB},
	}
}

// buildDisk makes the disk of one version. It is the only stage that depends on the version.
func (r *build) buildDisk(ctx context.Context) error {
	in := &assembly.Inputs{}
	in.Value("recipe", diskRecipe)
	in.Value("version", r.version)
	in.Value("tree", filepath.Base(r.tree))
	in.Value("store", filepath.Base(r.store))
	in.Value("partitions", partitions())
	in.Files(r.source("esp"), r.source("initramfs"))
	key, err := in.Key()
	if err != nil {
		return err
	}
	r.disk, err = r.stages.Run("disk", "writing the disk of version "+r.version, key, func(dir string) error {
		scratch := filepath.Join(dir, "scratch")
		if err := os.Mkdir(scratch, 0o755); err != nil {
			return err
		}
		if err := r.assemble(ctx, scratch, dir); err != nil {
			return err
		}
		sum, err := assembly.FileDigest(filepath.Join(dir, diskImage))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, diskSum), []byte(sum), 0o644); err != nil {
			return err
		}
		return os.RemoveAll(scratch)
	})
	return err
}

func (r *build) assemble(ctx context.Context, scratch, dir string) error {
	raw := filepath.Join(scratch, "disk.raw")
	if err := r.partitionTable(ctx, raw); err != nil {
		return err
	}
	esp, root := filepath.Join(scratch, "esp.img"), filepath.Join(scratch, "root.img")
	if err := r.makeESP(ctx, scratch, esp); err != nil {
		return fmt.Errorf("EFI system partition: %w", err)
	}
	if err := r.makeRoot(ctx, scratch, root); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	for i, image := range []string{esp, root} {
		if err := placePart(raw, image, partitions()[i]); err != nil {
			return err
		}
	}
	if err := r.makeVar(ctx, scratch, raw, partitions()[2]); err != nil {
		return fmt.Errorf("/var: %w", err)
	}
	return assembly.Tool{Name: "qemu-img", Args: []string{
		"convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd", raw, filepath.Join(dir, diskImage),
	}}.Run(ctx)
}

// partitionTable creates the sparse disk with its GPT. All identifiers follow from the version.
func (r *build) partitionTable(ctx context.Context, raw string) error {
	if err := os.WriteFile(raw, nil, 0o644); err != nil {
		return err
	}
	if err := os.Truncate(raw, DiskBytes); err != nil {
		return err
	}
	args := []string{"--disk-guid=" + r.id("disk")}
	for i, p := range partitions() {
		n := strconv.Itoa(i + 1)
		args = append(args,
			fmt.Sprintf("--new=%s:%dM:+%dM", n, p.startMiB, p.sizeMiB), "--typecode="+n+":"+p.kind,
			"--change-name="+n+":"+p.name, "--partition-guid="+n+":"+r.id(p.name))
	}
	return assembly.Tool{Name: "sgdisk", Args: append(args, raw)}.Run(ctx)
}

// makeVar writes the file system of /var into its place on the disk, with the containerd store in it.
func (r *build) makeVar(ctx context.Context, scratch, raw string, part partition) error {
	staging := filepath.Join(scratch, "var")
	store := filepath.Join(staging, "lib/containerd")
	for _, args := range [][]string{
		{"-al", filepath.Join(r.tree, treeVar), staging},
		{"-alT", filepath.Join(r.store, "containerd"), store},
	} {
		if err := (assembly.Tool{Name: "cp", Args: args}).Run(ctx); err != nil {
			return err
		}
	}
	return assembly.Tool{
		Name: "mke2fs",
		Env:  []string{fmt.Sprintf("E2FSPROGS_FAKE_TIME=%d", assembly.Epoch)},
		Args: []string{
			"-q", "-F", "-t", "ext4", "-L", "var", "-m", "1", "-U", r.id("var file system"), "-d", staging,
			"-E", fmt.Sprintf("offset=%d,hash_seed=%s,lazy_itable_init=0,lazy_journal_init=0", part.startMiB*mib, r.id("var hash")),
			raw, fmt.Sprintf("%dk", part.sizeMiB*1024),
		},
	}.Run(ctx)
}

// id is a UUID that is always the same for this version and purpose.
func (r *build) id(purpose string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://ingot.dev/os/"+r.version+"/"+purpose)).String()
}

// espFormat is the file system of the EFI system partition, with a volume number that follows from an id.
func espFormat(id string) assembly.FAT {
	return assembly.FAT{Label: "ESP", Serial: id[:8], MiB: espMiB}
}

// placePart copies the file system in image to its partition on the disk.
func placePart(disk, image string, part partition) error {
	info, err := os.Stat(image)
	if err != nil {
		return err
	}
	if limit := int64(part.sizeMiB) * mib; info.Size() > limit {
		return fmt.Errorf("%s needs %d MiB and its partition has %d; enlarge the partition", part.name, info.Size()/mib, part.sizeMiB)
	}
	if err := assembly.Place(disk, image, int64(part.startMiB)*mib); err != nil {
		return fmt.Errorf("writing %s: %w", part.name, err)
	}
	return nil
}
