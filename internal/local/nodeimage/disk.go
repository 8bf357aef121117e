// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/google/uuid"
)

// diskRecipe changes whenever the code below would make something else of the same inputs.
const diskRecipe = 2

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
	in := &inputs{}
	in.value("recipe", diskRecipe)
	in.value("version", r.version)
	in.value("tree", filepath.Base(r.tree))
	in.value("store", filepath.Base(r.store))
	in.value("partitions", partitions())
	in.files(r.source("esp"), r.source("initramfs"))
	key, err := in.key()
	if err != nil {
		return err
	}
	r.disk, err = r.stages.run("disk", "writing the disk of version "+r.version, key, func(dir string) error {
		scratch := filepath.Join(dir, "scratch")
		if err := os.Mkdir(scratch, 0o755); err != nil {
			return err
		}
		if err := r.assemble(ctx, scratch, dir); err != nil {
			return err
		}
		sum, err := fileDigest(filepath.Join(dir, diskImage))
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
	return tool{name: "qemu-img", args: []string{
		"convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd", raw, filepath.Join(dir, diskImage),
	}}.run(ctx)
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
	return tool{name: "sgdisk", args: append(args, raw)}.run(ctx)
}

// makeVar writes the file system of /var into its place on the disk, with the containerd store in it.
func (r *build) makeVar(ctx context.Context, scratch, raw string, part partition) error {
	staging := filepath.Join(scratch, "var")
	store := filepath.Join(staging, "lib/containerd")
	for _, args := range [][]string{
		{"-al", filepath.Join(r.tree, treeVar), staging},
		{"-alT", filepath.Join(r.store, "containerd"), store},
	} {
		if err := (tool{name: "cp", args: args}).run(ctx); err != nil {
			return err
		}
	}
	return tool{
		name: "mke2fs",
		env:  []string{fmt.Sprintf("E2FSPROGS_FAKE_TIME=%d", epoch)},
		args: []string{
			"-q", "-F", "-t", "ext4", "-L", "var", "-m", "1", "-U", r.id("var file system"), "-d", staging,
			"-E", fmt.Sprintf("offset=%d,hash_seed=%s,lazy_itable_init=0,lazy_journal_init=0", part.startMiB*mib, r.id("var hash")),
			raw, fmt.Sprintf("%dk", part.sizeMiB*1024),
		},
	}.run(ctx)
}

// id is a UUID that is always the same for this version and purpose.
func (r *build) id(purpose string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://ingot.dev/os/"+r.version+"/"+purpose)).String()
}

// fatSerial is the volume number that follows from an id.
func fatSerial(id string) string { return id[:8] }

// makeFAT writes a FAT32 file system with the files below staging, in an order that is always the same.
func makeFAT(ctx context.Context, staging, image string, sizeMiB int64, serial string) error {
	if err := os.WriteFile(image, nil, 0o644); err != nil {
		return err
	}
	if err := os.Truncate(image, sizeMiB*mib); err != nil {
		return err
	}
	mkfs := tool{name: "mkfs.vfat", args: []string{"-F", "32", "-n", "ESP", "-i", serial, "--invariant", image}}
	if err := mkfs.run(ctx); err != nil {
		return err
	}
	dirs, files, err := sortedTree(staging)
	if err != nil {
		return err
	}
	env := []string{fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch)}
	for _, dir := range dirs {
		if err := (tool{name: "mmd", env: env, args: []string{"-i", image, "::" + dir}}).run(ctx); err != nil {
			return err
		}
	}
	for _, file := range files {
		path := filepath.Join(staging, file)
		if err := os.Chtimes(path, fixedTime(), fixedTime()); err != nil {
			return err
		}
		if err := (tool{name: "mcopy", env: env, args: []string{"-m", "-i", image, path, "::" + file}}).run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sortedTree lists the folders and files below dir, relative to it.
func sortedTree(dir string) (dirs, files []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			dirs = append(dirs, name)
		} else {
			files = append(files, name)
		}
		return nil
	})
	slices.Sort(dirs)
	slices.Sort(files)
	return dirs, files, err
}

// placePart copies the file system in image to its partition on the disk, and leaves holes where it is zero.
func placePart(disk, image string, part partition) error {
	in, err := os.Open(image)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if limit := int64(part.sizeMiB) * mib; info.Size() > limit {
		return fmt.Errorf("%s needs %d MiB and its partition has %d; enlarge the partition", part.name, info.Size()/mib, part.sizeMiB)
	}
	out, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	if err := copySparse(out, in, int64(part.startMiB)*mib); err != nil {
		return fmt.Errorf("writing %s: %w", part.name, err)
	}
	return out.Close()
}

func copySparse(out io.WriterAt, in io.Reader, offset int64) error {
	block, zero := make([]byte, mib), make([]byte, mib)
	for {
		n, err := io.ReadFull(in, block)
		if n > 0 && string(block[:n]) != string(zero[:n]) {
			if _, err := out.WriteAt(block[:n], offset); err != nil {
				return err
			}
		}
		offset += int64(n)
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return nil
		default:
			return err
		}
	}
}
