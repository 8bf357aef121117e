// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package survive_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
	"github.com/google/uuid"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hypervisor"
)

// smallRoom is the size of the file system that is easily filled.
const smallRoom = 24 << 20

// host is a private libvirtd with QEMU's emulation, and root's hands on it.
type host struct {
	options hypervisor.Options
	libvirt *hypervisor.Hypervisor
	// connection is root's own.
	connection *golibvirt.Libvirt
	connecting sync.Mutex
	// disk is the artefact of all images: a disk that nothing boots from.
	disk string
	// small is the directory of a small file system.
	small string
	// filling is held by the one story that fills the small file system.
	filling sync.Mutex

	mu   sync.Mutex
	free []netip.Addr // addresses that no story has
}

// startHost starts a libvirtd of its own; whatever the error, stop removes every trace.
func startHost(ctx context.Context) (h *host, stop func() error, err error) {
	if missing := hypervisor.Preflight(); len(missing) > 0 {
		err := errors.New("these tests drive a real libvirtd, and this machine cannot run one")
		for _, m := range missing {
			err = fmt.Errorf("%w; %s", err, m)
		}
		return nil, func() error { return nil }, err
	}
	dir, err := os.MkdirTemp("", "hv-")
	if err != nil {
		return nil, func() error { return nil }, err
	}
	h = &host{
		// Most of the addresses are for stories.
		options: hypervisor.Options{Name: "sv-" + filepath.Base(dir)[3:], StateDir: filepath.Join(dir, "state"), DHCPFirst: 250, DHCPLast: 254},
		disk:    filepath.Join(dir, "disk"),
		small:   filepath.Join(dir, "small"),
	}
	stop = func() error {
		err := hypervisor.Stop(context.WithoutCancel(ctx), h.options)
		_ = syscall.Unmount(h.small, syscall.MNT_DETACH)
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := h.prepare(); err != nil {
		return h, stop, err
	}
	if err := h.start(ctx); err != nil {
		return h, stop, err
	}
	go h.calm(ctx)
	for address := h.libvirt.VIP; address.Less(h.libvirt.DHCPFirst); address = address.Next() {
		h.free = append(h.free, address)
	}
	return h, stop, nil
}

// prepare makes the files. libvirtd keeps the mounts of its start, so the small file system comes before it.
func (h *host) prepare() error {
	if err := os.WriteFile(h.disk, disk(), 0o600); err != nil {
		return err
	}
	if err := os.Mkdir(h.small, 0o700); err != nil {
		return err
	}
	return syscall.Mount("tmpfs", h.small, "tmpfs", 0, "size="+strconv.Itoa(smallRoom))
}

// start starts libvirtd, also after it was killed.
func (h *host) start(ctx context.Context) error {
	var err error
	if h.libvirt, _, err = hypervisor.StartForTest(context.WithoutCancel(ctx), h.options); err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", h.libvirt.Socket)
	if err != nil {
		return err
	}
	h.connection = golibvirt.NewWithDialer(dialers.NewAlreadyConnected(conn))
	return h.connection.Connect()
}

// restart kills libvirtd and starts it again.
func (h *host) restart(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(h.libvirt.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if err := h.start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// admin is root's connection. A libvirtd that has ended by itself, which this version does now and then when hundreds of
// connections are cut, is started again, as systemd does.
func (h *host) admin() *golibvirt.Libvirt {
	h.connecting.Lock()
	defer h.connecting.Unlock()
	if !h.connection.IsConnected() {
		fmt.Fprintln(os.Stderr, "libvirtd has ended by itself and is started again")
		if err := h.start(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "libvirtd does not start again:", err)
		}
	}
	return h.connection
}

// supervise keeps libvirtd running.
func (h *host) supervise(ctx context.Context) {
	for ; ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		h.admin()
	}
}

// calm lets guests run only when nobody else wants to: they have nothing to do, and try it with all their might.
func (h *host) calm(ctx context.Context) {
	done := map[string]bool{}
	for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		pids, _ := filepath.Glob(h.private("run", "libvirt", "qemu", "*.pid"))
		for _, file := range pids {
			pid, err := os.ReadFile(file)
			if err != nil || len(pid) == 0 || done[string(pid)] {
				continue
			}
			threads, _ := os.ReadDir(filepath.Join("/proc", strings.TrimSpace(string(pid)), "task"))
			for _, thread := range threads {
				if id, err := strconv.Atoi(thread.Name()); err == nil {
					_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, 19) // it may have ended
				}
			}
			done[string(pid)] = len(threads) > 2 // the virtual CPU has begun
		}
	}
}

// diskBytes is the size of the artefact: two packets.
const diskBytes = 300 << 10

// greeting is what a guest writes to its console when it boots with BIOS firmware.
const greeting = "a guest has booted"

// disk is the artefact: its boot sector writes the greeting to the serial console and halts. UEFI boots nothing from it.
func disk() []byte {
	content := make([]byte, diskBytes)
	code := []byte{
		0xfa,       // cli
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, // mov ds, ax
		0xbe, 0x16, 0x7c, // mov si, greeting
		0xba, 0xf8, 0x03, // mov dx, COM1
		0xac,       // next: lodsb
		0x84, 0xc0, // test al, al
		0x74, 0x03, // jz end
		0xee,       // out dx, al
		0xeb, 0xf8, // jmp next
		0xf4,       // end: hlt
		0xeb, 0xfd, // jmp end
	}
	copy(content, append(code, greeting+"\r\n\x00"...))
	content[510], content[511] = 0x55, 0xaa
	return content
}

// artefact declares the disk.
func (h *host) artefact(image *ingotv1.NodeImage) {
	sum := sha256.Sum256(disk())
	image.Spec.Artefacts[0].Source = "file://" + h.disk
	image.Spec.Artefacts[0].Format = ingotv1.DiskFormatRaw
	image.Spec.Artefacts[0].SHA256 = hex.EncodeToString(sum[:])
	image.Spec.Artefacts[0].SizeBytes = diskBytes
}

// lend gives a story an address of its own until the test ends.
func (h *host) lend(t *testing.T) netip.Addr {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.free) == 0 {
		t.Fatal("all addresses are lent: run fewer stories at once")
	}
	address := h.free[0]
	h.free = h.free[1:]
	t.Cleanup(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.free = append(h.free, address)
	})
	return address
}

// fill takes the small file system until the test ends, and returns an empty directory in it.
func (h *host) fill(t *testing.T) (dir string) {
	t.Helper()
	h.filling.Lock()
	dir, err := os.MkdirTemp(h.small, "")
	t.Cleanup(func() {
		_ = os.RemoveAll(dir)
		h.filling.Unlock()
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// lease writes what dnsmasq's helper writes for libvirt when it gives an address to the first interface of a domain.
func (h *host) lease(t *testing.T, d golibvirt.Domain, address netip.Addr) {
	t.Helper()
	definition, err := h.admin().DomainGetXMLDesc(d, 0)
	if err != nil {
		t.Fatal(err)
	}
	mac := regexp.MustCompile(`<mac address='([^']*)'`).FindStringSubmatch(definition)
	if mac == nil {
		t.Fatalf("the domain has no interface:\n%s", definition)
	}
	line := fmt.Sprintf(`[{"ip-address":"%s","mac-address":"%s","expiry-time":%d}]`, address, mac[1], time.Now().Add(time.Hour).Unix())
	for _, dir := range []string{h.private("var", "lib", "libvirt", "dnsmasq"), h.private("run", "libvirt", "network")} {
		if _, err := os.Stat(dir); err == nil {
			if err := os.WriteFile(filepath.Join(dir, "virbr0.status"), []byte(line), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// makePool makes a storage pool until the test ends, and returns its directory.
func (h *host) makePool(t *testing.T, name, dir string) {
	t.Helper()
	pool, err := h.admin().StoragePoolDefineXML("<pool type='dir'><name>"+name+"</name><target><path>"+dir+"</path></target></pool>", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := h.admin().StoragePoolCreate(pool, golibvirt.StoragePoolCreateNormal); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = h.admin().StoragePoolDestroy(pool), h.admin().StoragePoolUndefine(pool) })
}

// domain is a domain as a person sees it.
type domain struct {
	name, uuid string
	runs       bool
	definition string
}

// domains are those whose name begins with a prefix.
func (h *host) domains(t *testing.T, prefix string) []domain {
	t.Helper()
	all, _, err := h.admin().ConnectListAllDomains(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []domain
	for _, d := range all {
		if !strings.HasPrefix(d.Name, prefix) {
			continue
		}
		definition, err := h.admin().DomainGetXMLDesc(d, golibvirt.DomainXMLInactive)
		if isNoDomain(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		state, _, err := h.admin().DomainGetState(d, 0)
		if isNoDomain(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, domain{
			name: d.Name, uuid: uuid.UUID(d.UUID).String(), runs: golibvirt.DomainState(state) == golibvirt.DomainRunning, definition: definition,
		})
	}
	return found
}

func isNoDomain(err error) bool {
	var answer golibvirt.Error
	return errors.As(err, &answer) && golibvirt.ErrorNumber(answer.Code) == golibvirt.ErrNoDomain
}

// private is a path of the private libvirtd.
func (h *host) private(elem ...string) string {
	return filepath.Join(append([]string{h.options.StateDir, "private"}, elem...)...)
}

// starts is how often QEMU was started for domains whose name begins with a prefix, whatever became of them: libvirt never
// removes the log of a domain.
func (h *host) starts(t *testing.T, prefix string) int {
	t.Helper()
	n := 0
	for _, log := range h.glob(t, "var", "log", "libvirt", "qemu", prefix+"*.log") {
		content, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		n += bytes.Count(content, []byte(": starting up libvirt version"))
	}
	return n
}

func (h *host) glob(t *testing.T, elem ...string) []string {
	t.Helper()
	found, err := filepath.Glob(h.private(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// describe says what libvirtd complained of last, and which QEMUs there are: what hangs is seen there.
func (h *host) describe() string {
	var out strings.Builder
	if complaints, err := os.ReadFile(filepath.Join(h.options.StateDir, "libvirtd.log")); err == nil {
		lines := strings.Split(strings.TrimSpace(string(complaints)), "\n")
		fmt.Fprintf(&out, "libvirtd: %s\n", strings.Join(lines[max(0, len(lines)-20):], "\nlibvirtd: "))
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range processes {
		command, err := os.ReadFile(path)
		name := regexp.MustCompile(`guest=([^,]*)`).FindSubmatch(command)
		if err != nil || name == nil || !bytes.Contains(command, []byte(h.private())) && !bytes.Contains(command, []byte("/var/lib/libvirt")) {
			continue
		}
		status, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "status"))
		state := regexp.MustCompile(`State:\s*(.*)`).FindSubmatch(status)
		fmt.Fprintf(&out, "QEMU %s of %s: %s\n", filepath.Base(filepath.Dir(path)), name[1], bytes.Join(state, []byte(" ")))
	}
	return out.String()
}

// reservations are what the networks reserve for an address, now and after their next start.
func (h *host) reservations(t *testing.T, address netip.Addr) []string {
	t.Helper()
	return slices.DeleteFunc(h.reserved(t), func(line string) bool { return !strings.Contains(line, "'"+address.String()+"'") })
}

// reserved is all that the networks reserve.
func (h *host) reserved(t *testing.T) (lines []string) {
	t.Helper()
	networks, _, err := h.admin().ConnectListAllNetworks(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range networks {
		for when, flags := range map[string]uint32{"now": 0, "later": uint32(golibvirt.NetworkXMLInactive)} {
			definition, err := h.admin().NetworkGetXMLDesc(n, flags)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range regexp.MustCompile(`<host [^>]*>`).FindAllString(definition, -1) {
				lines = append(lines, when+" "+line)
			}
		}
	}
	return lines
}

// files are the names of the files in a directory.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// named are the files of the hypervisor that have one of some words in their names, but for logs, which libvirt keeps, and
// what is in pools, which is looked at by itself.
func (h *host) named(t *testing.T, words ...string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(h.private(), func(path string, d fs.DirEntry, err error) error {
		// Files of running daemons come and go, which is no error.
		switch {
		case err == nil && d.IsDir() && d.Name() == "log":
			return filepath.SkipDir
		case err == nil && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(d.Name(), w) }):
			found = append(found, strings.TrimPrefix(path, h.private()))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
