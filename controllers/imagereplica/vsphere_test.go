// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package imagereplica_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr/testr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
	"github.com/ingot-project/cluster-api-provider-ingot/test/ova"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// A replica on vSphere is a template that was imported. Between the file that is published and vCenter's inventory nothing is
// a fake here but vCenter: a manager runs, in real time, with a session of its own.
func TestVSphereImport(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"an OVA becomes one template, which goes when no machine needs it": importsAndCollects,
		"a file with other bytes than declared becomes none":               importsNothingElse,
		"a manager that is killed half-way leaves it to the next":          importsAfterKill,
		"a place that cannot be had is no reason to take another":          importsNowhereElse,
	})
}

// importing has the replica be of an OVA that is published, on a simulated vCenter.
func (s *story) importing(file []byte, serve http.HandlerFunc) *vcenter.VCenter {
	s.Helper()
	v, err := vcenter.Start(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { v.Stop(context.WithoutCancel(s.Context())) })
	sum := sha256.Sum256(file)
	s.replica.Spec.Storage = vcenter.Datacenter + "/" + vcenter.Datastore
	s.replica.Spec.Artefact = ingotv1.Artefact{
		Platform: ingotv1.ArtefactPlatformVSphere, Format: ingotv1.DiskFormatOVA, Source: ova.Publish(s.T, serve),
		SHA256: hex.EncodeToString(sum[:]), SizeBytes: int64(len(file)),
	}
	return v
}

// logIn gives the next manager a session with vCenter through a door of its own.
func (s *story) logIn(v *vcenter.VCenter) *vcenter.Door {
	s.Helper()
	door := v.Door()
	s.Cleanup(door.Close)
	s.endpoint.Spec = ingotv1.PlatformEndpointSpec{
		VSphere:        ingotv1.VSphereEndpoint{Server: door.Address()},
		CredentialsRef: ingotv1.SecretReference{Namespace: s.name, Name: "vcenter"},
	}
	keeps(0)(s.endpoint)
	s.passes.Sessions = session.NewRegistry(registry.Opener(s.Context(), testr.New(s.T)))
	s.Cleanup(s.passes.Sessions.Close)
	s.apply(door)
	return door
}

// apply makes the session as the endpoint says, as the reconciler of endpoints does when that has changed.
func (s *story) apply(door *vcenter.Door) {
	s.Helper()
	credentials := map[string][]byte{"username": []byte(vcenter.User), "password": []byte(vcenter.Password), "ca.crt": door.CA()}
	if _, err := s.passes.Sessions.Apply(s.endpoint, credentials); err != nil {
		s.Fatal(err)
	}
}

// onVSphere has a machine need the replica.
func (s *story) onVSphere(m *infrav1.IngotMachine) {
	m.Spec.Platform = infrav1.MachinePlatform{VSphere: infrav1.VSphereMachine{
		EndpointName: s.name, Datacenter: vcenter.Datacenter, Datastore: vcenter.Datastore, ResourcePool: vcenter.Cluster,
	}}
	m.Spec.PinnedImage.SHA256 = s.replica.Spec.Artefact.SHA256
}

// halfway waits until half of the file was read, and nothing of it can be taken for an image.
func (s *story) halfway(v *vcenter.VCenter) {
	s.Helper()
	s.eventually("half of the file is read", func() bool {
		s.exists()
		percent := s.replica.Status.Percent
		return percent != nil && *percent >= 40
	})
	s.expect(metav1.ConditionFalse, ingotv1.ImageReplicaCopyingReason)
	for _, m := range s.imports(v) {
		if m.Template || strings.HasPrefix(m.Name, "ingot-image-") {
			s.Errorf("half an image looks like a whole one: %+v", m)
		}
	}
}

// imports are what Ingot has made in vCenter for images.
func (s *story) imports(v *vcenter.VCenter) (found []vcenter.Machine) {
	s.Helper()
	all, err := v.Machines(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	for _, m := range all {
		if strings.HasPrefix(m.Name, "ingot-") {
			found = append(found, m)
		}
	}
	return found
}

// ready waits for the replica, and checks that there is one template for it and nothing else.
func (s *story) ready(v *vcenter.VCenter) {
	s.Helper()
	s.eventually("the replica is ready", s.is(ingotv1.ImageReplicaReadyCondition, ingotv1.ImageReplicaReadyReason))
	if s.replica.Status.ExternalID == "" || *s.replica.Status.Percent != 100 {
		s.Errorf("the replica says %+v", s.replica.Status)
	}
	found := s.imports(v)
	if len(found) != 1 || !found[0].Template || found[0].Extra["ingot.image.sha256"] != s.replica.Spec.Artefact.SHA256 ||
		found[0].Datastore != vcenter.Datastore {
		s.Errorf("made was %+v", found)
	}
}

// inventory is everything that vCenter has.
func (s *story) inventory(v *vcenter.VCenter) []string {
	s.Helper()
	lines, err := v.Inventory(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return lines
}

// goes waits for the end of the replica, and checks that vCenter is as it was before.
func (s *story) goes(v *vcenter.VCenter, before []string) {
	s.Helper()
	s.eventually("the replica is gone", func() bool { return !s.exists() })
	if after := s.inventory(v); !slices.Equal(before, after) {
		s.Errorf("vCenter has changed:\n%s\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func importsAndCollects(s *story) {
	file := ova.Package()
	serve, rest := ova.Drip(file)
	v := s.importing(file, serve)
	door := s.logIn(v)
	before := s.inventory(v)
	machine := s.machine(s.onVSphere)
	s.create(s.endpoint)
	s.run(clock.RealClock{})
	s.begin()
	s.halfway(v)
	rest()
	s.ready(v)
	s.expectUnused(metav1.ConditionFalse, ingotv1.ImageReplicaNeededReason)
	if n := door.Calls()[vcenter.Upload]; n != 1 {
		s.Errorf("the disk was sent %d times, want once", n)
	}
	s.delete(machine)
	s.goes(v, before)
	s.expectEvents("ReplicaCollected")
}

// importsNothingElse: who declares a digest must be told which file does not have it, and where to set that right.
func importsNothingElse(s *story) {
	file := ova.Package()
	v := s.importing(file, ova.Whole(file))
	published := s.replica.Spec.Artefact.SHA256
	s.replica.Spec.Artefact.SHA256 = builder.Digest(s.name)
	s.logIn(v)
	before := s.inventory(v)
	s.machine(s.onVSphere)
	s.create(s.endpoint)
	s.run(clock.RealClock{})
	s.begin()
	s.eventually("it is refused", s.is(ingotv1.ImageReplicaReadyCondition, ingotv1.ImageReplicaDigestMismatchReason))
	message := s.expect(metav1.ConditionFalse, ingotv1.ImageReplicaDigestMismatchReason)
	for _, part := range []string{
		s.replica.Spec.Artefact.Source, published, s.replica.Spec.Artefact.SHA256, "NodeImage " + s.replica.Spec.NodeImageName, "publish",
	} {
		if !strings.Contains(message, part) {
			s.Errorf("%q does not say %q", message, part)
		}
	}
	// A further attempt may be under way.
	s.eventually("nothing is left", func() bool { return len(s.imports(v)) == 0 })
	s.delete(s.replica)
	s.goes(v, before)
}

func importsAfterKill(s *story) {
	file := ova.Package()
	drip, rest := ova.Drip(file)
	defer rest()
	var asked atomic.Int32
	v := s.importing(file, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			drip(w, r)
		} else {
			ova.Whole(file)(w, r)
		}
	})
	door := s.logIn(v)
	before := s.inventory(v)
	s.machine(s.onVSphere)
	s.create(s.endpoint)
	stop := s.run(clock.RealClock{})
	s.begin()
	s.halfway(v)
	door.Shut() // nothing that it still says arrives
	stop()
	if n := len(s.imports(v)); n != 1 {
		s.Errorf("%d half imports are left, want the one that was under way", n)
	}
	s.restart()
	s.logIn(v)
	s.run(clock.RealClock{})
	s.ready(v)
	s.delete(s.replica)
	s.goes(v, before)
}

// importsNowhereElse: where an account may put images is said at the endpoint, and in the replica that was made by it. A pool that is
// mistyped is repaired at the endpoint, and the replica goes on.
func importsNowhereElse(s *story) {
	file := ova.Package()
	v := s.importing(file, ova.Whole(file))
	if err := v.MakeFolder(s.Context(), "images"); err != nil {
		s.Fatal(err)
	}
	door := s.logIn(v)
	s.replica.Spec.Folder = "images"
	s.endpoint.Spec.VSphere.Images = []ingotv1.VSphereImages{{Datacenter: vcenter.Datacenter, Folder: "later", ResourcePools: []string{"nowhere"}}}
	before := s.inventory(v)
	s.machine(s.onVSphere)
	s.create(s.endpoint)
	s.run(clock.RealClock{})
	s.begin()
	s.eventually("it is refused", s.is(ingotv1.ImageReplicaReadyCondition, ingotv1.ImageReplicaRefusedReason))
	message := s.expect(metav1.ConditionFalse, ingotv1.ImageReplicaRefusedReason)
	if !strings.Contains(message, "spec.vsphere.images[].resourcePools of the PlatformEndpoint: there is no /DC0/host/nowhere") {
		s.Errorf("it says %q", message)
	}
	if made := s.imports(v); len(made) > 0 {
		s.Errorf("made was %+v", made)
	}
	s.endpoint.Spec.VSphere.Images[0].ResourcePools = []string{vcenter.Cluster}
	if err := apiServer.Update(s.Context(), s.endpoint); err != nil {
		s.Fatal(err)
	}
	s.apply(door)
	s.ready(v)
	if folder := s.imports(v)[0].Folder; folder != "images" {
		s.Errorf("it is in the folder %s", folder)
	}
	s.delete(s.replica)
	s.goes(v, before)
}
