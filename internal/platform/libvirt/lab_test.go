// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
	"github.com/go-logr/logr/testr"
	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hypervisor"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/platformtest"
	"github.com/ingot-project/cluster-api-provider-ingot/test/wire"
)

// lab is a private libvirtd with QEMU's emulation, and root's hands on it.
type lab struct {
	platformtest.Files

	options hypervisor.Options
	host    *hypervisor.Hypervisor
	ca      *authority
	admin   *golibvirt.Libvirt

	mu      sync.Mutex
	proxies []*proxy
}

// newLab starts a libvirtd of its own until the test ends.
func newLab(t *testing.T) *lab {
	t.Helper()
	if missing := hypervisor.Preflight(); len(missing) > 0 {
		var lines []string
		for _, m := range missing {
			lines = append(lines, m.String())
		}
		t.Fatalf("this test drives a real libvirtd and cannot start one here:\n%s", strings.Join(lines, "\n"))
	}
	dir, err := os.MkdirTemp("", "hv-")
	if err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t)
	l := &lab{ca: ca, options: hypervisor.Options{Name: "lv-" + filepath.Base(dir)[3:], StateDir: dir, Remote: ca.remote(t)}}
	t.Cleanup(func() {
		if err := hypervisor.Stop(context.WithoutCancel(t.Context()), l.options); err != nil {
			t.Errorf("stopping libvirtd: %v", err)
		}
		_ = os.RemoveAll(dir)
	})
	l.start(t)
	return l
}

// start starts libvirtd, also after it was stopped.
func (l *lab) start(t *testing.T) {
	t.Helper()
	h, _, err := hypervisor.StartForTest(context.WithoutCancel(t.Context()), l.options)
	if err != nil {
		t.Fatal(err)
	}
	l.host, l.admin = h, l.connect(t, h.Socket)
}

func (l *lab) connect(t *testing.T, socket string) *golibvirt.Libvirt {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	admin := golibvirt.NewWithDialer(dialers.NewAlreadyConnected(conn))
	if err := admin.Connect(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return admin
}

// open opens a session through a proxy. A libvirtd that was just started needs seconds until it knows its QEMU.
func (l *lab) open(t *testing.T, p *proxy, change func(*libvirt.Config)) *libvirt.Session {
	t.Helper()
	config := libvirt.Config{URI: p.URI(), Acceleration: libvirt.Emulated, Log: testr.New(t)}
	if change != nil {
		change(&config)
	}
	s, err := libvirt.Open(context.Background(), config, func(platform.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	eventually(t, "the session is connected", func() bool { return s.Status().Connected })
	return s
}

// Session implements platformtest.Lab.
func (l *lab) Session(t *testing.T) platform.Platform {
	t.Helper()
	p := newProxy(t, l.host.Socket)
	l.mu.Lock()
	l.proxies = append(l.proxies, p)
	l.mu.Unlock()
	return l.open(t, p, nil)
}

// Faulty implements platformtest.Lab.
func (l *lab) Faulty(t *testing.T, n int, lost bool) (session platform.Platform, fired func() bool) {
	t.Helper()
	when := wire.CutBefore
	if lost {
		when = wire.CutAfter
	}
	p := newCutProxy(t, l.host.Socket, n, when)
	return l.open(t, p, nil), p.hasFired
}

// Storage implements platformtest.Lab.
func (l *lab) Storage() string { return l.host.Pool }

// Network implements platformtest.Lab.
func (l *lab) Network() string { return l.host.Network }

// Sever implements platformtest.Lab.
func (l *lab) Sever(*testing.T) (restore func()) {
	l.mu.Lock()
	proxies := slices.Clone(l.proxies)
	l.mu.Unlock()
	for _, p := range proxies {
		p.Sever()
	}
	return func() {
		for _, p := range proxies {
			p.Restore()
		}
	}
}

// Channels implements platformtest.Lab.
func (l *lab) Channels() []delivery.Kind {
	return []delivery.Kind{delivery.FWCfg, delivery.NoCloud, delivery.ConfigDrive, delivery.SMBIOS}
}

// Address implements platformtest.Lab.
func (l *lab) Address() platform.Address {
	return platform.Address{Prefix: netip.PrefixFrom(l.host.VIP.Next(), l.host.Subnet.Bits()), Gateway: l.host.Gateway}
}

// TakeAddress implements platformtest.Lab.
func (l *lab) TakeAddress(t *testing.T, address netip.Addr) {
	t.Helper()
	l.reserve(t, l.host.Network, "02:00:00:00:00:99", address, golibvirt.NetworkUpdateAffectLive|golibvirt.NetworkUpdateAffectConfig)
}

// reserve makes a reservation by hand. It is removed with the test.
func (l *lab) reserve(t *testing.T, network, mac string, address netip.Addr, where golibvirt.NetworkUpdateFlags) {
	t.Helper()
	n, err := l.admin.NetworkLookupByName(network)
	if err != nil {
		t.Fatal(err)
	}
	host := fmt.Sprintf("<host mac='%s' ip='%s'/>", mac, address)
	change := func(c golibvirt.NetworkUpdateCommand) error {
		return l.admin.NetworkUpdateCompat(n, c, golibvirt.NetworkSectionIPDhcpHost, l.subnet(t, n), host, where)
	}
	if err := change(golibvirt.NetworkUpdateCommandAddLast); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := change(golibvirt.NetworkUpdateCommandDelete); err != nil {
			t.Errorf("somebody else's reservation: %v", err)
		}
	})
}

// reservations lists what the networks reserve, now and after their next start.
func (l *lab) reservations(t *testing.T) []string {
	t.Helper()
	networks, _, err := l.admin.ConnectListAllNetworks(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, n := range networks {
		for when, flags := range map[string]uint32{"now": 0, "later": uint32(golibvirt.NetworkXMLInactive)} {
			doc, err := l.admin.NetworkGetXMLDesc(n, flags)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range regexp.MustCompile(`<host [^>]*>`).FindAllString(doc, -1) {
				lines = append(lines, fmt.Sprintf("network %s reserves %s %s", n.Name, when, line))
			}
		}
	}
	return lines
}

// Asked implements platformtest.Lab.
func (l *lab) Asked(_ *testing.T, id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, p := range l.proxies {
		n += p.asked(uuid.MustParse(id))
	}
	return n
}

// PutForeign implements platformtest.Lab.
func (l *lab) PutForeign(t *testing.T, id string) {
	t.Helper()
	l.define(t, "foreign-"+id[:8], id)
}

// define makes a running domain that has nothing to do with Ingot.
func (l *lab) define(t *testing.T, name, id string) {
	t.Helper()
	d, err := l.admin.DomainDefineXML(fmt.Sprintf(`<domain type='qemu'><name>%s</name><uuid>%s</uuid><memory unit='MiB'>32</memory>
<vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os></domain>`, name, id))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.admin.DomainCreate(d); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.admin.DomainDestroy(d)
		if err := l.admin.DomainUndefine(d); err != nil {
			t.Error(err)
		}
	})
}

// PowerOff implements platformtest.Lab.
func (l *lab) PowerOff(t *testing.T, id string) {
	t.Helper()
	if err := l.admin.DomainDestroy(l.domain(t, id)); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) domain(t *testing.T, id string) golibvirt.Domain {
	t.Helper()
	d, err := l.admin.DomainLookupByUUID(golibvirt.UUID(uuid.MustParse(id)))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// definition returns what virsh dumpxml --inactive shows.
func (l *lab) definition(t *testing.T, id string) string {
	t.Helper()
	doc, err := l.admin.DomainGetXMLDesc(l.domain(t, id), golibvirt.DomainXMLInactive)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// Inventory implements platformtest.Lab. It reads libvirt's view and the files behind it, so that a file that libvirt
// has forgotten shows too.
func (l *lab) Inventory(t *testing.T) []string {
	t.Helper()
	domains, _, err := l.admin.ConnectListAllDomains(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, d := range domains {
		state, _, err := l.admin.DomainGetState(d, 0)
		if err != nil {
			t.Fatal(err)
		}
		definition, err := l.admin.DomainGetXMLDesc(d, golibvirt.DomainXMLInactive)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("domain %s %s state %d definition %x", d.Name, uuid.UUID(d.UUID), state, sha256.Sum256([]byte(definition))))
	}
	lines = append(lines, l.files(t, l.host.PoolPath)...)
	lines = append(lines, l.reservations(t)...)
	slices.Sort(lines)
	return lines
}

// files lists a directory. The content of root disks and console logs changes by itself.
func (l *lab) files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		size := info.Size()
		if strings.HasSuffix(e.Name(), "-root.qcow2") || strings.HasSuffix(e.Name(), "-console.log") {
			size = -1
		}
		lines = append(lines, fmt.Sprintf("file %s %d bytes", e.Name(), size))
	}
	return lines
}
