// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package placement_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/placement"
)

const gib = 1 << 30

// host is an endpoint with 64 GiB that fits everything, until a test changes it.
func host(name string, change ...func(*placement.Candidate)) placement.Candidate {
	c := placement.Candidate{Allowed: true, Ready: true, Endpoint: &ingotv1.PlatformEndpoint{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"site": "north"}},
		Spec:       ingotv1.PlatformEndpointSpec{FailureDomain: "fd-" + name},
		Status:     ingotv1.PlatformEndpointStatus{Capacity: ingotv1.ObservedCapacity{CPUs: 16, Memory: new(resource.MustParse("64Gi"))}},
	}}
	for _, f := range change {
		f(&c)
	}
	return c
}

func used(memoryGiB int64, machines int) func(*placement.Candidate) {
	return func(c *placement.Candidate) {
		c.Used = placement.Usage{MemoryBytes: memoryGiB * gib, CPUs: int64(machines), Machines: machines}
	}
}

// any selects all endpoints for a worker of 4 GiB.
func worker(change ...func(*placement.Needs)) placement.Needs {
	n := placement.Needs{Selector: &metav1.LabelSelector{}, CPUs: 2, MemoryBytes: 4 * gib}
	for _, f := range change {
		f(&n)
	}
	return n
}

func TestChoose(t *testing.T) {
	reserve := func(c *placement.Candidate) { c.Endpoint.Spec.Capacity.ReservedForControlPlanePercent = new(int32(25)) }
	for name, c := range map[string]struct {
		needs  placement.Needs
		hosts  []placement.Candidate
		want   string // endpoint
		reason string // of the refusal
		says   []string
		waits  bool
	}{
		"the emptiest endpoint is chosen":             {worker(), []placement.Candidate{host("a", used(32, 8)), host("b", used(16, 4)), host("c", used(48, 12))}, "b", "", nil, false},
		"of equals the one with fewer machines":       {worker(), []placement.Candidate{host("a", used(8, 3)), host("b", used(8, 2))}, "b", "", nil, false},
		"of the same the first by name":               {worker(), []placement.Candidate{host("b"), host("a")}, "a", "", nil, false},
		"a failure domain is kept":                    {worker(func(n *placement.Needs) { n.FailureDomain = "fd-b" }), []placement.Candidate{host("a"), host("b", used(60, 1))}, "b", "", nil, false},
		"a failure domain nobody is in is a person's": {worker(func(n *placement.Needs) { n.FailureDomain = "fd-x" }), []placement.Candidate{host("a")}, "", infrav1.NoEndpointReason, []string{`failure domain "fd-a"`, "spec.failureDomain"}, false},
		"an endpoint of another platform is none":     {worker(func(n *placement.Needs) { n.Platform = ingotv1.ArtefactPlatformVSphere }), []placement.Candidate{host("a")}, "", infrav1.NoEndpointReason, []string{"PlatformEndpoint a is for libvirt", "spec.platform.vsphere"}, false},
		"a vCenter takes what is made for it": {
			worker(func(n *placement.Needs) { n.Platform = ingotv1.ArtefactPlatformVSphere }),
			[]placement.Candidate{host("a"), host("b", func(c *placement.Candidate) { c.Endpoint.Spec.VSphere.Server = "vcenter.example.org" })},
			"b", "", nil, false,
		},
		"a selector narrows": {
			worker(func(n *placement.Needs) {
				n.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"site": "south"}}
			}),
			[]placement.Candidate{host("a"), host("b", func(c *placement.Candidate) { c.Endpoint.Labels["site"] = "south" })},
			"b", "", nil, false,
		},
		"a selector that matches nothing": {
			worker(func(n *placement.Needs) {
				n.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"site": "moon"}}
			}),
			[]placement.Candidate{host("a")},
			"", infrav1.NoEndpointReason,
			[]string{"endpointSelector", "label one"},
			false,
		},
		"a selector that cannot be read": {worker(func(n *placement.Needs) {
			n.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}
		}), []placement.Candidate{host("a")}, "", infrav1.NoEndpointReason, []string{"endpointSelector"}, false},
		"an endpoint that does not answer is passed over": {worker(), []placement.Candidate{host("a", func(c *placement.Candidate) { c.Ready = false }), host("b", used(60, 1))}, "b", "", nil, false},
		"while none answers the machine waits":            {worker(), []placement.Candidate{host("a", func(c *placement.Candidate) { c.Ready = false })}, "", infrav1.EndpointFullReason, []string{"does not answer"}, true},
		"a full endpoint is passed over":                  {worker(), []placement.Candidate{host("a", used(61, 1)), host("b", used(60, 9))}, "b", "", nil, false},
		"while all are full the machine waits":            {worker(), []placement.Candidate{host("a", used(61, 1))}, "", infrav1.EndpointFullReason, []string{"PlatformEndpoint a is full", "4096 MiB", "62464 of 65536 MiB"}, true},
		"exactly full is not too full":                    {worker(), []placement.Candidate{host("a", used(60, 1))}, "a", "", nil, false},
		"what is declared counts more than what was seen": {worker(), []placement.Candidate{host("a", used(6, 1), func(c *placement.Candidate) { c.Endpoint.Spec.Capacity.Memory = new(resource.MustParse("8Gi")) })}, "", infrav1.EndpointFullReason, []string{"8192 MiB"}, true},
		"CPUs are shared unless limited":                  {worker(func(n *placement.Needs) { n.CPUs = 64 }), []placement.Candidate{host("a")}, "a", "", nil, false},
		"limited CPUs run out": {
			worker(),
			[]placement.Candidate{host("a", used(4, 7), func(c *placement.Candidate) { c.Endpoint.Spec.Capacity.CPUs = 8 })},
			"",
			infrav1.EndpointFullReason,
			[]string{"needs 2 CPUs", "7 of 8"},
			true,
		},
		"workers leave the reserved part alone":          {worker(), []placement.Candidate{host("a", used(46, 1), reserve)}, "", infrav1.EndpointFullReason, []string{"25 % are kept for control planes"}, true},
		"control planes may use it":                      {worker(func(n *placement.Needs) { n.ControlPlane = true }), []placement.Candidate{host("a", used(46, 1), reserve)}, "a", "", nil, false},
		"an endpoint of another tenant is none":          {worker(), []placement.Candidate{host("a", func(c *placement.Candidate) { c.Allowed = false })}, "", infrav1.NoEndpointReason, []string{"allowedNamespaces"}, false},
		"an unschedulable endpoint takes nothing":        {worker(), []placement.Candidate{host("a", func(c *placement.Candidate) { c.Endpoint.Spec.Unschedulable = new(true) })}, "", infrav1.NoEndpointReason, []string{"unschedulable"}, false},
		"a deleted endpoint takes nothing":               {worker(), []placement.Candidate{host("a", func(c *placement.Candidate) { c.Endpoint.DeletionTimestamp = new(metav1.Now()) })}, "", infrav1.NoEndpointReason, []string{"being deleted"}, false},
		"an unmeasured endpoint has no limit":            {worker(func(n *placement.Needs) { n.MemoryBytes = 1 << 50 }), []placement.Candidate{host("a", func(c *placement.Candidate) { c.Endpoint.Status.Capacity = ingotv1.ObservedCapacity{} })}, "a", "", nil, false},
		"a named endpoint is taken even while it sleeps": {worker(func(n *placement.Needs) { n.EndpointName = "a" }), []placement.Candidate{host("a", func(c *placement.Candidate) { c.Ready = false }), host("b")}, "a", "", nil, false},
		"a named endpoint must exist":                    {worker(func(n *placement.Needs) { n.EndpointName = "x" }), []placement.Candidate{host("a")}, "", infrav1.EndpointNotFoundReason, []string{"PlatformEndpoint x does not exist", "create it"}, false},
		"a named endpoint must be allowed":               {worker(func(n *placement.Needs) { n.EndpointName = "a" }), []placement.Candidate{host("a", func(c *placement.Candidate) { c.Allowed = false })}, "", infrav1.EndpointNotAllowedReason, []string{"allowedNamespaces"}, false},
		"a named endpoint must have room":                {worker(func(n *placement.Needs) { n.EndpointName = "a" }), []placement.Candidate{host("a", used(64, 1))}, "", infrav1.EndpointFullReason, []string{"full"}, true},
		"no endpoint at all":                             {worker(), nil, "", infrav1.NoEndpointReason, []string{"no PlatformEndpoint matches"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, refusal := placement.Choose(c.needs, c.hosts)
			if refusal == nil {
				if got.Name != c.want {
					t.Errorf("chosen is %s, want %q", got.Name, c.want)
				}
				return
			}
			if c.want != "" || refusal.Reason != c.reason || refusal.Passing != c.waits {
				t.Errorf("refused with %+v, want endpoint %q, reason %q, passing %t", refusal, c.want, c.reason, c.waits)
			}
			for _, part := range c.says {
				if !strings.Contains(refusal.Message, part) {
					t.Errorf("the message %q does not say %q", refusal.Message, part)
				}
			}
		})
	}
}

// Whatever is placed in whatever order: no endpoint is promised more than it has, workers never touch what is kept for
// control planes, and the order of the list does not matter. A host that is given away twice swaps or kills guests.
func TestRandomPlacementsNeverOvercommit(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		hosts := make([]placement.Candidate, 1+rng.IntN(6))
		for i := range hosts {
			hosts[i] = host(fmt.Sprint("h", i), func(c *placement.Candidate) {
				c.Endpoint.Spec.Capacity.ReservedForControlPlanePercent = new(int32(rng.IntN(91)))
			})
		}
		for range 100 {
			needs := worker(func(n *placement.Needs) {
				n.MemoryBytes, n.ControlPlane = int64(1+rng.IntN(16*1024))<<20, rng.IntN(3) == 0
			})
			got, _, refusal := placement.Choose(needs, hosts)
			rng.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
			again, _, _ := placement.Choose(needs, hosts)
			if refusal != nil {
				if again != nil {
					t.Fatalf("seed %d: refused once and placed once", seed)
				}
				continue
			}
			if again != got {
				t.Fatalf("seed %d: the order of the list changes the choice", seed)
			}
			i := slices.IndexFunc(hosts, func(c placement.Candidate) bool { return c.Endpoint == got })
			hosts[i].Used = hosts[i].Used.Add(needs.CPUs, needs.MemoryBytes)
			limit := int64(64 * gib)
			if !needs.ControlPlane {
				limit = limit * int64(100-*got.Spec.Capacity.ReservedForControlPlanePercent) / 100
			}
			if hosts[i].Used.MemoryBytes > limit {
				t.Fatalf("seed %d: %d bytes are promised of %d", seed, hosts[i].Used.MemoryBytes, limit)
			}
		}
	}
}
