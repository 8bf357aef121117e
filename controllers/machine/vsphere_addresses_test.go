// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/cloudinit"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// vCenter cannot give a guest an address: the guest is told, by a property that programs read which are not ours. So the
// text is written down here once more, and the address must be nobody else's while a virtual machine may answer to it.
func TestVSphereAddressFromPool(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	v, door := s.vCenter()
	ipam := s.withPools(map[string]*pool{"nodes": {addresses: []string{"192.0.2.11"}, prefix: 24, gateway: "192.0.2.1"}}, []string{"nodes"})
	s.infra.Spec.Networks[0].Name = vcenter.Network
	s.families[ingotv1.OSFamilyCloudInit] = cloudinit.New()
	s.image.Spec.OS.Family, s.image.Spec.BootstrapFormats = ingotv1.OSFamilyCloudInit, []ingotv1.BootstrapFormat{ingotv1.BootstrapFormatCloudConfig}
	s.data.Data = map[string][]byte{"value": []byte("#cloud-config\n"), "format": []byte(ingotv1.BootstrapFormatCloudConfig)}
	s.begin()

	s.until("the address is claimed", func() bool { return len(s.claims()) == 1 })
	for range 3 {
		if _, err := s.pass(); err != nil {
			s.Fatal(err)
		}
	}
	s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionFalse, infrav1.WaitingForAddressesReason)
	if m, there := s.virtualMachines(v)[s.uuid()]; there {
		s.Fatalf("made without its address was %+v", m)
	}
	ipam.work()
	s.until("Cluster API is told", func() bool { return s.now().Status.Initialization.Provisioned != nil })
	made := s.virtualMachine(v)
	want := fmt.Sprintf(`instance-id: %s
local-hostname: %s
network:
  ethernets:
    eth0:
      addresses:
      - 192.0.2.11/24
      dhcp4: false
      match:
        macaddress: %s
      routes:
      - to: 0.0.0.0/0
        via: 192.0.2.1
  version: 2
`, s.uuid(), machineName, made.MACs[0])
	if got := string(property(t, made.Extra["guestinfo.metadata"], false)); got != want || made.Extra["guestinfo.metadata.encoding"] != "base64" {
		s.Errorf("the guest is told, as %q:\n%swant:\n%s", made.Extra["guestinfo.metadata.encoding"], got, want)
	}
	s.expectTold("192.0.2.11")
	s.expectHeld("192.0.2.11")
	// What the guest was told of its network stays when the secret is blanked: it may be read at every boot. A manager that comes
	// then knows the address.
	s.join()
	s.until("the machine is ready", func() bool { return s.reason(infrav1.ReadyCondition) == "Ready" })
	s.restart()
	s.until("the secret is blank", func() bool { return s.virtualMachine(v).Extra["guestinfo.userdata"] == "" })
	if got := string(property(t, s.virtualMachine(v).Extra["guestinfo.metadata"], false)); got != want {
		s.Errorf("after the scrub the guest is told:\n%swant:\n%s", got, want)
	}
	s.expectTold("192.0.2.11")

	s.givesBack(v, door, ipam)
}

// givesBack deletes the machine while vCenter does not destroy anything, and then while it does. Its one address is held until
// the virtual machine is gone.
func (s *story) givesBack(v *vcenter.VCenter, door *vcenter.Door, ipam *ipam) {
	s.Helper()
	id := s.uuid()
	door.Judge(func(method string) vcenter.Verdict {
		if method == "Destroy_Task" {
			return vcenter.Drop
		}
		return vcenter.Pass
	})
	s.delete(s.now())
	s.until("its removal was tried in vain", func() bool {
		ipam.work()
		return door.Calls()["Destroy_Task"] > 1
	})
	if m, there := s.virtualMachines(v)[id]; !there || m.Running {
		s.Errorf("there (%t) is %+v, want one that is off", there, m)
	}
	s.expectHeld("192.0.2.11")
	door.Judge(nil)
	s.until("the machine is gone", func() bool {
		claims := s.claims()
		if m, there := s.virtualMachines(v)[id]; there && (len(claims) != 1 || !claims[0].DeletionTimestamp.IsZero()) {
			s.Fatalf("the claims are %v while there is still %+v", claims, m)
		}
		ipam.work()
		s.clock.SetTime(s.clock.Now().Add(time.Second))
		_, exists := s.look()
		return !exists
	})
	if m, there := s.virtualMachines(v)[id]; there {
		s.Errorf("left is %+v", m)
	}
	s.expectAddressesFree()
}
