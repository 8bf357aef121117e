// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"bytes"
	"context"
	"fmt"
	"path"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery/iso9660"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// The bootstrap data lies in a volume of its own, the carrier: as it is, for a firmware configuration file, or as a CD-ROM
// with a file system. Only the SMBIOS channel has no carrier. Its data is in the definition, and libvirt hands it to QEMU on
// the command line: it stays in QEMU's log on the host for ever, for whoever may read that, and no call removes it. That is
// why it is never chosen over another channel that the OS family puts before it.

const (
	// slowFWCfg is from where on a firmware configuration file is worth a word. Guests read it byte by byte, and Ignition in
	// a time that grows with the square of its size.
	slowFWCfg = 100 << 10

	// The tables of SMBIOS hold 64 KiB together. QEMU describes each CPU in 65 bytes, each 16 GiB of memory in 53, and the
	// rest in some 320; what is kept free for them is more than that, since versions differ.
	smbiosTables    = 1<<16 - 1
	smbiosRest      = 4 << 10
	smbiosPerCPU    = 128
	smbiosPerMemory = 128
)

// channelOf returns the first channel that this platform implements.
func channelOf(b platform.Bootstrap) (delivery.Channel, bool) {
	for _, c := range b.Channels {
		switch c.Kind {
		case delivery.FWCfg, delivery.NoCloud, delivery.ConfigDrive, delivery.SMBIOS:
			return c, true
		default: // another platform's
		}
	}
	return delivery.Channel{}, false
}

// checkBootstrap refuses data that cannot be delivered on any host.
func checkBootstrap(req platform.Request) error {
	if len(req.Bootstrap.Data) == 0 {
		return nil
	}
	channel, ok := channelOf(req.Bootstrap)
	if !ok {
		return fmt.Errorf("%w: the OS family reads bootstrap data from %v; libvirt machines deliver it by %s, %s, %s or %s",
			platform.ErrUnsupported, req.Bootstrap.Channels, delivery.FWCfg, delivery.NoCloud, delivery.ConfigDrive, delivery.SMBIOS)
	}
	if keyed := channel.Kind == delivery.FWCfg || channel.Kind == delivery.SMBIOS; keyed && channel.Key == "" {
		return fmt.Errorf("%w: the channel %s has no key, by which the guest finds the data", platform.ErrInvalid, channel.Kind)
	}
	if channel.Kind != delivery.SMBIOS {
		return nil
	}
	room := smbiosTables - smbiosRest - smbiosPerCPU*int64(req.CPUs) - smbiosPerMemory*(req.MemoryBytes>>34)
	if size := int64(len(delivery.OEMString(channel.Key, req.Bootstrap.Data))); size > room {
		return fmt.Errorf("%w: %d bytes of bootstrap data, which take %d in SMBIOS, where a machine of this size has room for %d: "+
			"use an image whose OS reads it from a CD-ROM or a firmware configuration file, or less data",
			platform.ErrUnsupported, len(req.Bootstrap.Data), size, max(room, 0))
	}
	return nil
}

// hasCarrier tells whether there is a volume with bootstrap data.
func hasCarrier(b platform.Bootstrap) bool {
	channel, ok := channelOf(b)
	return ok && len(b.Data) > 0 && channel.Kind != delivery.SMBIOS
}

// deliver writes into a definition where the guest finds the bootstrap data.
func (h hardware) deliver(d *libvirtxml.Domain) {
	channel, ok := channelOf(h.req.Bootstrap)
	if !ok || len(h.req.Bootstrap.Data) == 0 {
		return
	}
	carrier := h.path(namesOf(h.req.Identity).bootstrap)
	switch channel.Kind {
	case delivery.FWCfg:
		d.SysInfo = append(d.SysInfo, libvirtxml.DomainSysInfo{FWCfg: &libvirtxml.DomainSysInfoFWCfg{
			Entry: []libvirtxml.DomainSysInfoEntry{{Name: channel.Key, File: carrier}},
		}})
	case delivery.SMBIOS:
		d.SysInfo = append(d.SysInfo, libvirtxml.DomainSysInfo{SMBIOS: &libvirtxml.DomainSysInfoSMBIOS{
			OEMStrings: &libvirtxml.DomainSysInfoOEMStrings{Entry: []string{delivery.OEMString(channel.Key, h.req.Bootstrap.Data)}},
		}})
		d.OS.SMBios = &libvirtxml.DomainSMBios{Mode: "sysinfo"}
	default:
		d.Devices.Disks = append(d.Devices.Disks, drive(carrier))
		d.Devices.Controllers = append(d.Devices.Controllers, libvirtxml.DomainController{Type: "scsi", Model: "virtio-scsi"})
	}
}

// drive is a CD-ROM drive with the carrier in it, or an empty one. It hangs on virtio, since the kernels of cloud images
// have no driver for SATA.
func drive(carrier string) libvirtxml.DomainDisk {
	d := libvirtxml.DomainDisk{
		Device:   "cdrom",
		Driver:   &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "raw"},
		Target:   &libvirtxml.DomainDiskTarget{Dev: "sda", Bus: "scsi"},
		ReadOnly: &libvirtxml.DomainDiskReadOnly{},
	}
	if carrier != "" {
		d.Source = &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: carrier}}
	}
	return d
}

// carrierContent returns what is written into the carrier.
func carrierContent(req platform.Request, plan addressPlan) ([]byte, error) {
	channel, _ := channelOf(req.Bootstrap)
	instance := delivery.Instance{UUID: req.UUID, Name: req.Name, Data: req.Bootstrap.Data, Interfaces: plan.carried}
	var files delivery.FileSystem
	var err error
	switch channel.Kind {
	case delivery.NoCloud:
		files, err = delivery.NoCloudFiles(instance)
	case delivery.ConfigDrive:
		files, err = delivery.ConfigDriveFiles(instance)
	default:
		return req.Bootstrap.Data, nil
	}
	if err != nil {
		return nil, err
	}
	return iso9660.Encode(files)
}

// makeCarrier writes the bootstrap data into a volume, from scratch: a volume that is there may be half written.
func (s *Session) makeCarrier(ctx context.Context, c *client, req platform.Request, p pool, plan addressPlan) error {
	name := namesOf(req.Identity).bootstrap
	if err := c.deleteVolume(ctx, p.name, name); err != nil {
		return err
	}
	if !hasCarrier(req.Bootstrap) {
		return nil
	}
	content, err := carrierContent(req, plan)
	if err != nil {
		return fmt.Errorf("carrier of the bootstrap data: %w", err)
	}
	if channel, _ := channelOf(req.Bootstrap); channel.Kind == delivery.FWCfg && len(content) > slowFWCfg {
		s.config.Log.Info("Much bootstrap data for a firmware configuration file: guests read it slowly; keep files in the image, or let it refer to a server",
			"machine", req.UUID, "bytes", len(content))
	}
	carrier := &libvirtxml.StorageVolume{
		Name:     name,
		Capacity: &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: uint64(len(content))},
		Target:   target("raw", "0600"),
	}
	if err := c.createVolume(ctx, p.name, carrier); err != nil {
		return blameCapacity(ctx, c, p.name, err)
	}
	return blameCapacity(ctx, c, p.name, s.upload(ctx, p.name, name, bytes.NewReader(content)))
}

// refersToBootstrap returns whether the definition still names the carrier, or holds the data itself.
func (v view) refersToBootstrap() bool {
	if v.definition == nil {
		return false
	}
	for _, info := range v.definition.SysInfo {
		if info.FWCfg != nil || info.SMBIOS != nil && info.SMBIOS.OEMStrings != nil {
			return true
		}
	}
	return len(drives(v.definition, namesOf(v.id).bootstrap)) > 0
}

// drives returns the CD-ROM drives of a definition that hold the carrier.
func drives(d *libvirtxml.Domain, carrier string) []*libvirtxml.DomainDisk {
	var found []*libvirtxml.DomainDisk
	if d.Devices == nil {
		return nil
	}
	for i := range d.Devices.Disks {
		disk := &d.Devices.Disks[i]
		if disk.Device == "cdrom" && disk.Source != nil && disk.Source.File != nil && path.Base(disk.Source.File.File) == carrier {
			found = append(found, disk)
		}
	}
	return found
}

// ScrubBootstrap implements platform.BootstrapScrubber: the CD-ROM is ejected, the definition forgets the data, and the
// carrier goes last, so that what was interrupted is seen to be unfinished.
//
// Until the guest is powered off, the process of QEMU still has what it has read at its start: the content of a firmware
// configuration file in its memory, and an SMBIOS string also on its command line and in libvirt's state. Root of the
// guest can read both there. An SMBIOS string is in QEMU's log on the host for ever.
func (s *Session) ScrubBootstrap(ctx context.Context, id platform.Identity) error {
	return s.withOwn(ctx, id, func(c *client, v view) error {
		carrier := namesOf(id).bootstrap
		if v.domain != nil && v.domain.power != powerOff {
			if err := eject(ctx, c, id.UUID, carrier); err != nil {
				return err
			}
		}
		if v.refersToBootstrap() {
			if err := forgetBootstrap(ctx, c, v.definition, carrier); err != nil {
				return err
			}
		}
		if v.volumes[carrier] {
			return c.deleteVolume(ctx, id.Storage, carrier)
		}
		return nil
	})
}

// eject takes the carrier out of the drive of a running guest, which may have locked it. A guest that ends at this moment
// has let go of it.
func eject(ctx context.Context, c *client, id, carrier string) error {
	text, err := c.liveDefinition(ctx, id)
	if err != nil {
		return ignoreNotFound(err)
	}
	var live libvirtxml.Domain
	if err := live.Unmarshal(text); err != nil {
		return fmt.Errorf("definition of domain %s: %w", id, err)
	}
	for _, disk := range drives(&live, carrier) {
		empty := drive("")
		empty.Target = disk.Target
		doc, err := empty.Marshal()
		if err != nil {
			return fmt.Errorf("CD-ROM drive of domain %s: %w", id, err)
		}
		if err := ignoreState(c.changeMedium(ctx, id, doc)); err != nil {
			return err
		}
	}
	return nil
}

// forgetBootstrap takes the bootstrap data, and what names it, out of a definition. The drive stays, empty.
func forgetBootstrap(ctx context.Context, c *client, d *libvirtxml.Domain, carrier string) error {
	var kept []libvirtxml.DomainSysInfo
	for _, info := range d.SysInfo {
		if info.FWCfg == nil && (info.SMBIOS == nil || info.SMBIOS.OEMStrings == nil) {
			kept = append(kept, info)
		}
	}
	d.SysInfo = kept
	if len(kept) == 0 && d.OS != nil {
		d.OS.SMBios = nil
	}
	for _, disk := range drives(d, carrier) {
		disk.Source = nil
	}
	text, err := d.Marshal()
	if err != nil {
		return fmt.Errorf("definition of domain %s: %w", d.Name, err)
	}
	return c.define(ctx, text)
}
