// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
)

// head is the beginning of a streamOptimized VMDK that spoil was let at.
func head(spoil func(h []byte)) []byte {
	h := make([]byte, 64<<10)
	copy(h, vmdkMagic)
	binary.LittleEndian.PutUint32(h[4:], 3)
	binary.LittleEndian.PutUint32(h[8:], vmdkCompressedFlag|vmdkMarkersFlag)
	binary.LittleEndian.PutUint64(h[12:], 8192)
	binary.LittleEndian.PutUint64(h[28:], 1)
	binary.LittleEndian.PutUint64(h[36:], 20)
	binary.LittleEndian.PutUint16(h[77:], vmdkDeflate)
	copy(h[sector:], "# Disk DescriptorFile\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n")
	if spoil != nil {
		spoil(h)
	}
	return h
}

const smallOVF = `<Envelope xmlns:ovf="x"><References><File ovf:id="f" ovf:href="d.vmdk"/></References><DiskSection><Disk ovf:diskId="1" ovf:fileRef="f"/></DiskSection>` +
	`<VirtualSystem><OperatingSystemSection osType="vmwarePhoton64Guest"/><VirtualHardwareSection><System><VirtualSystemType>vmx-10 vmx-13</VirtualSystemType></System>` +
	`<Item><InstanceID>3</InstanceID><ResourceType>20</ResourceType><ResourceSubType>vmware.nvme.controller</ResourceSubType></Item>` +
	`<Item><InstanceID>4</InstanceID><ResourceType>17</ResourceType><HostResource>ovf:/disk/1</HostResource><Parent>3</Parent></Item>` +
	`</VirtualHardwareSection></VirtualSystem></Envelope>`

// pack packs headers with contents.
func pack(tb testing.TB, files ...any) []byte {
	tb.Helper()
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for i := 0; i < len(files); i += 2 {
		content := []byte(files[i+1].(string))
		header, is := files[i].(*tar.Header)
		if !is {
			header = &tar.Header{Name: files[i].(string), Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}
		}
		if err := w.WriteHeader(header); err != nil {
			tb.Fatal(err)
		}
		if header.Size > 0 {
			if _, err := w.Write(content); err != nil {
				tb.Fatal(err)
			}
		}
	}
	_ = w.Close()
	return packed.Bytes()
}

// What comes from a publisher is foreign input. It is refused with what is wrong and what to do, before vCenter hears of it.
func TestBadPackages(t *testing.T) {
	disk := string(head(nil))
	change := func(old, text string) string { return strings.Replace(smallOVF, old, text, 1) }
	huge := pack(t, "i.ovf", smallOVF, "d.vmdk", disk)
	second := huge[sector+(len(smallOVF)+sector-1)/sector*sector:]
	copy(second[124:], "77777777777\x00") // its size; the checksum of its header is made to fit below
	sum := 0
	for i, b := range second[:sector] {
		if i >= 148 && i < 156 {
			b = ' '
		}
		sum += int(b)
	}
	copy(second[148:], octal(sum))
	for name, c := range map[string]struct {
		format   string
		artefact []byte
		want     string
	}{
		"an empty OVA":             {"ova", pack(t), "the OVA is empty"},
		"no tar":                   {"ova", []byte(strings.Repeat("x", 2048)), "no tar file"},
		"the disk first":           {"ova", pack(t, "d.vmdk", disk, "i.ovf", smallOVF), "begins with \"d.vmdk\""},
		"no disk":                  {"ova", pack(t, "i.ovf", smallOVF, "e.vmdk", disk), "does not hold the file \"d.vmdk\""},
		"a folder":                 {"ova", pack(t, &tar.Header{Name: "d/", Typeflag: tar.TypeDir}, ""), "no regular file"},
		"a link":                   {"ova", pack(t, "i.ovf", smallOVF, &tar.Header{Name: "d.vmdk", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}, ""), "no regular file"},
		"a path out of it":         {"ova", pack(t, "i.ovf", smallOVF, "../d.vmdk", disk), "no name of a file"},
		"an absolute path":         {"ova", pack(t, "/i.ovf", smallOVF), "no name of a file"},
		"a reference out of it":    {"ova", pack(t, "i.ovf", change("d.vmdk", "../../d.vmdk"), "d.vmdk", disk), "no name of a file"},
		"a reference to a server":  {"ova", pack(t, "i.ovf", change("d.vmdk", "http://x/d.vmdk"), "d.vmdk", disk), "no name of a file"},
		"a header that lies":       {"ova", huge, "says that it has"},
		"a huge descriptor":        {"ova", pack(t, "i.ovf", strings.Repeat(" ", maxDescriptor+1)), "at most"},
		"a descriptor that is not": {"ova", pack(t, "i.ovf", "<Envelope>"), "cannot be read"},
		"deep nesting":             {"ova", pack(t, "i.ovf", "<Envelope>"+strings.Repeat("<a>", maxDescriptor/4)), "cannot be read"},
		"two disks": {
			"ova", pack(t, "i.ovf", change("</DiskSection>", `<Disk ovf:diskId="2" ovf:fileRef="g"/></DiskSection>`), "d.vmdk", disk),
			"2 disks",
		},
		"two machines":        {"ova", pack(t, "i.ovf", change("</Envelope>", "<VirtualSystem/></Envelope>"), "d.vmdk", disk), "exactly one virtual machine"},
		"a compressed disk":   {"ova", pack(t, "i.ovf", change(`ovf:id="f"`, `ovf:id="f" ovf:compression="gzip"`), "d.vmdk", disk), "compressed or cut"},
		"a disk without file": {"ova", pack(t, "i.ovf", change(` ovf:fileRef="f"`, ""), "d.vmdk", disk), "no file of its own"},
		"a strange controller": {
			"ova", pack(t, "i.ovf", change("vmware.nvme.controller", "floppy"), "d.vmdk", disk),
			"not known",
		},
		"many files":             {"ova", pack(t, append([]any{"i.ovf", smallOVF}, slicesOf("x", maxMembers)...)...), "not among the first"},
		"a flat disk":            {"ova", pack(t, "i.ovf", smallOVF, "d.vmdk", strings.Repeat("\x00", 4096)), "no VMDK"},
		"an empty disk":          {"vmdk", nil, "no VMDK"},
		"only a descriptor":      {"vmdk", []byte("# Disk DescriptorFile\nversion=1\n"), "in other files"},
		"monolithic":             {"vmdk", head(func(h []byte) { binary.LittleEndian.PutUint32(h[8:], 1) }), "not streamOptimized: convert it (qemu-img"},
		"another compression":    {"vmdk", head(func(h []byte) { binary.LittleEndian.PutUint16(h[77:], 7) }), "not streamOptimized"},
		"another version":        {"vmdk", head(func(h []byte) { binary.LittleEndian.PutUint32(h[4:], 9) }), "version 9"},
		"a disk of nothing":      {"vmdk", head(func(h []byte) { binary.LittleEndian.PutUint64(h[12:], 0) }), "0 sectors"},
		"a disk of everything":   {"vmdk", head(func(h []byte) { binary.LittleEndian.PutUint64(h[12:], 1<<63) }), "62 TiB"},
		"a descriptor far away":  {"vmdk", head(func(h []byte) { binary.LittleEndian.PutUint64(h[28:], 1<<60) }), "begin with its descriptor"},
		"another kind of VMDK":   {"vmdk", head(func(h []byte) { copy(h[sector:], "createType=\"vmfs\"\n#") }), "does not say"},
		"a layer over something": {"vmdk", head(func(h []byte) { copy(h[sector:], "parentCID=0badf00d\n") }), "layer over another"},
		"a file that breaks off": {"vmdk", head(nil)[:600], "begin with its descriptor"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := unpack(c.format, bytes.NewReader(c.artefact), int64(len(c.artefact)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error that says %q", err, c.want)
			}
		})
	}
}

func octal(n int) string {
	text := ""
	for range 6 {
		text = string(rune('0'+n%8)) + text
		n /= 8
	}
	return text + "\x00 "
}

func slicesOf(name string, n int) (files []any) {
	for range n {
		files = append(files, name, "")
	}
	return files
}

// What an image is made with is told by its descriptor where that matters, and its bytes are those of the file.
func TestUnpack(t *testing.T) {
	disk := string(head(nil)) + "grains"
	artefact := pack(t, "./i.ovf", smallOVF, "i.mf", "SHA1(d.vmdk)= 0\n", "d.vmdk", disk, "i.cert", "x")
	p, err := unpack("ova", bytes.NewReader(artefact), int64(len(artefact)))
	if err != nil {
		t.Fatal(err)
	}
	if want := (blueprint{guest: "vmwarePhoton64Guest", hardware: "vmx-10", controller: nvme}); p.blueprint != want {
		t.Errorf("got %+v, want %+v", p.blueprint, want)
	}
	if p.capacity != 8192*sector || p.size != int64(len(disk)) {
		t.Errorf("capacity %d, size %d", p.capacity, p.size)
	}
	if read, err := io.ReadAll(p.stream); err != nil || string(read) != disk {
		t.Errorf("%d bytes of %d are handed on, %v", len(read), len(disk), err)
	}
}

// Nothing that a publisher can write may end the manager, or make a disk of another size than the file is.
func FuzzUnpack(f *testing.F) {
	disk := string(head(nil))
	f.Add("ova", pack(f, "i.ovf", smallOVF, "d.vmdk", disk))
	f.Add("ova", pack(f, "i.ovf", smallOVF))
	f.Add("ova", pack(f, &tar.Header{Name: "i.ovf", Typeflag: tar.TypeReg, Size: int64(len(smallOVF)), PAXRecords: map[string]string{"A.b": "c"}, Format: tar.FormatPAX}, smallOVF))
	f.Add("vmdk", []byte(disk))
	f.Add("vmdk", []byte("# Disk DescriptorFile"))
	f.Fuzz(func(t *testing.T, format string, artefact []byte) {
		p, err := unpack(format, bytes.NewReader(artefact), int64(len(artefact)))
		if err != nil {
			return
		}
		if p.capacity < sector || p.capacity > maxDiskBytes || p.size < sector || p.size > int64(len(artefact)) {
			t.Errorf("a disk of %d bytes in %d of %d", p.capacity, p.size, len(artefact))
		}
		if controllerOf(p.controller) == nil && p.controller != ide {
			t.Errorf("controller %q", p.controller)
		}
	})
}

func FuzzParseOVF(f *testing.F) {
	f.Add(smallOVF)
	f.Add(`<Envelope/>`)
	f.Fuzz(func(t *testing.T, text string) {
		plan, file, err := parseOVF([]byte(text))
		if err != nil {
			return
		}
		if file == "" || strings.ContainsAny(file, `/\`) || file == ".." || plan.controller == "" {
			t.Errorf("%q on %q", file, plan.controller)
		}
	})
}
