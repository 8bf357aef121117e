// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
)

var update = flag.Bool("update", false, "rewrite golden files")

func exampleRequest() platform.Request {
	return platform.Request{
		Identity: platform.Identity{
			UUID: "6f0c9d2e-1111-4222-8333-444455556666", ManagementClusterID: "3f0c9d2e-aaaa-4bbb-8ccc-ddddeeeeffff", Storage: "default",
		},
		Name:        "demo-control-plane-x7k2p",
		ImageSHA256: strings.Repeat("ab", 32),
		CPUs:        2,
		MemoryBytes: 3 << 30,
		Interfaces:  []platform.Interface{{Network: "default"}, {Network: "storage"}},
		Firmware:    platform.FirmwareUEFI,
		Bootstrap: platform.Bootstrap{
			Data:     []byte("{}"),
			Channels: []delivery.Channel{{Kind: "config-drive"}, {Kind: delivery.FWCfg, Key: "opt/com.coreos/config"}},
		},
	}
}

// The definition is what the guest gets: a change of it must be seen by a reviewer.
func TestGoldenDefinitions(t *testing.T) {
	for name, c := range map[string]struct {
		emulated bool
		change   func(*platform.Request)
	}{
		"kvm-uefi":             {false, func(*platform.Request) {}},
		"emulated-uefi":        {true, func(*platform.Request) {}},
		"emulated-secure-boot": {true, func(r *platform.Request) { r.SecureBoot = true }},
		"kvm-uefi-cdrom": {false, func(r *platform.Request) {
			r.Bootstrap.Channels = []delivery.Channel{{Kind: delivery.NoCloud}}
			r.Interfaces[0].Addresses = []platform.Address{{Prefix: netip.MustParsePrefix("192.0.2.10/24")}}
		}},
		"kvm-uefi-smbios": {false, func(r *platform.Request) {
			r.Bootstrap.Channels = []delivery.Channel{{Kind: delivery.SMBIOS, Key: "io.systemd.credential.binary:x"}}
		}},
		"kvm-bios-bare": {false, func(r *platform.Request) {
			r.Firmware, r.Interfaces, r.Bootstrap = platform.FirmwareBIOS, nil, platform.Bootstrap{}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			req := exampleRequest()
			c.change(&req)
			got, _, err := libvirt.Render(req, c.emulated)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".xml")
			if *update {
				if err := os.WriteFile(path, []byte(got+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got+"\n"); diff != "" {
				t.Errorf("the definition has changed (-update rewrites it):\n%s", diff)
			}
			if strings.Contains(got, "unsafe") != c.emulated {
				t.Error("the disk cache that loses data belongs to emulated guests only")
			}
		})
	}
}

// A definition that was made from other input must be told apart, or a half-made machine would start with old input.
func TestRevisionCoversEverything(t *testing.T) {
	_, base, err := libvirt.Render(exampleRequest(), false)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*platform.Request){
		"CPUs":      func(r *platform.Request) { r.CPUs++ },
		"memory":    func(r *platform.Request) { r.MemoryBytes += 1 << 20 },
		"network":   func(r *platform.Request) { r.Interfaces[0].Network = "other" },
		"firmware":  func(r *platform.Request) { r.Firmware = platform.FirmwareBIOS },
		"bootstrap": func(r *platform.Request) { r.Bootstrap.Data = []byte("{ }") },
		"channel":   func(r *platform.Request) { r.Bootstrap.Channels[1].Key = "opt/other" },
		"image":     func(r *platform.Request) { r.ImageSHA256 = strings.Repeat("cd", 32) },
		"disk":      func(r *platform.Request) { r.RootDiskBytes = 1 << 40 },
	} {
		req := exampleRequest()
		change(&req)
		if _, revision, err := libvirt.Render(req, false); err != nil || revision == base {
			t.Errorf("another %s gives the same revision (%v)", name, err)
		}
	}
}

// The owner token survives what libvirt and other tools do to metadata, and nothing else is taken for it.
func TestOwnerToken(t *testing.T) {
	definition, _, err := libvirt.Render(exampleRequest(), false)
	if err != nil {
		t.Fatal(err)
	}
	machine, cluster, stage, err := libvirt.Owner(definition)
	if err != nil || machine != exampleRequest().UUID || cluster != exampleRequest().ManagementClusterID || stage != "" {
		t.Errorf("read %q %q %q %v", machine, cluster, stage, err)
	}
	// As libvirt writes it back after a call that sets metadata, beside the element of somebody else.
	element, err := libvirt.Advance(definition, "starting")
	if err != nil {
		t.Fatal(err)
	}
	qualified := strings.Replace(element, "<instance", `<ingot:instance xmlns:ingot="https://ingot.dev/libvirt/v1"`, 1)
	qualified = strings.Replace(qualified, "</instance>", "</ingot:instance>", 1)
	machine, _, stage, err = libvirt.Owner(`<domain><metadata><o:os xmlns:o="http://other">x</o:os>` + qualified + `</metadata></domain>`)
	if err != nil || machine != exampleRequest().UUID || stage != "starting" {
		t.Errorf("read %q %q %v", machine, stage, err)
	}
	for _, foreign := range []string{
		`<domain/>`,
		`<domain><metadata/></domain>`,
		`<domain><metadata><instance machine="6f0c9d2e-1111-4222-8333-444455556666"/></metadata></domain>`,
		`<domain><metadata><x:instance xmlns:x="https://ingot.dev/other" machine="6f0c9d2e-1111-4222-8333-444455556666"/></metadata></domain>`,
	} {
		if machine, _, _, err := libvirt.Owner(foreign); machine != "" || err != nil {
			t.Errorf("%s: taken for ours (%q, %v)", foreign, machine, err)
		}
	}
}

// Whatever is killed and whenever, the guest of a machine is let go at most once: a guest that has run is never started
// again. The walk tries every order of steps, crashes of the manager, power losses of the host and guests that power
// themselves off.
func TestNeverStartedTwice(t *testing.T) {
	type state struct {
		libvirt.World
		ran bool // whether the guest has executed anything
	}
	seen := map[state]bool{}
	var walk func(s state)
	walk = func(s state) {
		if seen[s] {
			return
		}
		seen[s] = true
		step := libvirt.Next(s.World)
		after := s
		switch step {
		case "build":
			if s.ran {
				t.Errorf("%+v: a machine that has run is built anew", s)
			}
			after.Defined, after.VolumesComplete, after.OfAnotherRevision, after.Power = true, true, false, "off"
		case "start":
			if s.ran {
				t.Errorf("%+v: a machine that has run is started again", s)
			}
			after.Power = "paused"
		case "mark starting":
			after.Stage = "starting"
		case "resume":
			after.Power, after.ran = "on", true
		case "mark started":
			after.Stage = "started"
		}
		walk(after) // the step; a manager that is killed before or after it sees s or after
		reboot := s // the host loses power
		if s.Defined {
			reboot.Power = "off"
		}
		walk(reboot)
	}
	for _, complete := range []bool{true, false} {
		for _, other := range []bool{true, false} {
			walk(state{World: libvirt.World{VolumesComplete: complete, OfAnotherRevision: other, Power: "off"}})
		}
	}
	for s := range seen {
		if s.ran && s.Power == "off" && s.Stage == "" {
			t.Errorf("%+v can be reached: the guest ran and nothing says so", s)
		}
		if s.Stage == "started" && libvirt.Next(s.World) != "none" {
			t.Errorf("%+v: a started machine is changed", s)
		}
	}
}

// A pool is shared with people and other clusters: names decide what is ours, so nothing similar may match.
func TestVolumeNames(t *testing.T) {
	id := exampleRequest().Identity
	other := id
	other.ManagementClusterID = "another"
	ours, theirs := libvirt.VolumeNames(id), libvirt.VolumeNames(other)
	if name, ok := libvirt.ForeignVolume(id, append(ours, "ingot-image-x", "something.qcow2")); ok {
		t.Errorf("%s is taken for foreign", name)
	}
	for _, name := range append(theirs, "ingot-"+id.UUID+"-root.qcow2") {
		if _, ok := libvirt.ForeignVolume(id, []string{name}); !ok {
			t.Errorf("%s is not taken for foreign", name)
		}
	}

	sha := strings.Repeat("ab", 32)
	stem := "ingot-image-" + sha + "-"
	sealed, unsealed, orphans := libvirt.Copies(sha, []string{
		stem + "02.qcow2.verified", stem + "02.qcow2", stem + "01.raw", stem + "01.raw.verified", stem + "03.qcow2",
		stem + "04.qcow2.verified", "ingot-image-" + strings.Repeat("cd", 32) + "-05.qcow2", stem + "06.vmdk", "x" + stem + "07.raw",
		stem + "08.raw.verified.verified", stem + "09.raw.verifie",
	})
	if diff := cmp.Diff([][]string{{stem + "01.raw", stem + "02.qcow2"}, {stem + "03.qcow2"}, {stem + "04.qcow2.verified"}},
		[][]string{sealed, unsealed, orphans}); diff != "" {
		t.Error(diff)
	}
}

func TestDomainNames(t *testing.T) {
	id := exampleRequest().Identity
	for in, want := range map[string]string{
		"demo-x7k2p":                    "demo-x7k2p-6f0c9d2e",
		"":                              "ingot-6f0c9d2e",
		"../../etc":                     "etc-6f0c9d2e",
		"a/b\nc":                        "a-b-c-6f0c9d2e",
		"née":                           "n-e-6f0c9d2e",
		strings.Repeat("long", 100):     strings.Repeat("long", 25) + "-6f0c9d2e",
		strings.Repeat("a", 99) + "-bc": strings.Repeat("a", 99) + "-6f0c9d2e",
	} {
		if got := libvirt.DomainName(id, in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if a, b := libvirt.MAC(id, 0), libvirt.MAC(id, 1); a == b || !strings.HasPrefix(a, "02:") || len(a) != len("02:00:00:00:00:00") {
		t.Errorf("addresses %s and %s", a, b)
	}
}

// An image that points at other files would let a guest read the host's files.
func TestCheckDisk(t *testing.T) {
	qcow2 := func(version uint32, backing, features uint64) []byte {
		h := make([]byte, 104)
		copy(h, "QFI\xfb")
		binary.BigEndian.PutUint32(h[4:], version)
		binary.BigEndian.PutUint64(h[8:], backing)
		binary.BigEndian.PutUint64(h[72:], features)
		return h
	}
	for name, c := range map[string]struct {
		format string
		header []byte
		ok     bool
	}{
		"qcow2":                 {"qcow2", qcow2(3, 0, 0), true},
		"qcow2 of old":          {"qcow2", qcow2(2, 0, 1<<2), true}, // version 2 has no features there
		"qcow2 over a file":     {"qcow2", qcow2(3, 104, 0), false},
		"data in another file":  {"qcow2", qcow2(3, 0, 1<<2), false},
		"qcow":                  {"qcow2", qcow2(1, 0, 0), false},
		"cut off":               {"qcow2", qcow2(3, 0, 0)[:40], false},
		"empty":                 {"qcow2", nil, false},
		"raw declared as qcow2": {"qcow2", make([]byte, 512), false},
		"raw":                   {"raw", make([]byte, 512), true},
		"qcow2 declared as raw": {"raw", qcow2(3, 104, 0), false},
	} {
		if err := libvirt.CheckDisk(c.format, c.header); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzCheckDisk(f *testing.F) {
	f.Add("qcow2", []byte("QFI\xfb"))
	f.Fuzz(func(t *testing.T, format string, header []byte) {
		if libvirt.CheckDisk(format, header) == nil && format == "qcow2" && !bytes.HasPrefix(header, []byte("QFI\xfb")) {
			t.Error("let in")
		}
	})
}

// A host without KVM refuses machines and says what to set, instead of running them ten times slower in silence.
func TestAcceleration(t *testing.T) {
	capabilities := func(domains string) string {
		return `<capabilities><host/><guest><os_type>hvm</os_type><arch name='i686'><domain type='kvm'/></arch></guest>
<guest><os_type>hvm</os_type><arch name='x86_64'><domain type='qemu'/>` + domains + `</arch></guest></capabilities>`
	}
	for domains, want := range map[string][]string{"": {"qemu"}, "<domain type='kvm'/>": {"qemu", "kvm"}} {
		if got, err := libvirt.DomainTypes(capabilities(domains)); !slices.Equal(got, want) || err != nil {
			t.Errorf("%q: got %v, %v", domains, got, err)
		}
	}
	if err := libvirt.CheckAcceleration(libvirt.KVM, []string{"qemu"}); !errors.Is(err, platform.ErrUnsupported) ||
		!strings.Contains(err.Error(), "spec.libvirt.acceleration: Emulated") {
		t.Errorf("got %v", err)
	}
	for _, ok := range []error{libvirt.CheckAcceleration(libvirt.KVM, []string{"kvm"}), libvirt.CheckAcceleration(libvirt.Emulated, []string{"qemu"})} {
		if ok != nil {
			t.Error(ok)
		}
	}
}

// What libvirtd sends is foreign input.
func FuzzDecodeError(f *testing.F) {
	f.Add([]byte{0, 0, 0, 38, 0, 0, 0, 18, 0, 0, 0, 1, 0, 0, 0, 2, 'n', 'o', 0, 0})
	f.Add([]byte{0, 0, 0, 38, 0, 0, 0, 18, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, payload []byte) {
		if libvirt.DecodeError(payload) == nil {
			t.Error("an error that is none")
		}
	})
}
