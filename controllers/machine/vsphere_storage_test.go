// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vmware/govmomi/vim25/mo"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// byPolicy makes the machine one that names a storage policy in place of a datastore, in a vCenter whose second datastore has
// more room.
func (s *story) byPolicy() (*vcenter.VCenter, *vcenter.Door) {
	s.Helper()
	v, door := s.vCenter()
	if _, err := v.Policy(s.Context(), "gold"); err != nil {
		s.Fatal(err)
	}
	s.infra.Spec.Platform.VSphere.Datastore, s.infra.Spec.Platform.VSphere.StoragePolicy = "", "gold"
	s.room(v, 1<<40, 2<<40)
	return v, door
}

// refusedByPolicy begins with a machine whose policy no datastore can keep, and waits until it says so.
func (s *story) refusedByPolicy() (*vcenter.VCenter, *vcenter.Door) {
	s.Helper()
	v, door := s.byPolicy()
	door.Unfit()
	s.begin()
	s.until("the machine is refused", func() bool { return s.reason(infrav1.PlacedCondition) == infrav1.NoStorageReason })
	return v, door
}

// room is how much of it the two datastores have.
func (s *story) room(v *vcenter.VCenter, bytes ...int64) {
	s.Helper()
	for i, free := range bytes {
		if err := v.EditDatastore(fmt.Sprintf("LocalDS_%d", i), func(store *mo.Datastore) { store.Summary.FreeSpace = free }); err != nil {
			s.Fatal(err)
		}
	}
}

// The datastore is a part of what a machine is found by. So it is chosen once: whatever room there is when the manager comes
// back that died right before or after the choice was on record, the machine is where its record says, and nowhere twice.
func TestVSphereDatastoreIsChosenOnce(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("the manager dies after the record: %t", lost), func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			v, _ := s.byPolicy()
			s.begin()
			s.writes.KillAt, s.writes.Lost = 1, lost
			s.until("the manager dies", s.writes.Killed)
			s.room(v, 2<<40, 1<<40)
			s.restart()
			s.until("the instance waits for its address", func() bool {
				return strings.Contains(s.reason(infrav1.InstanceReadyCondition), infrav1.InstanceWaitingForAddressReason)
			})
			want := map[bool]string{true: "LocalDS_1", false: "LocalDS_0"}[lost]
			placed := s.now().Spec.Placement.VSphere
			if placed.Datastore != want || placed.StoragePolicy != "gold" || placed.ResourcePool != vcenter.Cluster || len(placed.Networks) != 1 {
				s.Errorf("on record is %+v, want %s", placed, want)
			}
			if made := s.virtualMachine(v); made.Datastore != want {
				s.Errorf("made was %+v", made)
			}
			if replicas := s.replicas(); len(replicas) != 1 || replicas[0].Spec.Storage != vcenter.Datacenter+"/"+want {
				s.Errorf("the image was copied to %+v", replicas)
			}
			s.goes(v)
		})
	}
}

// A failure domain names its own policy, and the machine lies where that one allows.
func TestVSphereStoragePolicyOfFailureDomain(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	v, _ := s.byPolicy()
	id, err := v.Policy(s.Context(), "silver")
	if err != nil {
		s.Fatal(err)
	}
	s.endpoint.Spec.VSphere.FailureDomains = []ingotv1.VSphereFailureDomain{{Name: "az1", StoragePolicy: "silver"}}
	s.machine.Spec.FailureDomain = "az1"
	s.begin()
	s.until("the instance waits for its address", func() bool {
		return strings.Contains(s.reason(infrav1.InstanceReadyCondition), infrav1.InstanceWaitingForAddressReason)
	})
	if placed := s.now().Spec.Placement; placed.FailureDomain != "az1" || placed.VSphere.StoragePolicy != "silver" || placed.VSphere.Datastore != "LocalDS_1" {
		s.Errorf("on record is %+v", placed)
	}
	if order := v.Orders()[s.uuid()]; fmt.Sprintf("%+v", order.Location.Profile) == "[]" || !strings.Contains(fmt.Sprintf("%#v", order.Location.Profile[0]), id) {
		s.Errorf("cloned under %+v, want %s", order.Location.Profile, id)
	}
	s.goes(v)
}

// Where no datastore will do, the machine says which policy and what each datastore lacks; it
// goes without asking vCenter when it is deleted before.
func TestVSphereNoDatastoreForPolicy(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	v, door := s.refusedByPolicy()
	message := conditions.GetMessage(s.now(), infrav1.PlacedCondition)
	for _, part := range []string{"spec.platform.vsphere.storagePolicy", "gold", "LocalDS_0", "LocalDS_1"} {
		if !strings.Contains(message, part) {
			s.Errorf("%q does not say %q", message, part)
		}
	}
	if got := s.now().Spec.Placement; got.EndpointName != "" || s.now().Spec.PinnedImage.Name == "" {
		s.Errorf("on record is the placement %+v", got)
	}
	asked := door.Calls()["FindAllByUuid"]
	s.goes(v)
	if n := door.Calls()["FindAllByUuid"]; n != asked {
		s.Error("vCenter is asked about a machine that was never put anywhere")
	}
}

// A policy that fits again is found without anybody touching the machine.
func TestVSphereDatastoreForPolicyComes(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	v, door := s.refusedByPolicy()
	door.Fit()
	s.until("the machine is placed", func() bool { return s.reason(infrav1.PlacedCondition) == infrav1.PlacedReason })
	s.goes(v)
}
