// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package hypervisor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
)

// Options say which hypervisor is meant and, when it is made, what it is like.
type Options struct {
	// Name is what a person calls it: lower-case letters, digits and dashes, at most 20 characters. Name and StateDir
	// together identify a hypervisor on this machine.
	Name string
	// StateDir belongs to the hypervisor alone and holds everything of it, guests' disks included.
	StateDir string
	// Subnet is the /24 of the guests. The zero value chooses a free one out of 192.168.100.0 to 192.168.199.0; the
	// choice is kept in StateDir.
	Subnet netip.Prefix
	// DHCPFirst and DHCPLast are the last octets of the first and last address that is given to guests; the zero
	// values are 100 and 249. Addresses below 100 are then free for virtual IPs.
	DHCPFirst, DHCPLast byte
	// Child ties libvirtd to the calling process and the context of Start, which is meant for tests. If that process
	// dies without Stop, guests, helpers and links go too, and only StateDir stays.
	Child bool
	// Remote lets libvirtd listen for TCP and TLS too, on an address that this machine and the guests reach. It is meant
	// for tests: over TCP whoever reaches libvirtd is root. The function makes the certificate of the server for that
	// address.
	Remote func(address netip.Addr) (Certificates, error)
}

// Hypervisor is a running private libvirtd and all that others need to use it.
type Hypervisor struct {
	// URI is the connection URI for go-libvirt, which also virsh understands. Only root may connect.
	URI string
	// Socket is the path of the libvirtd socket in that URI.
	Socket string
	// TCP and TLS are where libvirtd listens too; invalid unless that was asked for.
	TCP, TLS netip.AddrPort
	// Network is the name of the libvirt network whose guests the host reaches directly.
	Network string
	// Subnet is the network's prefix, Gateway the address of its bridge, which also answers DHCP and DNS.
	Subnet  netip.Prefix
	Gateway netip.Addr
	// Host is the address under which guests reach this machine.
	Host netip.Addr
	// DHCPFirst and DHCPLast bound the addresses that guests get.
	DHCPFirst, DHCPLast netip.Addr
	// VIP is an address of the subnet that DHCP never gives away.
	VIP netip.Addr
	// Pool is the name of the storage pool, PoolPath the folder behind it.
	Pool, PoolPath string
	// Namespace is the name of the network namespace, for `ip netns exec`.
	Namespace string
	// PID is the process id of libvirtd.
	PID int
}

// names of what is inside of every private libvirtd.
const (
	networkName = "ingot"
	poolName    = "ingot"
	bridgeName  = "virbr0"
)

// Start brings the hypervisor up, or continues one that is up, was killed half way, or lived before a reboot. It needs
// root and the programs that Preflight checks. Guests that run keep running.
func Start(ctx context.Context, o Options) (*Hypervisor, error) {
	l, err := newLayout(o)
	if err != nil {
		return nil, err
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("hypervisor %s: %w", o.Name, err)
	}
	defer unlock()
	h, err := up(ctx, l, o)
	if err != nil {
		return nil, fmt.Errorf("hypervisor %s: %w", o.Name, err)
	}
	return h, nil
}

// StartForTest is Start with Child set; whatever the error, stop removes every trace.
func StartForTest(ctx context.Context, o Options) (h *Hypervisor, stop func() error, err error) {
	o.Child = true
	stop = func() error { return Stop(context.WithoutCancel(ctx), o) }
	if h, err = Start(ctx, o); err != nil {
		return nil, stop, errors.Join(err, stop())
	}
	return h, stop, nil
}

func up(ctx context.Context, l layout, o Options) (*Hypervisor, error) {
	s, err := l.prepare(o)
	if err != nil {
		return nil, err
	}
	if s, err = ensureUplink(ctx, l, s); err != nil {
		return nil, err
	}
	h := describe(l, s)
	conf, args, err := h.listen(l, o)
	if err != nil {
		return nil, err
	}
	p, err := startDaemon(ctx, l, o, conf, args...)
	if err != nil {
		return nil, err
	}
	h.PID = p.PID
	if err := awaitDaemon(ctx, p, h.Socket, func(c conn) error { return ensureNetworkAndPool(c, h) }); err != nil {
		return nil, err
	}
	return h, nil
}

// describe derives what others need from what was chosen.
func describe(l layout, s state) *Hypervisor {
	near, _ := transfer(s.Subnet)
	return &Hypervisor{
		URI:       "qemu+unix:///system?socket=" + l.socket(),
		Socket:    l.socket(),
		Network:   networkName,
		Subnet:    s.Subnet,
		Gateway:   host(s.Subnet, 1),
		Host:      near,
		DHCPFirst: host(s.Subnet, s.DHCPFirst),
		DHCPLast:  host(s.Subnet, s.DHCPLast),
		VIP:       freeAddress(s),
		Pool:      poolName,
		PoolPath:  l.pool(),
		Namespace: l.namespace,
	}
}

// freeAddress is an address for a virtual IP: .10, or the next one that DHCP does not give away.
func freeAddress(s state) netip.Addr {
	for octet := byte(10); octet < 255; octet++ {
		if octet < s.DHCPFirst || octet > s.DHCPLast {
			return host(s.Subnet, octet)
		}
	}
	return netip.Addr{}
}

// host is the address of a /24 with the given last octet.
func host(subnet netip.Prefix, octet byte) netip.Addr {
	a := subnet.Masked().Addr().As4()
	a[3] = octet
	return netip.AddrFrom4(a)
}

// layout is where everything of one hypervisor is. All of it follows from name and state directory, so that a
// hypervisor whose state was lost half way can still be removed.
type layout struct {
	dir       string
	namespace string // network namespace
	link      string // the host's end of the veth pair
}

func newLayout(o Options) (layout, error) {
	if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$`).MatchString(o.Name) {
		return layout{}, fmt.Errorf("hypervisor name %q must be at most 20 lower-case letters, digits and dashes", o.Name)
	}
	dir, err := filepath.Abs(o.StateDir)
	if err != nil || o.StateDir == "" {
		return layout{}, fmt.Errorf("hypervisor %s: state directory %q is no usable path: %w", o.Name, o.StateDir, err)
	}
	if os.Geteuid() != 0 {
		return layout{}, fmt.Errorf("hypervisor %s needs root, because it makes a network namespace and a bridge; run it with sudo", o.Name)
	}
	id := fmt.Sprintf("%x", sha256.Sum256([]byte(o.Name+"\x00"+dir)))[:8]
	l := layout{dir: dir, namespace: "ingot-" + o.Name + "-" + id, link: "ingot" + id}
	if len(l.socket()) > 107 { // what the kernel takes as the address of a Unix socket
		return layout{}, fmt.Errorf("hypervisor %s: state directory %s is too long for a socket in it; use a path of at most %d characters",
			o.Name, dir, 107-len(l.socket())+len(dir))
	}
	return l, nil
}

func (l layout) private(elem ...string) string {
	return filepath.Join(append([]string{l.dir, "private"}, elem...)...)
}
func (l layout) socket() string  { return l.private("run", "libvirt", "libvirt-sock") }
func (l layout) pool() string    { return filepath.Join(l.dir, "pool") }
func (l layout) pidFile() string { return filepath.Join(l.dir, "libvirtd.pid") }
func (l layout) logFile() string { return filepath.Join(l.dir, "libvirtd.log") }
func (l layout) stateFile() string {
	return filepath.Join(l.dir, "state.json")
}
func (l layout) lockFile() string { return filepath.Join(l.dir, "lock") }

// lock makes sure that one Start or Stop works on the hypervisor at a time.
func (l layout) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(l.dir, 0o750); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return process.Lock(ctx, l.lockFile(), nil)
}
