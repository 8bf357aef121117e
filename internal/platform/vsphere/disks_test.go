// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// further are a number of further disks, each of another size.
func further(n int) (all []platform.Disk) {
	for i := range n {
		all = append(all, platform.Disk{Name: fmt.Sprintf("disk-%d", i), Bytes: int64(i+1) << 20})
	}
	return all
}

// placesOf are where a root disk and the disks after it hang, on so many controllers.
func placesOf(controllers int) (all []string) {
	for bus := range controllers {
		for unit := range 16 {
			if unit != 7 {
				all = append(all, fmt.Sprintf("pvscsi %d:%d", bus, unit))
			}
		}
	}
	return all
}

// The disks of a storage node have no serial number on vSphere: it finds them by where they hang. That is the same for every machine,
// and with any number of them.
func TestDisksHangInOrder(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	plain := l.request(t, p)
	for _, c := range []struct{ disks, controllers int }{{14, 1}, {15, 2}, {59, 4}} {
		req := plain
		req.UUID = uuid.NewString()
		req.Disks = further(c.disks)
		m := l.made(t, p, req)
		if want := placesOf(c.controllers)[:c.disks+1]; !slices.Equal(m.Places, want) {
			t.Errorf("%d disks hang on %v, want %v", c.disks, m.Places, want)
		}
		for i, disk := range req.Disks {
			if len(m.Disks) != c.disks+1 || m.Disks[i+1] != disk.Bytes {
				t.Fatalf("the disks are %v", m.Disks)
			}
		}
		goes(t, p, req.Identity)
	}
	req := plain
	req.UUID, req.Disks = uuid.NewString(), further(60)
	l.refuses(t, p, req, platform.ErrUnsupported, "spec.disks has 60 disks: at most 59 are possible on vSphere")
}

// What the template has takes its place, and what it takes is not there for others.
func TestDisksBesideThoseOfTheTemplate(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	req := l.requestFrom(t, p, vcenter.Spec{FurtherControllers: 2})
	req.Disks = further(29)
	m := l.made(t, p, req)
	want := append(placesOf(1), placesOf(4)[45:]...)
	if !slices.Equal(m.Places, want) {
		t.Errorf("the disks hang on %v, want %v", m.Places, want)
	}
	goes(t, p, req.Identity)
	req.UUID, req.Disks = uuid.NewString(), further(30)
	l.refuses(t, p, req, platform.ErrUnsupported, "there is room for 29: remove disks, or controllers and disks of the template")
}
