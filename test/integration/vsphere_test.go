// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package integration_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	utilyaml "sigs.k8s.io/cluster-api/util/yaml"
	ctrl "sigs.k8s.io/controller-runtime"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// folder is where in the vCenter machines are.
const folder = "kubernetes"

// fleet is how many machines TestMixed makes in the vCenter at once.
var fleet = flag.Int("fleet", 12, "how many workers are made in the simulated vCenter at once")

// datacentre is a world with a simulated vCenter beside the libvirt host. Nothing of vSphere is a fake but the vCenter.
type datacentre struct {
	*world

	vcenter  *vcenter.VCenter
	door     *vcenter.Door
	endpoint string

	// numbers are what the addresses of guests end in, and booted those that have joined.
	numbers map[string]int
	booted  map[string]bool

	mu   sync.Mutex
	last error
}

// newDatacentre makes a world with a vCenter. vmImage is an image for vSphere, and hostImage one for libvirt.
func newDatacentre(t *testing.T, cluster, vmImage, hostImage string) *datacentre {
	t.Helper()
	v, err := vcenter.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Stop(context.WithoutCancel(t.Context())) })
	door := v.Door()
	t.Cleanup(door.Close)
	d := &datacentre{
		world: newWorld(t, cluster, hostImage), vcenter: v, door: door, endpoint: cluster + "-vcenter",
		numbers: map[string]int{}, booted: map[string]bool{},
	}
	d.slack = time.Duration(*fleet) * 5 * time.Second
	d.elsewhere = registry.Opener(t.Context(), ctrl.Log)
	d.describe(vmImage)
	var playing sync.WaitGroup
	playing.Go(func() { d.play(t.Context()) })
	t.Cleanup(playing.Wait)
	return d
}

// describe makes the inventory: the vCenter with its credentials, and the image of a template in it.
func (d *datacentre) describe(vmImage string) {
	d.Helper()
	if err := d.vcenter.MakeFolder(d.Context(), folder); err != nil {
		d.Fatal(err)
	}
	template := uuid.NewString()
	err := d.vcenter.Make(d.Context(), vcenter.Spec{
		Name: "template", UUID: template, Template: true, DiskBytes: 1 << 20, Extra: map[string]string{"ingot.image.sha256": builder.Digest(vmImage)},
	})
	if err != nil {
		d.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: d.endpoint, Namespace: "ingot-infrastructure-system"}, Data: map[string][]byte{
		"username": []byte(vcenter.User), "password": []byte(vcenter.Password), "ca.crt": d.door.CA(),
	}}
	d.create(secret)
	d.create(builder.PlatformEndpoint(d.endpoint, func(endpoint *ingotv1.PlatformEndpoint) {
		endpoint.Spec = ingotv1.PlatformEndpointSpec{
			VSphere:        ingotv1.VSphereEndpoint{Server: d.door.Address()},
			CredentialsRef: ingotv1.SecretReference{Namespace: secret.Namespace, Name: secret.Name},
			Capacity:       ingotv1.EndpointCapacity{Memory: new(resource.MustParse("1Ti"))}, // the simulator has 8Gi
		}
	}))
	d.create(builder.NodeImage(vmImage, func(image *ingotv1.NodeImage) {
		image.Spec.Artefacts = []ingotv1.Artefact{{
			Platform: ingotv1.ArtefactPlatformVSphere, Format: ingotv1.DiskFormatTemplate, Source: "template://" + template,
			SHA256: builder.Digest(vmImage), SizeBytes: 1 << 20,
		}}
	}))
	d.guests.osImages[builder.Digest(vmImage)] = builder.NodeImage(vmImage).Spec.NodeIdentity.OSImage
}

// play boots the guests of virtual machines until the context ends. They read what VMware's tools would hand to them.
func (d *datacentre) play(ctx context.Context) {
	for ; ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		all, err := d.vcenter.Machines(ctx)
		if err != nil {
			continue
		}
		for id, m := range all {
			if !m.Running || m.Extra["ingot.machine"] != id || d.booted[id] {
				continue
			}
			if _, known := d.numbers[id]; !known {
				d.numbers[id] = len(d.numbers)
			}
			err := d.bootVM(ctx, id, m)
			d.booted[id] = err == nil
			d.mu.Lock()
			d.last = err
			d.mu.Unlock()
		}
	}
}

func (d *datacentre) bootVM(ctx context.Context, id string, m vcenter.Machine) error {
	if encoding := m.Extra["guestinfo.ignition.config.data.encoding"]; encoding != "gzip+base64" {
		return fmt.Errorf("the data of %s is encoded as %q", m.Name, encoding)
	}
	packed, err := base64.StdEncoding.DecodeString(m.Extra["guestinfo.ignition.config.data"])
	if err != nil {
		return err
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	data, err := io.ReadAll(unpacked)
	if err != nil {
		return err
	}
	n := d.numbers[id]
	return d.guests.join(ctx, id, data, d.guests.osImages[m.Extra["ingot.image"]], func() error {
		return d.vcenter.GiveAddress(ctx, id, fmt.Sprintf("198.51.%d.%d", 100+n/250, 1+n%250))
	})
}

func (d *datacentre) trouble() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Join(d.last, d.guests.trouble())
}

// TestMixed: one cluster lives on two platforms, as it does while it moves from one to the other, and as it does for good where
// only some nodes need bare hosts. Its control plane is in a vCenter and a worker on a libvirt host; then a whole
// MachineDeployment comes in the vCenter at once. There is never more than one session, never two virtual machines of one
// machine, and everybody's address is found.
func TestMixed(t *testing.T) {
	const vmImage, hostImage = "mixed-vm", "mixed-host"
	d := newDatacentre(t, "mixed", vmImage, hostImage)
	d.startManager()
	d.applyMixed(vmImage, hostImage)
	d.eventually("the cluster is available", func() string { return d.with(d.available()) })
	d.eventually("the control plane is in the vCenter, and the worker on the host", func() string { return d.with(d.machinesAre(0)) })

	begin, before := time.Now(), d.door.Calls()
	d.applyFleet(vmImage, int64(*fleet))
	d.eventually(fmt.Sprintf("%d machines came to the vCenter", *fleet), func() string { return d.with(d.machinesAre(*fleet)) })
	calls, after := 0, d.door.Calls()
	delete(after, "WaitForUpdatesEx")
	for method := range after {
		after[method] -= before[method]
		calls += after[method]
	}
	t.Logf("%d machines took %s and %.1f round trips each: %v", *fleet, time.Since(begin).Round(time.Second), float64(calls)/float64(*fleet), after)

	d.expectOrderlyEnd()
	if clones, made := d.door.Calls()["CloneVM_Task"], *fleet+2; clones != made {
		t.Errorf("%d machines and the image's copy were made by %d clones", made-1, clones)
	}
	if left, err := d.vcenter.Count(t.Context(), "ingot.machine"); err != nil || len(left) > 0 {
		t.Errorf("virtual machines are left: %v (%v)", left, err)
	}
}

// with adds what the guests of the vCenter complain of.
func (d *datacentre) with(wrong string) string {
	if trouble := d.trouble(); wrong != "" && trouble != nil {
		return wrong + "; guests: " + trouble.Error()
	}
	return wrong
}

// vSphere are the variables of the template that say where in the vCenter machines are.
func (d *datacentre) vSphere() map[string]string {
	return map[string]string{
		"INGOT_ENDPOINT": d.endpoint, "INGOT_NETWORK": vcenter.Network, "INGOT_DATACENTER": vcenter.Datacenter, "INGOT_DATASTORE": vcenter.Datastore,
		"INGOT_RESOURCE_POOL": vcenter.Cluster, "INGOT_FOLDER": folder,
	}
}

// applyMixed applies a cluster of the template for libvirt, whose control plane is made from the machine template for vSphere.
func (d *datacentre) applyMixed(vmImage, hostImage string) {
	d.Helper()
	ofControlPlane := func(o unstructured.Unstructured) bool {
		return o.GetKind() == "IngotMachineTemplate" && strings.Contains(o.GetName(), "-control-plane-")
	}
	objects := slices.DeleteFunc(d.generate(vmImage, 1, hostImage), ofControlPlane)
	for _, o := range d.generateFlavor("vsphere", vmImage, 1, vmImage, d.vSphere()) {
		if ofControlPlane(o) {
			objects = append(objects, o)
		}
	}
	if err := apply(d.Context(), d.management, objects); err != nil {
		d.Fatal(err)
	}
}

// applyFleet applies a second MachineDeployment, from the template for vSphere.
func (d *datacentre) applyFleet(image string, n int64) {
	d.Helper()
	all := d.generateFlavor("vsphere", image, n, image, d.vSphere())
	workers := slices.DeleteFunc(all, func(o unstructured.Unstructured) bool { return !strings.Contains(o.GetName(), "-md-0") })
	manifests, err := utilyaml.FromUnstructured(workers)
	if err != nil {
		d.Fatal(err)
	}
	objects, err := utilyaml.ToUnstructured(bytes.ReplaceAll(manifests, []byte("-md-0"), []byte("-md-1")))
	if err != nil {
		d.Fatal(err)
	}
	if err := apply(d.Context(), d.management, objects); err != nil {
		d.Fatal(err)
	}
}

// machinesAre says what is wrong with the machines: there must be one of the control plane and n workers in the vCenter, one
// virtual machine each, and a worker on the libvirt host; all ready, with an address of their own and no bootstrap data left.
func (d *datacentre) machinesAre(n int) string {
	d.Helper()
	if wrong := d.inVCenter(n + 1); wrong != "" {
		return wrong
	}
	controlPlane, workers := d.machines()
	placed, addresses := 0, map[string]bool{}
	for _, m := range append(controlPlane, workers...) {
		if !conditions.IsTrue(&m, infrav1.ReadyCondition) {
			return fmt.Sprintf("%s is not ready: %v", m.Name, conditions.Get(&m, infrav1.ReadyCondition))
		}
		for _, a := range m.Status.Addresses {
			if a.Type == clusterv1.MachineInternalIP {
				addresses[a.Address] = true
			}
		}
		if m.Spec.Placement.EndpointName == d.endpoint {
			placed++
		}
	}
	if len(controlPlane) != 1 || len(workers) != n+1 || placed != n+1 || controlPlane[0].Spec.Placement.EndpointName != d.endpoint {
		return fmt.Sprintf("%d machines of the control plane and %d workers are there, %d of them in the vCenter", len(controlPlane), len(workers), placed)
	}
	if len(addresses) != n+2 {
		return fmt.Sprintf("%d addresses are known of %d machines", len(addresses), n+2)
	}
	if hosted := d.platform.Instances(); len(hosted) != 1 {
		return fmt.Sprintf("%d instances are on the libvirt host", len(hosted))
	}
	return ""
}

// inVCenter says what is wrong in the vCenter, where n machines must be. What must never be there ends the test, however many
// machines have come yet: a second session, and a second virtual machine of one machine.
func (d *datacentre) inVCenter(n int) string {
	d.Helper()
	sessions, err := d.vcenter.Sessions(d.Context())
	if err != nil {
		return err.Error()
	}
	if logins := d.door.Calls()["Login"]; sessions > 1 || logins > 1 {
		d.Fatalf("%d sessions with the vCenter are open, of %d that were begun", sessions, logins)
	}
	count, err := d.vcenter.Count(d.Context(), "ingot.machine")
	if err != nil {
		return err.Error()
	}
	for id, many := range count {
		if many != 1 {
			d.Fatalf("machine %s has %d virtual machines", id, many)
		}
	}
	if len(count) != n {
		return fmt.Sprintf("%d virtual machines are there", len(count))
	}
	all, err := d.vcenter.Machines(d.Context())
	if err != nil {
		return err.Error()
	}
	for id := range count {
		if data := all[id].Extra["guestinfo.ignition.config.data"]; data != "" {
			return fmt.Sprintf("%s still has bootstrap data", all[id].Name)
		}
	}
	return ""
}
