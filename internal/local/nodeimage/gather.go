// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// imageReader reads parts of a disk image through qemu-img, whatever its format.
type imageReader struct {
	path, format, scratch string
}

// gather collects the facts about an image. File systems are unpacked below scratch.
func gather(ctx context.Context, image, scratch string) (facts, error) {
	reader, size, problem, err := openImage(ctx, image, scratch)
	if err != nil || problem != "" {
		return facts{problem: problem}, err
	}
	f := facts{format: reader.format, programs: map[string]program{}, units: map[string]string{}, preloaded: map[string]bool{}}
	head, err := reader.read(ctx, 0, min(headBytes, size))
	if err != nil {
		return facts{problem: "the disk can not be read, the image is damaged: " + firstLine(err)}, nil
	}
	f.disk, problem = parseLayout(head, size)
	if problem != "" {
		return facts{problem: problem}, nil
	}
	for i, p := range f.disk.partitions {
		if err := f.lookInto(ctx, reader, i, p); err != nil {
			return facts{}, err
		}
	}
	return f, nil
}

// openImage asks qemu-img what the file is. A problem is a sentence about the file, an error is one of the check.
func openImage(ctx context.Context, image, scratch string) (reader imageReader, size int64, problem string, err error) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		return imageReader{}, 0, "", errors.New("qemu-img is missing; install the package qemu-utils")
	}
	absolute, err := filepath.Abs(image)
	if err != nil {
		return imageReader{}, 0, "", err
	}
	out, err := assembly.Tool{Name: "qemu-img", Args: []string{"info", "--output=json", "file:" + absolute}}.Output(ctx)
	if err != nil {
		return imageReader{}, 0, "qemu-img can not read it: " + firstLine(err), ctx.Err()
	}
	var info struct {
		Format      string `json:"format"`
		VirtualSize int64  `json:"virtual-size"`
		Backing     string `json:"backing-filename"`
	}
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		return imageReader{}, 0, "", fmt.Errorf("qemu-img info: %w", err)
	}
	if info.Backing != "" {
		return imageReader{}, 0, fmt.Sprintf("it is an overlay over %s and not complete: flatten it with qemu-img convert", info.Backing), nil
	}
	if info.Format == "qcow2" && !intact(ctx, absolute) {
		return imageReader{}, 0, "the file is damaged or was cut off: get it again and compare its checksum", ctx.Err()
	}
	return imageReader{path: absolute, format: info.Format, scratch: scratch}, info.VirtualSize, "", nil
}

// intact reports whether all the data that the tables of a qcow2 file refer to is there. What is missing would
// otherwise read as zeros.
func intact(ctx context.Context, path string) bool {
	const corrupt = 2 // exit code of qemu-img check; others mean leaked space, or no opinion
	err := assembly.Tool{Name: "qemu-img", Args: []string{"check", "-q", "-f", "qcow2", path}}.Run(ctx)
	var exit *exec.ExitError
	return !errors.As(err, &exit) || exit.ExitCode() != corrupt
}

// carve copies a range of the disk into a file of its own.
func (r imageReader) carve(ctx context.Context, offset, size int64, to string) error {
	source := fmt.Sprintf("driver=raw,offset=%d,size=%d,file.driver=%s,file.file.driver=file,file.file.filename=%s",
		offset, size, r.format, strings.ReplaceAll(r.path, ",", ",,"))
	return assembly.Tool{Name: "qemu-img", Args: []string{"convert", "--image-opts", source, "-O", "raw", to}}.Run(ctx)
}

func (r imageReader) read(ctx context.Context, offset, size int64) ([]byte, error) {
	piece := filepath.Join(r.scratch, "piece")
	if err := r.carve(ctx, offset, size/sector*sector, piece); err != nil {
		return nil, err
	}
	return os.ReadFile(piece)
}

// lookInto adds what can be seen in one partition.
func (f *facts) lookInto(ctx context.Context, reader imageReader, number int, p diskPartition) error {
	head, err := reader.read(ctx, p.offset, min(probeBytes, p.size))
	if err != nil {
		return err
	}
	kind := fileSystem(head)
	unpack := unpackers()[kind]
	if kind == "" || (kind == fsFAT && p.kind != kindESP) {
		return nil
	}
	if unpack.files == nil {
		f.unreadable = append(f.unreadable, fmt.Sprintf("partition %d is %s, which can not be looked into without mounting it", number+1, kind))
		return nil
	}
	if _, err := exec.LookPath(unpack.program); err != nil {
		f.unreadable = append(f.unreadable, fmt.Sprintf("partition %d is %s: install the package %s to look into it", number+1, kind, unpack.debian))
		return nil
	}
	part, dir := filepath.Join(reader.scratch, "part"), filepath.Join(reader.scratch, fmt.Sprint("fs", number))
	if err := reader.carve(ctx, p.offset, p.size, part); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(part); _ = os.RemoveAll(dir) }()
	if kind != fsExt4 { // what a machine writes to has no digest worth comparing
		sum, err := assembly.FileDigest(part)
		if err != nil {
			return err
		}
		f.digests = append(f.digests, fmt.Sprintf("partition %d (%s) sha256 %s", number+1, cmp.Or(p.name, kind), sum))
	}
	if err := unpack.files(ctx, part, dir); err != nil {
		f.unreadable = append(f.unreadable, fmt.Sprintf("partition %d (%s) is damaged: %s", number+1, kind, firstLine(err)))
		return ctx.Err()
	}
	return f.walk(dir, kind)
}

// walk notes what the unpacked files in dir tell. Links are not followed: they may point out of dir.
func (f *facts) walk(dir, kind string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		switch base := filepath.Base(name); {
		case kind == fsFAT && strings.EqualFold(name, "/EFI/BOOT/BOOTX64.EFI"):
			f.removable = true
		case kind == fsFAT && strings.HasPrefix(strings.ToLower(name), "/loader/entries/"):
			return f.addLoaderEntry(path)
		case name == "/usr/lib/os-release" || name == "/etc/os-release":
			return f.addOSRelease(path, kind)
		case name == "/etc/machine-id":
			return f.addMachineID(path)
		case strings.HasPrefix(name, "/etc/ssh/ssh_host_") && strings.HasSuffix(name, "_key"):
			f.hostKeys = append(f.hostKeys, name)
		case slices.Contains([]string{"ignition", "kubelet", "kubeadm", "containerd"}, base):
			f.addProgram(path, name)
		case name == "/usr/bin/cloud-init": // a script
			f.programs[base] = program{path: name}
		case strings.Contains(name, "/systemd/system/"):
			return f.addUnit(path, name)
		case base == "meta.db" && strings.HasSuffix(filepath.Dir(name), "io.containerd.metadata.v1.bolt"):
			return f.addPreloaded(path)
		}
		return nil
	})
}

func (f *facts) addLoaderEntry(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(content)) {
		if options, ok := strings.CutPrefix(strings.TrimSpace(line), "options "); ok {
			f.cmdlines = append(f.cmdlines, options)
		}
	}
	return nil
}

func (f *facts) addOSRelease(path, kind string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f.root, f.osRelease = kind, map[string]string{}
	for _, key := range []string{"ID", "PRETTY_NAME", "VERSION_ID", "IMAGE_VERSION"} {
		f.osRelease[key] = osReleaseValue(string(content), key)
	}
	return nil
}

func (f *facts) addMachineID(path string) error {
	content, err := os.ReadFile(path)
	id := strings.TrimSpace(string(content))
	f.machineID = &id
	return err
}

// addProgram notes a program, if the file is one.
func (f *facts) addProgram(path, name string) {
	info, err := os.Stat(path)
	if err != nil || info.Size() < 64<<10 { // a shell completion or a configuration of the same name
		return
	}
	found := program{path: name}
	if build, err := buildinfo.ReadFile(path); err == nil && build.Main.Version != "(devel)" {
		found.version = build.Main.Version
	}
	f.programs[filepath.Base(name)] = found
}

// addUnit adds the text of a unit or of a drop-in to its unit.
func (f *facts) addUnit(path, name string) error {
	_, unit, _ := strings.Cut(name, "/systemd/system/")
	unit, _, _ = strings.Cut(unit, "/")
	unit = strings.TrimSuffix(unit, ".d")
	if unit != "kubelet.service" && unit != "containerd.service" {
		return nil
	}
	content, err := os.ReadFile(path)
	f.units[unit] += string(content)
	return err
}

// addPreloaded finds the names of container images in containerd's database, whose keys are plain text.
func (f *facts) addPreloaded(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, found := range regexp.MustCompile(`/([a-z0-9-]+):v?[0-9]`).FindAllSubmatch(content, -1) {
		f.preloaded[string(found[1])] = true
	}
	return nil
}

// firstLine is the first line of an error, for use within a sentence.
func firstLine(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for _, line := range lines[1:] {
		if strings.TrimSpace(line) != "" {
			return strings.TrimSpace(line)
		}
	}
	return lines[0]
}
