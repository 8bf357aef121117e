// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
	"fmt"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// maxDisks is how many disks have a name of one letter beside the root disk: vdb to vdz.
	maxDisks = 25
	// sizeUnit is what libvirt counts the size of a qcow2 disk in.
	sizeUnit = 1 << 10
)

// checkDisks refuses more disks than a domain can have.
func checkDisks(disks []platform.Disk) error {
	if len(disks) > maxDisks {
		return fmt.Errorf("%w: spec.disks has %d disks: at most %d are possible", platform.ErrInvalid, len(disks), maxDisks)
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
