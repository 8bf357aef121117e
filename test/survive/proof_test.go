// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package survive_test

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
)

// expectOne checks that there is one instance of the machine, that it was started once, and that all that is there belongs
// to it: its own files, the copy of the image, and further files with these endings.
func (s *story) expectOne(further ...string) {
	s.Helper()
	s.expect(infrav1.ReadyCondition, metav1.ConditionTrue, "Ready")
	all := s.host.domains(s.T, s.name)
	if len(all) != 1 {
		s.Fatalf("there are %d domains: %v", len(all), all)
	}
	d := all[0]
	if d.uuid != s.uuid() || !d.runs {
		s.Errorf("domain %s has uuid %s, want %s, and runs: %t", d.name, d.uuid, s.uuid(), d.runs)
	}
	if !strings.Contains(d.definition, `stage="started"`) && !strings.Contains(d.definition, `stage='started'`) {
		s.Errorf("domain %s has no mark that it was started:\n%s", d.name, d.definition)
	}
	if n := s.host.starts(s.T, s.name); n != 1 {
		s.Errorf("QEMU was started %d times", n)
	}
	if carrier := "-bootstrap"; strings.Contains(d.definition, carrier) {
		s.Error("the definition still names the carrier of the bootstrap data")
	}
	if n := len(s.replicas()); n != 1 {
		s.Errorf("there are %d replicas", n)
	}
	s.expectFiles(append(further, "-console.log", "-disk-data.qcow2", "-nvram", "-root.qcow2", ".raw", ".raw.verified")...)
	if got := s.host.reservations(s.T, s.address); len(got) != 2 {
		s.Errorf("address %s is reserved %d times, want now and later: %v", s.address, len(got), got)
	}
}

// expectFiles checks that the pool holds one file for each ending, and nothing else.
func (s *story) expectFiles(endings ...string) {
	s.Helper()
	left := files(s.T, s.dir)
	for _, ending := range endings {
		i := slices.IndexFunc(left, func(name string) bool { return strings.HasSuffix(name, ending) })
		if i < 0 {
			s.Errorf("no file that ends in %s is in the pool", ending)
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		s.Errorf("left in the pool: %v", left)
	}
}

// expectNothing checks that nothing is left of the machine of which this was the identity, on the host and in the API.
func (s *story) expectNothing(uuid string) {
	s.Helper()
	if s.exists() {
		s.Errorf("the IngotMachine is there: %v", s.now().Status.Conditions)
	}
	if all := s.host.domains(s.T, s.name); len(all) > 0 {
		s.Errorf("domains are left: %v", all)
	}
	if left := s.host.reservations(s.T, s.address); len(left) > 0 {
		s.Errorf("the address is still reserved: %v", left)
	}
	words := []string{s.name + "-"} // of domains
	if uuid != "" {
		words = append(words, uuid) // of TPM state
	}
	if left := s.host.named(s.T, words...); len(left) > 0 {
		s.Errorf("files are left: %v", left)
	}
	s.expectFiles()
	claims, addresses := &ipamv1.IPAddressClaimList{}, &ipamv1.IPAddressList{}
	s.list(claims)
	s.playAddresses()
	s.list(addresses)
	if len(claims.Items)+len(addresses.Items) > 0 {
		s.Errorf("claims are left: %v, %v", claims.Items, addresses.Items)
	}
	if left := s.replicas(); len(left) > 0 {
		s.Errorf("replicas are left: %v", left)
	}
}

// end deletes what else the story made, so that the next ones do not see it.
func (s *story) end() {
	s.Helper()
	s.delete(s.endpoint)
	s.until("the endpoint is gone", func() bool {
		return apierrors.IsNotFound(s.client.Get(s.Context(), client.ObjectKeyFromObject(s.endpoint), s.endpoint))
	})
	s.delete(s.image)
	s.delete(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: s.name}})
}
