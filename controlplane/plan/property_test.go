// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// TestEveryWorld checks what must hold for any snapshot, including those that nobody thought of.
func TestEveryWorld(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		world := anyWorld().Draw(t, "world")
		p := plan.Make(world)

		if again := plan.Make(world); !reflect.DeepEqual(p, again) {
			t.Fatalf("the same snapshot gave two plans:\n%v\n%v", p, again)
		}
		if made := count[plan.CreateMachine](p); made > 1 || made > 0 && world.Deleting {
			t.Fatalf("%d Machines are made at once (deleting: %t)", made, world.Deleting)
		}
		if count[plan.DeleteMachine](p) > 1 && !world.Deleting {
			t.Fatal("more than one Machine is deleted at once")
		}
		for _, step := range p.Steps {
			if made, is := step.(plan.CreateMachine); is && (made.Role == bootstrapv1.RoleInit) == (world.Initialized || len(world.Machines) > 0) {
				t.Fatalf("a Machine is made with role %s beside %d others (initialized: %t)", made.Role, len(world.Machines), world.Initialized)
			}
		}
		if count[plan.CreateCertificates](p) > 0 && (world.Initialized || len(world.Machines) > 0) {
			t.Fatal("certificates are made although a machine may trust older ones")
		}
		if count[plan.RemoveFinalizer](p) > 0 && (!world.Deleting || len(world.Machines)+len(world.Workers) > 0) {
			t.Fatal("the finalizer is removed while Machines are left")
		}
		if changes := count[plan.RemoveMember](p) + count[plan.PromoteLearner](p) + count[plan.MoveLeader](p); changes > 0 && world.Etcd.Unseen != "" {
			t.Fatal("etcd is changed unseen")
		}
		if len(p.Steps) == 0 && len(p.Held) == 0 && !settled(world) {
			t.Fatal("nothing is done and no reason is given")
		}
		for _, held := range p.Held {
			if held.Reason == "" || held.Message == "" {
				t.Fatalf("a hold without reason or message: %+v", held)
			}
		}
	})
}

// settled is whether nothing is to be done: what is broken and nobody wants replaced is left alone.
func settled(w plan.World) bool {
	if w.Deleting || !w.Initialized || !w.InfrastructureProvisioned || w.Endpoint == "" || w.Kubeconfig != plan.KubeconfigCurrent ||
		len(w.Certificates.Missing)+len(w.Certificates.Invalid)+len(w.ForeignMachines) > 0 || len(w.Machines) != int(w.Desired.Replicas) {
		return false
	}
	return !slices.ContainsFunc(w.Machines, func(m plan.Machine) bool {
		return m.Deleting || m.RemediationWanted || m.Node == "" || len(plan.Differences(w.Desired, m)) > 0
	})
}

func count[S plan.Step](p plan.Plan) int {
	n := 0
	for _, step := range p.Steps {
		if _, ok := step.(S); ok {
			n++
		}
	}
	return n
}

func template(i int) plan.Template {
	return plan.Template{GroupKind: "IngotMachineTemplate.infrastructure.cluster.x-k8s.io", Name: fmt.Sprintf("t-%d", i)}
}

func anyWorld() *rapid.Generator[plan.World] {
	return rapid.Custom(func(t *rapid.T) plan.World {
		flip := func(label string) bool { return rapid.Bool().Draw(t, label) }
		some := func(label string) []string {
			return rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 2).Draw(t, label)
		}
		w := plan.World{
			ControlPlane: "cp", Cluster: "c", NextName: "cp-new01",
			Deleting: flip("deleting"), Initialized: flip("initialized"), APIServerAnswers: flip("answers"),
			InfrastructureProvisioned: flip("infrastructure"),
			Certificates:              plan.Certificates{Missing: some("missing"), Invalid: some("invalid")},
			Kubeconfig:                rapid.SampledFrom([]plan.Kubeconfig{plan.KubeconfigMissing, plan.KubeconfigStale, plan.KubeconfigCurrent}).Draw(t, "kubeconfig"),
			Desired:                   plan.Desired{Replicas: rapid.SampledFrom([]int32{1, 3}).Draw(t, "replicas"), DeleteFirst: flip("delete first"), Version: "v1.36.3", Template: template(0), TemplateMissing: flip("template missing")},
			Workers:                   some("workers"),
		}
		if flip("endpoint") {
			w.Endpoint = "192.0.2.10:6443"
		}
		if rapid.IntRange(0, 9).Draw(t, "foreign") == 0 {
			w.ForeignMachines = []string{"other"}
		}
		if rapid.IntRange(0, 4).Draw(t, "unseen") == 0 {
			w.Etcd.Unseen = "no route to host"
		}
		for i := range rapid.IntRange(0, 4).Draw(t, "machines") {
			m := anyMachine(t, fmt.Sprintf("cp-%05d", i))
			w.Machines = append(w.Machines, m)
			if w.Etcd.Unseen == "" && m.Node != "" && rapid.IntRange(0, 9).Draw(t, "has no member") > 0 {
				w.Etcd.Members = append(w.Etcd.Members, plan.Member{
					ID: "id-" + m.Name, Name: m.Node, Learner: rapid.IntRange(0, 9).Draw(t, "learner") == 0, Healthy: rapid.IntRange(0, 3).Draw(t, "unhealthy") > 0,
				})
			}
		}
		for i := range rapid.IntRange(0, 2).Draw(t, "leftovers") {
			m := anyMachine(t, fmt.Sprintf("cp-left%d", i))
			w.Leftovers = append(w.Leftovers, plan.Leftover{Name: m.Name, ClonedFrom: m.ClonedFrom, Config: m.Config, Deleting: m.Deleting})
		}
		return w
	})
}

func anyMachine(t *rapid.T, name string) plan.Machine {
	m := plan.Machine{
		Name: name, Deleting: rapid.Bool().Draw(t, "machine deleting"), RemediationWanted: rapid.Bool().Draw(t, "remediation"),
		Version: rapid.SampledFrom([]string{"v1.36.3", "v1.36.2"}).Draw(t, "version"),
	}
	if rapid.IntRange(0, 3).Draw(t, "has not joined") > 0 {
		m.Node = name
	}
	m.WaitsForUs = m.Deleting && rapid.Bool().Draw(t, "waits for us")
	if rapid.Bool().Draw(t, "has infra machine") {
		m.ClonedFrom = template(rapid.IntRange(0, 1).Draw(t, "cloned from"))
	}
	if rapid.Bool().Draw(t, "has config") {
		m.Config = &bootstrapv1.IngotConfigSpec{Role: bootstrapv1.RoleInit}
	}
	return m
}
