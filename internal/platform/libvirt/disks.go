// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// rootSerial is the serial number of the root disk. No other disk may have it.
	rootSerial = "root"
	// maxSerial is how much of a serial number virtio shows to the guest.
	maxSerial = 20
	// maxDisks is how many disks have a name of one letter beside the root disk: vdb to vdz.
	maxDisks = 25
	// sizeUnit is what libvirt counts the size of a qcow2 disk in.
	sizeUnit = 1 << 10
)

var diskPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// checkDisks refuses disks that cannot be made on any host.
func checkDisks(disks []platform.Disk) error {
	if len(disks) > maxDisks {
		return fmt.Errorf("%w: spec.disks has %d disks: at most %d are possible", platform.ErrInvalid, len(disks), maxDisks)
	}
	names := map[string]bool{rootSerial: true}
	for i, disk := range disks {
		switch {
		case len(disk.Name) > maxSerial || !diskPattern.MatchString(disk.Name):
			return fmt.Errorf("%w: spec.disks[%d].name %q is no serial number of a disk: use at most %d of a-z, 0-9 and -, beginning and ending without -",
				platform.ErrInvalid, i, disk.Name, maxSerial)
		case names[disk.Name]:
			return fmt.Errorf("%w: spec.disks[%d].name %s is taken by another disk of the machine", platform.ErrInvalid, i, disk.Name)
		case disk.Bytes < 1:
			return fmt.Errorf("%w: spec.disks[%d].size is %d bytes", platform.ErrInvalid, i, disk.Bytes)
		}
		names[disk.Name] = true
	}
	return nil
}

// makeDisks makes the further disks. They grow as they are written.
func makeDisks(ctx context.Context, c *client, req platform.Request, p pool) error {
	for _, disk := range req.Disks {
		err := replaceUnlessSame(ctx, c, p.name, &libvirtxml.StorageVolume{
			Name:     namesOf(req.Identity).disk(disk.Name),
			Capacity: &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: (uint64(disk.Bytes) + sizeUnit - 1) / sizeUnit * sizeUnit},
			Target:   target("qcow2", "0600"),
		})
		if err != nil {
			return fmt.Errorf("disk %s: %w", disk.Name, err)
		}
	}
	return nil
}

// checkRoom refuses to begin in a pool that is full. All disks grow as they are written, so what must fit is what they begin
// with; whether there is room for what guests will write is the pool's owner's to watch.
func checkRoom(ctx context.Context, c *client, req platform.Request) error {
	p, err := measuredPool(ctx, c, req.Storage)
	if err != nil {
		return err
	}
	if need := firstBytes(req); p.available < need {
		return fmt.Errorf("%w: storage pool %s has %s left, and the disks of the machine begin with %s: "+
			"make room in the pool, or name another one in spec.platform.libvirt.storagePool", platform.ErrCapacity, p.name, mib(p.available), mib(need))
	}
	return nil
}

// measuredPool returns a pool with the room that is left now. The numbers that libvirt keeps leave out what others, guests
// above all, have written and removed since it last read the directory, so it is asked to read it.
func measuredPool(ctx context.Context, c *client, name string) (pool, error) {
	if err := c.refreshPool(ctx, name); errors.Is(err, platform.ErrUnreachable) {
		return pool{}, err // any other refusal, for example while a volume is being made, leaves the numbers as they were
	}
	return c.pool(ctx, name)
}

func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

// firstBytes is how much room an instance must find in its pool before it runs.
func firstBytes(req platform.Request) int64 {
	need := smallestRoom + emptyBytes(req.RootDiskBytes) + int64(len(req.Bootstrap.Data))
	for _, disk := range req.Disks {
		need += emptyBytes(disk.Bytes)
	}
	return need
}

// emptyBytes bounds the size of an empty qcow2 disk: its header and first tables, and eight bytes for each 512 MiB.
func emptyBytes(size int64) int64 { return 1<<20 + size>>26 }
