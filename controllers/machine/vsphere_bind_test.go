// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// A failure domain may be a rack of a compute cluster. What it meant when the machine was placed is on record, and what the
// machine is bound by goes with it, whatever the failure domain says by then.
func TestVSphereHostGroup(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	v, _ := s.vCenter()
	rack := v.Hosts()[1]
	if err := v.GroupHosts(s.Context(), "rack b", rack); err != nil {
		s.Fatal(err)
	}
	hostGroup := ingotv1.VSphereHostGroup{Name: "rack b", Affinity: ingotv1.HostAffinityRequired}
	s.endpoint.Spec.VSphere.FailureDomains = []ingotv1.VSphereFailureDomain{{Name: "az1", HostGroup: hostGroup}}
	s.machine.Spec.FailureDomain = "az1"
	s.begin()
	s.until("the instance waits for its address", func() bool {
		return strings.Contains(s.reason(infrav1.InstanceReadyCondition), infrav1.InstanceWaitingForAddressReason)
	})
	if made := s.virtualMachine(v); made.Host != rack || !made.Running {
		s.Errorf("made was %+v", made)
	}
	if got := s.now().Spec.Placement.VSphere.HostGroup; got != hostGroup {
		s.Errorf("on record is %+v", got)
	}
	groups, err := v.Groups(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	bindings, err := v.Bindings(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	names := slices.Collect(maps.Keys(groups))
	if len(names) != 1 || !slices.Equal(groups[names[0]], []string{s.uuid()}) || bindings[names[0]] != names[0]+" on rack b, must: true, enabled: true" {
		s.Errorf("there are the groups %v and the rules %v", groups, bindings)
	}

	endpoint := &ingotv1.PlatformEndpoint{}
	if err := s.client.Get(s.Context(), client.ObjectKey{Name: s.namespace}, endpoint); err != nil {
		s.Fatal(err)
	}
	endpoint.Spec.VSphere.FailureDomains[0].HostGroup.Name = "rack c"
	if err := s.client.Update(s.Context(), endpoint); err != nil {
		s.Fatal(err)
	}
	s.restart()
	s.goes(v)
	groups, err = v.Groups(s.Context())
	if rules := s.rules(v); err != nil || len(groups) > 0 || len(rules) > 0 {
		s.Errorf("left are the groups %v and the rules %v, %v", groups, rules, err)
	}
}

// A host group that is not there is told with the failure domain that names it.
func TestVSphereHostGroupThatIsNowhere(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	v, _ := s.vCenter()
	s.endpoint.Spec.VSphere.FailureDomains = []ingotv1.VSphereFailureDomain{{
		Name: "az1", HostGroup: ingotv1.VSphereHostGroup{Name: "rack b", Affinity: ingotv1.HostAffinityPreferred},
	}}
	s.machine.Spec.FailureDomain = "az1"
	s.begin()
	s.until("the machine is refused", func() bool { return s.reason(infrav1.InstanceReadyCondition) == infrav1.InstanceRefusedReason })
	message := conditions.GetMessage(s.now(), infrav1.InstanceReadyCondition)
	for _, part := range []string{"no host group rack b", "failure domain az1 of PlatformEndpoint " + s.namespace} {
		if !strings.Contains(message, part) {
			t.Errorf("%q does not say %q", message, part)
		}
	}
	s.goes(v)
}
