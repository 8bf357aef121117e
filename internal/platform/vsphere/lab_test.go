// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"context"
	"encoding/base64"
	"net/netip"
	"sync"
	"testing"

	"github.com/go-logr/logr/testr"
	"github.com/google/uuid"
	"sigs.k8s.io/yaml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/platformtest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/vsphere"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// lab is a simulated vCenter, and a person's hands on it.
type lab struct {
	*vcenter.VCenter

	mu    sync.Mutex
	doors []*vcenter.Door
}

func newLab(tb testing.TB) *lab {
	tb.Helper()
	v, err := vcenter.Start(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { v.Stop(context.WithoutCancel(tb.Context())) })
	return &lab{VCenter: v}
}

// door opens a way to the vCenter until the test ends.
func (l *lab) door(tb testing.TB) *vcenter.Door {
	tb.Helper()
	d := l.Door()
	tb.Cleanup(d.Close)
	return d
}

// config is what a session is opened with that goes through a door.
func config(tb testing.TB, d *vcenter.Door) vsphere.Config {
	tb.Helper()
	return vsphere.Config{
		Server:      d.Address(),
		Credentials: map[string][]byte{"username": []byte(vcenter.User), "password": []byte(vcenter.Password), "ca.crt": d.CA()},
		Log:         testr.NewWithInterface(tb, testr.Options{}),
	}
}

// open opens a session until the test ends. It may not be connected yet.
func open(tb testing.TB, c vsphere.Config, events func(platform.Event)) *vsphere.Session {
	tb.Helper()
	s, err := vsphere.Open(tb.Context(), c, events)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// connected opens a session until the test ends, and waits until it is connected.
func connected(tb testing.TB, c vsphere.Config, events func(platform.Event)) *vsphere.Session {
	tb.Helper()
	s := open(tb, c, events)
	vcenter.Connected(tb, s)
	return s
}

// fresh is a session that is connected and has asked nothing yet.
func fresh(tb testing.TB, d *vcenter.Door) *vsphere.Session {
	tb.Helper()
	return connected(tb, config(tb, d), func(platform.Event) {})
}

// Session implements platformtest.Lab.
func (l *lab) Session(t *testing.T) platform.Platform {
	t.Helper()
	d := l.door(t)
	l.mu.Lock()
	l.doors = append(l.doors, d)
	l.mu.Unlock()
	return fresh(t, d)
}

// Faulty implements platformtest.Lab.
func (l *lab) Faulty(t *testing.T, n int, lost bool) (session platform.Platform, fired func() bool) {
	t.Helper()
	d := l.door(t)
	var mu sync.Mutex
	seen, dead := 0, false
	d.Judge(func(method string) vcenter.Verdict {
		mu.Lock()
		defer mu.Unlock()
		if dead {
			return vcenter.Drop
		}
		if !vcenter.Effects(method) {
			return vcenter.Pass
		}
		seen++
		if dead = seen > n; !dead {
			return vcenter.Pass
		}
		if lost {
			return vcenter.Lose
		}
		return vcenter.Drop
	})
	return fresh(t, d), func() bool {
		mu.Lock()
		defer mu.Unlock()
		return dead
	}
}

// Storage implements platformtest.Lab.
func (l *lab) Storage() string { return vcenter.Datacenter + "/" + vcenter.Datastore }

// Network implements platformtest.Lab.
func (l *lab) Network() string { return vcenter.Network }

// Complete implements platformtest.Lab.
func (l *lab) Complete(req *platform.Request) { req.ResourcePool = vcenter.Cluster }

// KnowsAddresses implements platformtest.Lab.
func (l *lab) KnowsAddresses() bool { return false }

// Sever implements platformtest.Lab.
func (l *lab) Sever(*testing.T) (restore func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []func()
	for _, d := range l.doors {
		all = append(all, d.Shut())
	}
	return func() {
		for _, open := range all {
			open()
		}
	}
}

// PutForeign implements platformtest.Lab.
func (l *lab) PutForeign(t *testing.T, id string) {
	t.Helper()
	l.make(t, vcenter.Spec{Name: id, UUID: id, DiskBytes: 1 << 20})
}

// make makes a virtual machine or template that goes with the test.
func (l *lab) make(tb testing.TB, s vcenter.Spec) {
	tb.Helper()
	check(tb, l.Make(tb.Context(), s))
	tb.Cleanup(func() { _ = l.Destroy(context.WithoutCancel(tb.Context()), s.UUID) })
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// PowerOff implements platformtest.Lab.
func (l *lab) PowerOff(t *testing.T, id string) {
	t.Helper()
	check(t, l.VCenter.PowerOff(t.Context(), id))
}

// Channels implements platformtest.Lab.
func (l *lab) Channels() []delivery.Kind { return []delivery.Kind{delivery.GuestInfo} }

// Address implements platformtest.Lab.
func (l *lab) Address() platform.Address {
	return platform.Address{Prefix: netip.MustParsePrefix("192.0.2.20/24"), Gateway: netip.MustParseAddr("192.0.2.1")}
}

// TakeAddress implements platformtest.Lab.
func (l *lab) TakeAddress(t *testing.T, _ netip.Addr) {
	t.Helper()
	t.Fatal("no network of vSphere knows who has an address")
}

// Asked implements platformtest.Lab.
func (l *lab) Asked(_ *testing.T, id string) int { return l.VCenter.Asked(id) }

// Rename implements platformtest.Lab.
func (l *lab) Rename(t *testing.T, id, name string) {
	t.Helper()
	check(t, l.VCenter.Rename(t.Context(), id, name))
}

// Image implements platformtest.Lab: a template that says what it was made from.
func (l *lab) Image(t *testing.T) platform.ImageRequest {
	t.Helper()
	return l.imageFrom(t, vcenter.Spec{})
}

// imageFrom is an image whose template has something special.
func (l *lab) imageFrom(tb testing.TB, template vcenter.Spec) platform.ImageRequest {
	tb.Helper()
	id, digest := uuid.NewString(), newDigest()
	template.Name, template.UUID, template.DiskBytes, template.Template = "template-"+id, id, 1<<20, true
	template.Extra = map[string]string{"ingot.image.sha256": digest}
	l.make(tb, template)
	return platform.ImageRequest{
		ImageIdentity: platform.ImageIdentity{SHA256: digest},
		Source:        "template://" + id, Format: "template", Compression: "None", SizeBytes: 1 << 20,
	}
}

// WrongImages implements platformtest.Lab.
func (l *lab) WrongImages() []platformtest.WrongImage {
	other := func(spec vcenter.Spec) func(*testing.T, *platform.ImageRequest) {
		return func(t *testing.T, image *platform.ImageRequest) {
			t.Helper()
			spec.UUID, spec.DiskBytes = uuid.NewString(), 1<<20
			spec.Name = "other-" + spec.UUID
			l.make(t, spec)
			image.Source = "template://" + spec.UUID
		}
	}
	return []platformtest.WrongImage{
		{Name: "another digest", Spoil: other(vcenter.Spec{Template: true, Extra: map[string]string{"ingot.image.sha256": newDigest()}}), Want: platform.ErrDigestMismatch},
		{Name: "no digest on record", Spoil: other(vcenter.Spec{Template: true}), Want: platform.ErrDigestMismatch},
		{Name: "a virtual machine", Spoil: other(vcenter.Spec{}), Want: platform.ErrSource},
		{Name: "no template", Spoil: func(_ *testing.T, image *platform.ImageRequest) { image.Source = "template://" + uuid.NewString() }, Want: platform.ErrSource},
		{Name: "no instance UUID", Spoil: func(_ *testing.T, image *platform.ImageRequest) { image.Source = "template://ubuntu" }, Want: platform.ErrInvalid},
		{Name: "a file", Spoil: func(_ *testing.T, image *platform.ImageRequest) { image.Source = "file:///disk.vmdk" }, Want: platform.ErrInvalid},
	}
}

func newDigest() string {
	strip := func() string {
		id := uuid.New()
		return encodeHex(id[:])
	}
	return strip() + strip()
}

// Built implements platformtest.Lab.
func (l *lab) Built(t *testing.T, id string) platformtest.Built {
	t.Helper()
	all, err := l.Machines(t.Context())
	check(t, err)
	m := all[id]
	built := platformtest.Built{Name: m.Name}
	for i, name := range split(m.Extra["ingot.disks"]) {
		built.Disks = append(built.Disks, platform.Disk{Name: name, Bytes: m.Disks[i+1]})
	}
	mtus := mtusOf(t, m)
	for i := range m.Networks {
		built.Interfaces = append(built.Interfaces, platform.Interface{Network: vcenter.Network, MTU: mtus[m.MACs[i]]})
	}
	return built
}

// mtusOf is what the guest is told of the largest packet, by the MAC address of the interface.
func mtusOf(t *testing.T, m vcenter.Machine) map[string]int32 {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(m.Extra["guestinfo.metadata"])
	check(t, err)
	var told struct {
		Network struct {
			Ethernets map[string]struct {
				Match struct {
					MAC string `json:"macaddress"`
				} `json:"match"`
				MTU int32 `json:"mtu"`
			} `json:"ethernets"`
		} `json:"network"`
	}
	check(t, yaml.Unmarshal(text, &told))
	mtus := map[string]int32{}
	for _, e := range told.Network.Ethernets {
		mtus[e.Match.MAC] = e.MTU
	}
	return mtus
}

// Inventory implements platformtest.Lab.
func (l *lab) Inventory(t *testing.T) []string {
	t.Helper()
	lines, err := l.VCenter.Inventory(t.Context())
	check(t, err)
	return lines
}
