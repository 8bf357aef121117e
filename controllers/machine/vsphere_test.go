// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/bottlerocket"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/cloudinit"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/fedoracoreos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/flatcar"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kairos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
	"github.com/ingot-project/cluster-api-provider-ingot/test/ova"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// A machine of vSphere goes the same way as one of libvirt, from its template to its end, with nothing in between replaced
// by a fake but vCenter itself.
func TestVSphere(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	v, door := s.vCenter()
	s.begin()

	s.until("the instance waits for its address", func() bool {
		return strings.Contains(s.reason(infrav1.InstanceReadyCondition), infrav1.InstanceWaitingForAddressReason)
	})
	made := s.virtualMachine(v)
	if !made.Running || made.Extra["guestinfo.ignition.config.data"] == "" || made.Extra["ingot.machine"] != s.uuid() {
		s.Errorf("made was %+v", made)
	}
	if want := s.cluster.Name + "_" + s.infra.Name + "-" + s.uuid()[:8]; made.Name != want || made.ReservedCPUMHz != 500 || made.ReservedMemoryMB != 64 {
		s.Errorf("made was %+v, want it to be called %s", made, want)
	}
	if err := v.GiveAddress(s.Context(), s.uuid(), "192.0.2.20"); err != nil {
		s.Fatal(err)
	}
	s.until("Cluster API is told", func() bool { return s.now().Status.Initialization.Provisioned != nil })
	s.join()
	s.until("the machine is ready", func() bool { return s.reason(infrav1.ReadyCondition) == "Ready" })
	if data := s.virtualMachine(v).Extra["guestinfo.ignition.config.data"]; data != "" {
		s.Error("bootstrap secrets are still in vCenter after the Node has joined")
	}
	if reads := s.secretReads.Load(); reads != 1 {
		s.Errorf("the bootstrap data was read %d times", reads)
	}
	rest := func(passes int) map[string]int {
		for range passes {
			if _, err := s.pass(); err != nil {
				s.Fatal(err)
			}
		}
		return door.Calls()
	}
	time.Sleep(time.Second) // what was done to it has been told by then
	before := rest(1)
	after := rest(3)
	delete(before, "WaitForUpdatesEx")
	delete(after, "WaitForUpdatesEx")
	for method, n := range after {
		if n != before[method] {
			s.Errorf("a machine to which nothing happens costs %d calls of %s", n-before[method], method)
		}
	}

	s.goes(v)
}

// Guests read a property with programs that are not ours. Its name and its encoding are written down here once more, as those
// programs have them: a machine whose family names others waits for its configuration for ever.
func TestVSphereGuestsFindTheirData(t *testing.T) {
	t.Parallel()
	const ignition, userdata = "guestinfo.ignition.config.data", "guestinfo.userdata"
	for _, c := range []struct {
		family   osfamily.Family
		format   ingotv1.BootstrapFormat
		property string
		packed   bool
	}{
		{flatcar.New(), ingotv1.BootstrapFormatIgnition, ignition, true},
		{fedoracoreos.New(), ingotv1.BootstrapFormatIgnition, ignition, true},
		{bottlerocket.New(), ingotv1.BootstrapFormatBottlerocket, userdata, true},
		{kairos.New(), ingotv1.BootstrapFormatCloudConfig, userdata, true},
		{cloudinit.New(), ingotv1.BootstrapFormatCloudConfig, userdata, true},
		{talos.New(), ingotv1.BootstrapFormatTalos, "guestinfo.talos.config", false},
	} {
		t.Run(string(c.family.Name()), func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			v, _ := s.vCenter()
			s.families[c.family.Name()] = c.family
			s.image.Spec.OS.Family, s.image.Spec.BootstrapFormats = c.family.Name(), []ingotv1.BootstrapFormat{c.format}
			s.image.Spec.Artefacts = s.image.Spec.Artefacts[1:] // that of the vCenter: not all families have others
			data := []byte(strings.Repeat("what a machine of the family reads\n", 100))
			s.data.Data = map[string][]byte{"value": data, "format": []byte(c.format)}
			s.begin()
			s.until("the machine runs", func() bool {
				return strings.Contains(s.reason(infrav1.InstanceReadyCondition), infrav1.InstanceWaitingForAddressReason)
			})
			extra := s.virtualMachine(v).Extra
			if got := property(t, extra[c.property], c.packed); !bytes.Equal(got, data) {
				t.Errorf("the guest reads %q", got)
			}
			encoding, told := extra[c.property+".encoding"]
			if want := map[bool]string{true: "gzip+base64"}[c.packed]; encoding != want || told != c.packed {
				t.Errorf("the guest is told that the encoding is %q (%t), want %q", encoding, told, want)
			}
			s.goes(v)
		})
	}
}

// property is what a guest makes of the text of a property.
func property(t *testing.T, text string, packed bool) []byte {
	t.Helper()
	decoded := base64.NewDecoder(base64.StdEncoding, strings.NewReader(text))
	if packed {
		unpacked, err := gzip.NewReader(decoded)
		if err != nil {
			t.Fatal(err)
		}
		decoded = unpacked
	}
	content, err := io.ReadAll(decoded)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// A failure domain names what differs, and what was chosen is on record before anything is made: a domain that is changed
// afterwards moves nobody, and takes nobody out of sight.
func TestVSphereFailureDomain(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	v, _ := s.vCenter()
	const pool, datastore = vcenter.Cluster + "/Resources/" + vcenter.Cluster + "_RP1", "LocalDS_1"
	s.endpoint.Spec.VSphere.FailureDomains = []ingotv1.VSphereFailureDomain{{
		Name: "az1", ResourcePool: pool, Datastore: datastore, Networks: []ingotv1.VSphereNetwork{{Name: "nodes", PortGroup: vcenter.Network}},
	}}
	s.infra.Spec.Networks = []infrav1.MachineNetwork{{Name: "nodes"}}
	s.machine.Spec.FailureDomain = "az1"
	s.begin()
	s.until("the instance waits for its address", func() bool {
		return strings.Contains(s.reason(infrav1.InstanceReadyCondition), infrav1.InstanceWaitingForAddressReason)
	})
	if made := s.virtualMachine(v); made.Datastore != datastore || made.Pool != vcenter.Cluster+"_RP1" || len(made.Networks) != 1 {
		s.Errorf("made was %+v", made)
	}
	want := infrav1.MachinePlacement{EndpointName: s.namespace, FailureDomain: "az1", VSphere: infrav1.VSpherePlacement{
		ResourcePool: pool, Datastore: datastore, Networks: []string{vcenter.Network},
	}}
	if got := s.now().Spec.Placement; !reflect.DeepEqual(got, want) {
		s.Errorf("on record is %+v, want %+v", got, want)
	}

	endpoint := &ingotv1.PlatformEndpoint{}
	if err := s.client.Get(s.Context(), client.ObjectKey{Name: s.namespace}, endpoint); err != nil {
		s.Fatal(err)
	}
	endpoint.Spec.VSphere.FailureDomains[0].Datastore = vcenter.Datastore
	if err := s.client.Update(s.Context(), endpoint); err != nil {
		s.Fatal(err)
	}
	s.restart()
	if err := v.GiveAddress(s.Context(), s.uuid(), "192.0.2.20"); err != nil {
		s.Fatal(err)
	}
	s.until("Cluster API is told", func() bool { return s.now().Status.Initialization.Provisioned != nil })
	if got := s.now().Status.FailureDomain; got != "az1" {
		s.Errorf("Cluster API is told of the failure domain %q", got)
	}
	s.goes(v)
}

// An image that Ingot imports goes the same way: nobody has to make a template first.
func TestVSphereImportedImage(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	v, _ := s.vCenter()
	artefact := s.imported()
	if err := v.MakeFolder(s.Context(), "images"); err != nil {
		s.Fatal(err)
	}
	s.endpoint.Spec.VSphere.Images = []ingotv1.VSphereImages{{Datacenter: vcenter.Datacenter, Folder: "images", ResourcePools: []string{vcenter.Cluster}}}
	s.begin()
	s.until("the instance waits for its address", func() bool {
		return strings.Contains(s.reason(infrav1.InstanceReadyCondition), infrav1.InstanceWaitingForAddressReason)
	})
	if replicas := s.replicas(); len(replicas) != 1 || replicas[0].Spec.Folder != "images" {
		s.Errorf("the replicas are %+v, want one that keeps the folder of its copy", replicas)
	}
	for _, m := range s.virtualMachines(v) {
		if strings.HasPrefix(m.Name, "ingot-image-") != (m.Folder == "images") {
			s.Errorf("%s is in %s", m.Name, m.Folder)
		}
	}
	made := s.virtualMachine(v)
	if !made.Running || made.Extra["ingot.image"] != artefact.SHA256 || len(made.Disks) != 1 || made.Disks[0] != ova.Capacity {
		s.Errorf("made was %+v", made)
	}
	if err := v.GiveAddress(s.Context(), s.uuid(), "192.0.2.20"); err != nil {
		s.Fatal(err)
	}
	s.until("Cluster API is told", func() bool { return s.now().Status.Initialization.Provisioned != nil })
	s.goes(v)
}

// A machine tells why its image cannot be had, and what to do. Nothing is made of bytes that nobody declared.
func TestVSphereImportedImageThatIsAnother(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	v, _ := s.vCenter()
	artefact := s.imported()
	artefact.SHA256 = builder.Digest(s.namespace + "-another")
	s.begin()
	s.until("the image is refused", func() bool { return s.reason(infrav1.ImageReplicatedCondition) == infrav1.ImageReplicaFailedReason })
	message := conditions.GetMessage(s.now(), infrav1.ImageReplicatedCondition)
	for _, part := range []string{artefact.Source, artefact.SHA256, "NodeImage " + s.image.Name, "publish"} {
		if !strings.Contains(message, part) {
			t.Errorf("%q does not say %q", message, part)
		}
	}
	// An attempt that is under way, or that vCenter is removing, is no image yet.
	s.until("nothing is left", func() bool {
		for id, m := range s.virtualMachines(v) {
			switch {
			case id == s.uuid(), strings.HasPrefix(m.Name, "ingot-") && (m.Template || m.Running):
				t.Fatalf("made was %+v", m)
			case strings.HasPrefix(m.Name, "ingot-"):
				return false
			}
		}
		return true
	})
}

// A name that vCenter does not have is told with the object that says it, which is not the machine.
func TestVSphereFailureDomainThatIsNowhere(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	v, _ := s.vCenter()
	s.endpoint.Spec.VSphere.FailureDomains = []ingotv1.VSphereFailureDomain{{Name: "az1", ResourcePool: "nowhere"}}
	s.machine.Spec.FailureDomain = "az1"
	s.begin()
	s.until("the machine is refused", func() bool { return s.reason(infrav1.InstanceReadyCondition) == infrav1.InstanceRefusedReason })
	message := conditions.GetMessage(s.now(), infrav1.InstanceReadyCondition)
	for _, part := range []string{"host/nowhere", "failure domain az1 of PlatformEndpoint " + s.namespace, "spec.vsphere.failureDomains"} {
		if !strings.Contains(message, part) {
			t.Errorf("%q does not say %q", message, part)
		}
	}
	if made := s.virtualMachine(v); made.Name != "" {
		s.Errorf("made was %+v", made)
	}
}

// The control plane's machines are kept apart once they have joined, and never asked about it again; what goes leaves nothing.
func TestVSphereAntiAffinity(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	v, door := s.vCenter()
	id := s.besideAnother(v, infrav1.AntiAffinityRequired)
	s.until("the machine is ready", func() bool { return s.reason(infrav1.ReadyCondition) == "Ready" })
	s.expectApart(v, id)
	changes := door.Calls()["ReconfigureComputeResource_Task"]
	for range 3 {
		if _, err := s.pass(); err != nil {
			s.Fatal(err)
		}
	}
	if n := door.Calls()["ReconfigureComputeResource_Task"]; n != changes || changes != 1 {
		s.Errorf("the rule was changed %d times, and %d times after that", changes, n-changes)
	}
	// A manager that dies between the rule and its record, or whose record did not survive a move, changes nothing.
	s.restart()
	patchStatus(s, s.now(), func(m *infrav1.IngotMachine) { conditions.Delete(m, infrav1.KeptApartCondition) })
	s.until("it is on record again", func() bool { return s.reason(infrav1.KeptApartCondition) == infrav1.KeptApartReason })
	if n := door.Calls()["ReconfigureComputeResource_Task"]; n != changes {
		s.Errorf("the rule was changed %d times by a manager that had no record of it", n-changes)
	}
	s.goes(v)
	if rules := s.rules(v); len(rules) != 0 {
		s.Errorf("left are the rules %v", rules)
	}
}

// A machine that prefers to be kept apart is Ready where that cannot be had, and says why; one that requires it is not. Neither
// asks the vCenter again whatever wakes it, but after a while, and then what was missing is there.
func TestVSphereAntiAffinityThatCannotBeHad(t *testing.T) {
	t.Parallel()
	for demand, ready := range map[infrav1.AntiAffinity]string{
		infrav1.AntiAffinityPreferred: "Ready", infrav1.AntiAffinityRequired: infrav1.NotSeparableReason,
	} {
		t.Run(string(demand), func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			v, door := s.vCenter()
			if err := v.SetDRS(s.Context(), false); err != nil {
				s.Fatal(err)
			}
			id := s.besideAnother(v, demand)
			s.until("the machine says that it is not kept apart", func() bool { return s.reason(infrav1.KeptApartCondition) == infrav1.NotSeparableReason })
			if got := s.reason(infrav1.ReadyCondition); got != ready {
				s.Errorf("Ready says %s, want %s", got, ready)
			}
			passes := func(n int) (calls int) {
				before := door.Calls()
				for range n {
					if result, err := s.pass(); err != nil || result.RequeueAfter == 0 {
						s.Errorf("a pass ends with %+v and %v, want one that comes back", result, err)
					}
				}
				after := door.Calls()
				return after["RetrievePropertiesEx"] - before["RetrievePropertiesEx"]
			}
			s.restart()
			if first, further := passes(1), passes(3); first == 0 || further != 0 {
				s.Errorf("the first pass of a manager made %d calls, and 3 further ones %d, want none", first, further)
			}
			if err := v.SetDRS(s.Context(), true); err != nil {
				s.Fatal(err)
			}
			s.clock.SetTime(s.clock.Now().Add(11 * time.Minute))
			s.until("it is kept apart", func() bool { return s.reason(infrav1.KeptApartCondition) == infrav1.KeptApartReason })
			s.expectApart(v, id)
			if got := s.reason(infrav1.ReadyCondition); got != "Ready" {
				s.Errorf("Ready says %s", got)
			}
		})
	}
}

// besideAnother makes the machine one of a control plane that has another one already, and lets it join. It returns the uuid
// of the other.
func (s *story) besideAnother(v *vcenter.VCenter, demand infrav1.AntiAffinity) string {
	s.Helper()
	controlPlane := map[string]string{clusterv1.ClusterNameLabel: builder.ClusterName, clusterv1.MachineControlPlaneLabel: ""}
	s.machine.Labels, s.infra.Labels = controlPlane, controlPlane
	s.infra.Spec.Platform.VSphere.AntiAffinity = demand
	s.begin()
	s.until("the instance waits for its address", func() bool {
		return strings.Contains(s.reason(infrav1.InstanceReadyCondition), infrav1.InstanceWaitingForAddressReason)
	})
	mark := s.virtualMachine(v).Extra
	sibling := builder.IngotMachine(s.machine, s.namespace, s.namespace)
	sibling.Name, sibling.OwnerReferences, sibling.Labels = "demo-2", nil, controlPlane
	sibling.Spec = s.now().Spec
	id := uuid.NewString()
	sibling.Spec.ProviderID = "ingot://" + id
	s.create(sibling)
	if err := v.Make(s.Context(), vcenter.Spec{Name: "sibling", UUID: id, DiskBytes: 1 << 20, Extra: map[string]string{
		"ingot.machine": id, "ingot.managementCluster": mark["ingot.managementCluster"], "ingot.group": mark["ingot.group"],
	}}); err != nil {
		s.Fatal(err)
	}
	if err := v.GiveAddress(s.Context(), s.uuid(), "192.0.2.20"); err != nil {
		s.Fatal(err)
	}
	s.until("Cluster API is told", func() bool { return s.now().Status.Initialization.Provisioned != nil })
	s.join()
	return id
}

// expectApart checks that there is one rule, that of the machine's group, and that it holds the machine and another one.
func (s *story) expectApart(v *vcenter.VCenter, other string) {
	s.Helper()
	both := []string{other, s.uuid()}
	slices.Sort(both)
	if rules := s.rules(v); len(rules) != 1 || !slices.Equal(rules["ingot-"+s.virtualMachine(v).Extra["ingot.group"]], both) {
		s.Errorf("the rules are %v, want one for %v", rules, both)
	}
}

// A rule for as many workers as there are could not be kept on fewer hosts: who asks for one is told before anything is made.
func TestVSphereAntiAffinityIsNotForWorkers(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	v, _ := s.vCenter()
	s.infra.Spec.Platform.VSphere.AntiAffinity = infrav1.AntiAffinityRequired
	s.begin()
	s.until("the machine is refused", func() bool { return s.reason(infrav1.PlacedCondition) == infrav1.NotSeparableReason })
	if made := s.virtualMachine(v); made.Name != "" {
		s.Errorf("made was %+v", made)
	}
}

// goes deletes the machine, and waits until nothing of it is left.
func (s *story) goes(v *vcenter.VCenter) {
	s.Helper()
	id := s.uuid()
	s.delete(s.now())
	s.until("the machine is gone", func() bool {
		s.clock.SetTime(s.clock.Now().Add(time.Second))
		_, exists := s.look()
		return !exists
	})
	if m, there := s.virtualMachines(v)[id]; there {
		s.Errorf("left is %+v", m)
	}
}

func (s *story) rules(v *vcenter.VCenter) map[string][]string {
	s.Helper()
	rules, err := v.Rules(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return rules
}

// vCenter starts a simulated vCenter with a template, and makes the story one of vSphere.
func (s *story) vCenter() (*vcenter.VCenter, *vcenter.Door) {
	s.Helper()
	v, err := vcenter.Start(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { v.Stop(context.WithoutCancel(s.Context())) })
	door := v.Door()
	s.Cleanup(door.Close)
	s.Cleanup(func() { s.sessions.Close() })
	s.opener = registry.Opener(s.Context(), testr.New(s.T))

	template, digest := uuid.NewString(), builder.Digest(s.namespace+"-template")
	err = v.Make(s.Context(), vcenter.Spec{
		Name: "template", UUID: template, Template: true, DiskBytes: 1 << 20, Extra: map[string]string{"ingot.image.sha256": digest},
	})
	if err != nil {
		s.Fatal(err)
	}
	s.image.Spec.Artefacts = append(s.image.Spec.Artefacts, ingotv1.Artefact{
		Platform: ingotv1.ArtefactPlatformVSphere, Format: ingotv1.DiskFormatTemplate, Source: "template://" + template, SHA256: digest, SizeBytes: 1 << 20,
	})
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "vcenter"}, Data: map[string][]byte{
		"username": []byte(vcenter.User), "password": []byte(vcenter.Password), "ca.crt": door.CA(),
	}}
	s.create(secret)
	s.endpoint.Spec = ingotv1.PlatformEndpointSpec{
		VSphere:        ingotv1.VSphereEndpoint{Server: door.Address()},
		CredentialsRef: ingotv1.SecretReference{Namespace: s.namespace, Name: secret.Name},
	}
	s.infra.Spec.Platform = infrav1.MachinePlatform{VSphere: infrav1.VSphereMachine{
		EndpointName: s.namespace, Datacenter: vcenter.Datacenter, Datastore: vcenter.Datastore, ResourcePool: vcenter.Cluster,
		NameTemplate: "{cluster}_{machine}-{id}", Reservations: infrav1.VSphereReservations{CPUMHz: 500, Memory: resource.NewQuantity(64<<20, resource.BinarySI)},
	}}
	s.infra.Spec.Networks = []infrav1.MachineNetwork{{Name: vcenter.Network}}
	return v, door
}

// imported puts an OVA that is published in the place of the template, and returns what the NodeImage says of it.
func (s *story) imported() *ingotv1.Artefact {
	s.Helper()
	file := ova.Package()
	sum := sha256.Sum256(file)
	artefact := &s.image.Spec.Artefacts[len(s.image.Spec.Artefacts)-1]
	*artefact = ingotv1.Artefact{
		Platform: ingotv1.ArtefactPlatformVSphere, Format: ingotv1.DiskFormatOVA, SHA256: hex.EncodeToString(sum[:]), SizeBytes: int64(len(file)),
		Source: ova.Publish(s.T, ova.Whole(file)),
	}
	return artefact
}

// until has the reconcilers work until something has come true.
func (s *story) until(what string, done func() bool) {
	s.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("it does not come to that: %s; the machine is %+v", what, s.now().Status.Conditions)
		}
		if _, exists := s.look(); !exists {
			continue
		}
		if _, err := s.pass(); err != nil {
			s.Log(err)
		}
		s.replicate()
	}
}

// reason is the reason of a condition, if it has one.
func (s *story) reason(condition string) string {
	s.Helper()
	infra, exists := s.look()
	if !exists {
		return ""
	}
	for _, c := range infra.Status.Conditions {
		if c.Type == condition {
			return c.Reason
		}
	}
	return ""
}

func (s *story) virtualMachines(v *vcenter.VCenter) map[string]vcenter.Machine {
	s.Helper()
	all, err := v.Machines(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return all
}

func (s *story) virtualMachine(v *vcenter.VCenter) vcenter.Machine {
	s.Helper()
	return s.virtualMachines(v)[s.uuid()]
}
