// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/rules"
)

const (
	// memoryUnit is what the memory of a virtual machine is a multiple of.
	memoryUnit = 4 << 20
	// maxDisks bounds the further disks to what hangs on all controllers beside the root disk.
	maxDisks = maxControllers*unitsEach - 1
)

// Ensure implements platform.Platform.
func (s *Session) Ensure(ctx context.Context, req platform.Request) (platform.Observation, error) {
	if err := checkRequest(req); err != nil {
		return platform.Observation{}, err
	}
	unlock, err := s.locks.Lock(ctx, req.UUID)
	if err != nil {
		return platform.Observation{}, err
	}
	defer unlock()
	c, err := s.acquire(ctx)
	if err != nil {
		return platform.Observation{}, err
	}
	v, err := s.look(ctx, c, req.Identity, glance)
	if err == nil {
		err = s.advance(ctx, c, req, &v)
	}
	if err != nil {
		return platform.Observation{}, told(err)
	}
	return v.observation(), nil
}

// advance does the next step of an instance, if there is one: the clone, or the start that a clone has failed at.
func (s *Session) advance(ctx context.Context, c *client, req platform.Request, v *view) error {
	switch {
	case v.making != "" || v.unsure:
		return nil
	case len(v.vms) > 0 && v.vms[0].mark.unfinished:
		return s.finish(ctx, c, req, v)
	case len(v.vms) == 1 && v.vms[0].power == poweredOff && v.failed != nil:
		// This session began the task and saw it fail, so the guest has never run.
		s.unstarted.Store(req.UUID, true)
		return fmt.Errorf("virtual machine %s was made and could not be started, which is tried again: %w", v.vms[0].name, v.failed)
	case len(v.vms) == 1 && v.vms[0].power == poweredOff && s.neverStarted(req.UUID):
		task, err := c.powerOn(ctx, v.vms[0].ref)
		if err != nil {
			return err
		}
		s.note(subject{uuid: req.UUID}, work{task: task, what: "starting"}, v)
		return nil
	case len(v.vms) > 0:
		s.started.Delete(req.UUID)
		s.unstarted.Delete(req.UUID)
		return nil
	case v.failed != nil:
		return s.excuse(ctx, c, v)
	}
	o, err := s.order(ctx, c, req)
	if err != nil {
		return err
	}
	task, err := c.clone(ctx, o)
	if err != nil {
		v.failed = err
		return s.excuse(ctx, c, v)
	}
	s.note(subject{uuid: req.UUID}, work{task: task, what: "cloning"}, v)
	return nil
}

// neverStarted tells whether this session saw the first start of an instance fail, and none succeed since.
func (s *Session) neverStarted(uuid string) bool {
	_, is := s.unstarted.Load(uuid)
	return is
}

// note notes a task that was begun, whose end the stream tells. It may have done so before the call was answered.
func (s *Session) note(of subject, begun work, v *view) {
	if v != nil {
		v.making, v.told = begun.what, true
	}
	begun.read = s.config.Clock.Now()
	s.works.begin(of, begun)
	if told, known := s.mirror.task(begun.task); known && told.done {
		s.taskEnded(begun.task)
		s.events(of.event())
	}
}

// excuse says why there is no instance. A name that is taken is no failure when it is our own clone that has it: one whose
// answer was lost, or another manager's.
func (s *Session) excuse(ctx context.Context, c *client, v *view) error {
	var taken nameTakenError
	if !errors.As(v.failed, &taken) {
		s.known.forget() // something of it may be why
		if errors.Is(v.failed, errNotFound) {
			return fmt.Errorf("%w: what the machine is cloned from, or put into, has gone: %w", platform.ErrImageNotReady, v.failed)
		}
		return v.failed
	}
	foreign := fmt.Errorf("%w: the folder has a %s %s already, which is not this machine's; rename it, or give the machine another folder or spec.platform.vsphere.nameTemplate; nothing was changed",
		platform.ErrForeign, taken.by.kind, taken.name)
	if taken.by.kind != kindVM {
		return foreign
	}
	vms, _, err := c.read(ctx, []ref{taken.by}, ref{})
	switch {
	case err != nil:
		return err
	case len(vms) == 0 || vms[0].instanceUUID == "" || vms[0].mark.owns(v.id) && vms[0].instanceUUID == v.id.UUID:
		v.making, v.told = "being cloned", false // by a task that is not ours, whose failure nobody would tell
		return nil
	default:
		return foreign
	}
}

// order finds everything that a machine is cloned with. It changes nothing. What carries the bootstrap data is made here and not
// earlier: a pass over a machine that is there needs none of it, and to pack it takes most of its memory.
func (s *Session) order(ctx context.Context, c *client, req platform.Request) (order, error) {
	properties, err := propertiesOf(req)
	if err != nil {
		return order{}, err
	}
	at, err := whereOf(req.Storage, req.Folder, req.ResourcePool)
	if err != nil {
		return order{}, err
	}
	o := order{name: vmName(req), uuid: req.UUID, linked: !req.FullClone}
	for _, p := range []struct {
		field, path string
		to          *ref
	}{
		{"datastore", at.datastore, &o.datastore},
		{"folder", at.folder, &o.folder},
		{"resourcePool", at.pool, &o.pool},
	} {
		if *p.to, err = s.locate(ctx, c, "spec.platform.vsphere."+p.field, p.path); err != nil {
			return order{}, err
		}
	}
	if o.pool, err = s.poolOf(ctx, c, o.pool); err != nil {
		return order{}, err
	}
	m := machineOf(req)
	for i, nic := range req.Interfaces {
		if m.nics[i].backing, err = s.backing(ctx, c, i, at.network(nic.Network)); err != nil {
			return order{}, err
		}
	}
	image, err := s.copied(ctx, c, platform.ImageIdentity{SHA256: req.ImageSHA256, Storage: req.Storage})
	if err != nil {
		return order{}, err
	}
	if size := image.rootBytes(); req.RootDiskBytes > 0 && req.RootDiskBytes < size {
		return order{}, fmt.Errorf("%w: spec.rootDisk.size of %d bytes is less than the %d of the image", platform.ErrInvalid, req.RootDiskBytes, size)
	}
	if o.linked && req.RootDiskBytes > image.rootBytes() {
		return order{}, fmt.Errorf("%w: spec.rootDisk.size: the disk of a linked clone has the size of the image, %d bytes: remove it, or set spec.platform.vsphere.cloneMode: Full",
			platform.ErrUnsupported, image.rootBytes())
	}
	o.from, o.machine = *image, m
	if err := s.further(ctx, c, req, &o); err != nil {
		return order{}, err
	}
	o.extra = extraOf(req, properties, o.unfinished)
	return o, nil
}

// machineOf is the hardware that a request asks for, without what the interfaces are connected to.
func machineOf(req platform.Request) *hardware {
	m := &hardware{
		cpus: req.CPUs, memoryMB: req.MemoryBytes >> 20, firmware: "efi", secureBoot: req.SecureBoot, tpm: req.VirtualTPM, rootBytes: req.RootDiskBytes,
		reserved: reservation{cpuMHz: req.ReservedCPUMHz, memoryMB: req.ReservedMemoryBytes >> 20},
	}
	if req.Firmware == platform.FirmwareBIOS {
		m.firmware = "bios"
	}
	if m.devices = devicesOf(req); len(m.devices) > 0 {
		m.reserved.memoryMB = m.memoryMB
	}
	for _, disk := range req.Disks {
		m.disks = append(m.disks, disk.Bytes)
	}
	for i := range req.Interfaces {
		m.nics = append(m.nics, nic{mac: rules.MAC(req.Identity, i)})
	}
	return m
}

// extraOf is the extra configuration of a machine: its mark, and what carries the bootstrap data.
func extraOf(req platform.Request, properties map[string]string, unfinished bool) map[string]string {
	m := mark{
		machine: req.UUID, cluster: req.ManagementClusterID, storage: req.Storage, bootstrap: secretProperties(req, properties),
		group: req.Group, hostGroup: vmGroupName(req.ManagementClusterID, req.HostGroup), unfinished: unfinished,
	}
	if !req.FullClone {
		m.image = req.ImageSHA256
	}
	for _, nic := range req.Interfaces {
		for _, a := range nic.Addresses {
			m.addresses = append(m.addresses, a.Prefix.Addr().String())
		}
	}
	for _, disk := range req.Disks {
		m.disks = append(m.disks, disk.Name)
	}
	extra := m.extra()
	maps.Copy(extra, properties)
	return extra
}

// locate returns what is at a path of the inventory that a field names.
func (s *Session) locate(ctx context.Context, c *client, field, path string) (ref, error) {
	if found, ok := s.known.place(path); ok {
		return found, nil
	}
	found, err := c.lookup(ctx, path)
	if errors.Is(err, errNotFound) {
		return ref{}, fmt.Errorf("%w: %s: there is no /%s in the inventory that the session sees", platform.ErrInvalid, field, path)
	}
	if err == nil {
		s.known.putPlace(path, found)
	}
	return found, err
}

// poolOf returns the resource pool itself, or the root pool of a cluster or host.
func (s *Session) poolOf(ctx context.Context, c *client, at ref) (ref, error) {
	if at.kind != "ClusterComputeResource" && at.kind != "ComputeResource" {
		return at, nil
	}
	const key = "pool of "
	if found, ok := s.known.place(key + at.value); ok {
		return found, nil
	}
	found, err := c.reference(ctx, at, "resourcePool")
	if err == nil {
		s.known.putPlace(key+at.value, found)
	}
	return found, err
}

// backing returns what an interface is connected to.
func (s *Session) backing(ctx context.Context, c *client, index int, path string) (backing, error) {
	if found, ok := s.known.backing(path); ok {
		return found, nil
	}
	field := fmt.Sprintf("spec.networks[%d].name", index)
	network, err := s.network(ctx, c, field, path)
	if err != nil {
		return backing{}, err
	}
	found, err := c.backing(ctx, network.ref, network.name)
	if errors.Is(err, errNotFound) {
		return backing{}, fmt.Errorf("%w: %s: %w", platform.ErrInvalid, field, err)
	}
	if err == nil {
		s.known.putBacking(path, found)
	}
	return found, err
}

// checkRequest refuses what can never work on any vCenter, whatever the bootstrap data holds.
func checkRequest(req platform.Request) error {
	if err := rules.CheckRequest(req, pciDevicesField); err != nil {
		return err
	}
	switch {
	case req.MemoryBytes%memoryUnit != 0 && req.HugePageBytes == 0:
		return fmt.Errorf("%w: spec.resources.memory of %d bytes is no multiple of 4Mi, which virtual machines need", platform.ErrInvalid, req.MemoryBytes)
	case req.HugePageBytes > 0:
		return fmt.Errorf("%w: spec.resources.hugePages on vSphere, where the host chooses its pages: remove it", platform.ErrUnsupported)
	case req.DedicatedCPUs:
		return fmt.Errorf("%w: spec.resources.cpuPolicy Dedicated on vSphere: remove it", platform.ErrUnsupported)
	case req.SingleNUMANode:
		return fmt.Errorf("%w: spec.resources.numaPolicy on vSphere, where the host chooses the node: remove it", platform.ErrUnsupported)
	case len(req.Disks) > maxDisks:
		return fmt.Errorf("%w: spec.disks has %d disks: at most %d are possible on vSphere", platform.ErrUnsupported, len(req.Disks), maxDisks)
	}
	if err := checkFurther(req); err != nil {
		return err
	}
	return checkCarrier(req)
}

// told words an error for those outside, who do not know the errors of this package.
func told(err error) error {
	if errors.Is(err, errLoggedIn) {
		return fmt.Errorf("%w: %w", platform.ErrUnreachable, err)
	}
	return err
}
