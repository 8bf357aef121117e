// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

func TestPrivileges(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"what is missing is named before there is a machine": missingIsNamed,
		"what only a field needs holds nothing back":         missingInPart,
		"what could not be asked is not known":               notAsked,
		"without a place nothing is asked":                   noPlace,
		"it is asked when something is new, and rarely":      askedRarely,
		"a platform without privileges says nothing of them": noPrivileges,
	})
}

// account is what the account of a vCenter lacks, and how often that was asked.
type account struct {
	told  platform.Privileges
	err   error
	asked int
	used  platform.Uses
}

// guarded is a session with a platform whose accounts have privileges.
type guarded struct{ opened }

// Privileges implements platform.PrivilegeReporter.
func (g guarded) Privileges(_ context.Context, used platform.Uses) (platform.Privileges, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.account.asked++
	g.account.used = used
	return g.account.told, g.account.err
}

// vCenter makes the endpoint of a story that of a vCenter with an account.
func (s *story) vCenter() *account {
	s.Helper()
	s.host.account = &account{told: platform.Privileges{Account: "DOMAIN\\ingot"}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace(), Name: "vcenter"}, Data: map[string][]byte{
		"username": []byte("ingot"), "password": []byte("secret"),
	}}
	s.create(secret)
	s.begin(func(e *ingotv1.PlatformEndpoint) {
		e.Spec = ingotv1.PlatformEndpointSpec{
			VSphere: ingotv1.VSphereEndpoint{Server: "vcenter.example.org"}, CredentialsRef: ingotv1.SecretReference{Namespace: secret.Namespace, Name: secret.Name},
		}
	})
	return s.host.account
}

// template makes a template whose machines are put into a folder of the endpoint.
func (s *story) template(folder string) {
	s.Helper()
	s.create(builder.IngotMachineTemplate(folder, s.name, s.name, func(t *infrav1.IngotMachineTemplate) {
		t.Namespace = s.namespace()
		t.Spec.Template.Spec.Platform = infrav1.MachinePlatform{VSphere: infrav1.VSphereMachine{
			EndpointName: s.name, Datacenter: "DC0", Datastore: "vsan", Folder: folder, ResourcePool: "cluster",
		}}
	}))
}

func (s *story) expectPrivileges(status metav1.ConditionStatus, reason, says string) {
	s.Helper()
	s.expectCondition(ingotv1.PlatformEndpointPrivilegesCondition, status, reason, says)
}

// missingIsNamed: a privilege that is missed in the midst of a removal leaves a machine that nobody can remove.
func missingIsNamed(s *story) {
	a := s.vCenter()
	s.template("machines")
	a.told.Missing = []platform.MissingPrivilege{
		{Privilege: "VirtualMachine.Inventory.Delete", On: "folder DC0/vm/machines"},
		{Privilege: "VirtualMachine.Interact.PowerOff", On: "folder DC0/vm/machines"},
		{Privilege: "Network.Assign", On: "network DC0/network/nodes"},
	}
	manager := s.manager()
	s.pass(manager)
	s.expectPrivileges(metav1.ConditionFalse, ingotv1.PlatformEndpointPrivilegesMissingReason,
		"the account DOMAIN\\ingot lacks VirtualMachine.Inventory.Delete, VirtualMachine.Interact.PowerOff on folder DC0/vm/machines; Network.Assign on network DC0/network/nodes: add them to its role there")
	s.expect(metav1.ConditionTrue, ingotv1.PlatformEndpointReadyReason, "")
	s.expectEvents(ingotv1.PlatformEndpointPrivilegesMissingReason)
	want := platform.Place{Storage: "DC0/vsan", Folder: "machines", ResourcePool: "cluster"}
	if got := a.used.Places; len(got) != 1 || got[0].Folder != want.Folder || got[0].Storage != want.Storage || got[0].ResourcePool != want.ResourcePool {
		s.Errorf("asked was about %+v, want %+v", got, want)
	}
	before := s.endpoint.ResourceVersion
	s.pass(manager)
	if s.expectEvents(); s.endpoint.ResourceVersion != before || a.asked != 1 {
		s.Errorf("a pass in which nothing is new writes, or asks: %d times", a.asked)
	}
	a.told.Missing = nil
	s.after(6*time.Minute, manager)
	s.expectPrivileges(metav1.ConditionTrue, ingotv1.PlatformEndpointPrivilegesReason, "")
}

// missingInPart: an account without the right to encrypt makes every machine that has no TPM.
func missingInPart(s *story) {
	a := s.vCenter()
	s.template("machines")
	a.told.Missing = []platform.MissingPrivilege{{Privilege: "Cryptographer.EncryptNew", On: "folder DC0/vm", For: "spec.trustedBoot.virtualTPM", Optional: true}}
	s.pass(s.manager())
	s.expectPrivileges(metav1.ConditionTrue, ingotv1.PlatformEndpointPrivilegesPartReason, "Cryptographer.EncryptNew on folder DC0/vm for spec.trustedBoot.virtualTPM")
	s.expectEvents()
}

// notAsked: who cannot tell must not say that all is well, nor what was said before.
func notAsked(s *story) {
	a := s.vCenter()
	s.template("machines")
	manager := s.manager()
	s.pass(manager)
	s.expectPrivileges(metav1.ConditionTrue, ingotv1.PlatformEndpointPrivilegesReason, "")
	a.told.Unasked = []string{"folder DC0/vm/machines: it does not exist"}
	s.after(3*time.Hour, manager)
	s.expectPrivileges(metav1.ConditionUnknown, ingotv1.PlatformEndpointPrivilegesUnknownReason, "not told of folder DC0/vm/machines: it does not exist")
	a.told.Unasked, a.err = nil, fmt.Errorf("%w: vCenter grants no System.View", platform.ErrUnreachable)
	s.after(6*time.Minute, manager)
	s.expectPrivileges(metav1.ConditionUnknown, ingotv1.PlatformEndpointPrivilegesUnknownReason, "vCenter grants no System.View")
	a.err = nil
	s.after(6*time.Minute, manager)
	s.expectPrivileges(metav1.ConditionTrue, ingotv1.PlatformEndpointPrivilegesReason, "")
	s.host.trouble = errors.New("no answer")
	s.after(time.Minute, manager)
	s.expectPrivileges(metav1.ConditionTrue, ingotv1.PlatformEndpointPrivilegesReason, "")
	s.after(3*time.Hour, manager)
	s.expectPrivileges(metav1.ConditionUnknown, ingotv1.PlatformEndpointPrivilegesUnknownReason, "the endpoint does not answer")
}

// noPlace: privileges are granted on places, and an account need not have them anywhere else.
func noPlace(s *story) {
	a := s.vCenter()
	manager := s.manager()
	s.pass(manager)
	s.expectPrivileges(metav1.ConditionUnknown, ingotv1.PlatformEndpointPrivilegesUnknownReason, "no IngotMachineTemplate names a place")
	if a.asked > 0 {
		s.Error("asked was about nothing")
	}
	s.template("machines")
	s.pass(manager)
	s.expectPrivileges(metav1.ConditionTrue, ingotv1.PlatformEndpointPrivilegesReason, "")
}

// askedRarely: a vCenter is asked when something may have changed, and otherwise almost never.
func askedRarely(s *story) {
	a := s.vCenter()
	s.template("machines")
	manager := s.manager()
	asked := func(when string, want int, pass func()) {
		s.Helper()
		before := a.asked
		if pass(); a.asked-before != want {
			s.Errorf("%s it is asked %d times, want %d", when, a.asked-before, want)
		}
	}
	asked("at first", 1, func() { s.pass(manager) })
	asked("in an hour", 0, func() {
		for range 12 {
			s.after(5*time.Minute, manager)
		}
	})
	asked("in the next half", 1, func() {
		for range 7 {
			s.after(5*time.Minute, manager)
		}
	})
	asked("when another place is named", 1, func() { s.template("other"); s.pass(manager) })
	asked("when the credentials are others", 1, func() {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace(), Name: "vcenter"}}
		builder.Patch(s.T, client.Client(apiServer), secret, func(c *corev1.Secret) { c.Data = map[string][]byte{"password": []byte("another")} })
		s.pass(manager)
	})
	asked("by another manager", 1, func() { s.pass(s.manager()) })
}

func noPrivileges(s *story) {
	s.begin()
	s.pass(s.manager())
	if c := conditions.Get(s.endpoint, ingotv1.PlatformEndpointPrivilegesCondition); c != nil {
		s.Errorf("it says %v", c)
	}
}
