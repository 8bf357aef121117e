// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"reflect"
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
		made := count[plan.CreateMachine](p)
		if made > 0 && len(world.Machines)+made > 1 {
			t.Fatalf("a plan leads to %d Machines", len(world.Machines)+made)
		}
		if made > 0 && (world.Deleting || world.Initialized) {
			t.Fatal("a first Machine is made for a control plane that is being deleted, or was initialized before")
		}
		if count[plan.CreateCertificates](p) > 0 && (world.Initialized || len(world.Machines) > 0) {
			t.Fatal("certificates are made although a machine may trust older ones")
		}
		if count[plan.DeleteMachine](p) > 0 && world.Initialized && !world.Deleting {
			t.Fatal("a Machine of an initialized control plane is deleted")
		}
		if count[plan.RemoveFinalizer](p) > 0 && (!world.Deleting || len(world.Machines)+len(world.Workers) > 0) {
			t.Fatal("the finalizer is removed while Machines are left")
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

// TestWalk carries plans out on a small model, with crashes between steps and changes of mind, and checks that the
// model comes to rest with one Machine and nothing left behind.
func TestWalk(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		world := plan.World{
			ControlPlane: "cp", Cluster: "c", InfrastructureProvisioned: true, Endpoint: "192.0.2.10:6443",
			Certificates: plan.Certificates{Missing: []string{"c-ca"}}, Kubeconfig: plan.KubeconfigMissing,
			Desired: plan.Desired{Replicas: 1, Version: "v1.36.3", Template: template(0)},
		}
		everMade := 0
		for i := range rapid.IntRange(1, 12).Draw(t, "passes") {
			world.NextName = fmt.Sprintf("cp-%05d", i)
			steps := plan.Make(world).Steps
			crash := rapid.IntRange(0, len(steps)).Draw(t, "crash after")
			for _, step := range steps[:crash] {
				everMade += carryOut(&world, step)
			}
			if rapid.Bool().Draw(t, "change of mind") {
				world.Desired.Template = template(rapid.IntRange(0, 2).Draw(t, "template"))
			}
		}
		for i := range 3 {
			world.NextName = fmt.Sprintf("cp-%05d", 100+i)
			for _, step := range plan.Make(world).Steps {
				everMade += carryOut(&world, step)
			}
		}
		if everMade != 1 || len(world.Machines) != 1 || len(world.Leftovers) != 0 {
			t.Fatalf("came to rest with %d Machines (%d ever made) and leftovers %+v", len(world.Machines), everMade, world.Leftovers)
		}
	})
}

// carryOut does to the model what the step does to the cluster, and returns the number of Machines made.
func carryOut(w *plan.World, step plan.Step) int {
	switch s := step.(type) {
	case plan.CreateCertificates:
		w.Certificates.Missing = nil
	case plan.WriteKubeconfig:
		w.Kubeconfig = plan.KubeconfigCurrent
	case plan.CreateInfraMachine:
		leftover(w, s.Name).ClonedFrom = s.Template
	case plan.CreateBootstrapConfig:
		config := w.Desired.Config
		config.Role = s.Role
		leftover(w, s.Name).Config = &config
	case plan.DeleteLeftover:
		removeLeftover(w, s.Name)
	case plan.CreateMachine:
		l := *leftover(w, s.Name)
		removeLeftover(w, s.Name)
		w.Machines = append(w.Machines, plan.Machine{Name: s.Name, Version: w.Desired.Version, ClonedFrom: l.ClonedFrom, Config: l.Config})
		return 1
	}
	return 0
}

func leftover(w *plan.World, name string) *plan.Leftover {
	for i := range w.Leftovers {
		if w.Leftovers[i].Name == name {
			return &w.Leftovers[i]
		}
	}
	w.Leftovers = append(w.Leftovers, plan.Leftover{Name: name})
	return &w.Leftovers[len(w.Leftovers)-1]
}

func removeLeftover(w *plan.World, name string) {
	kept := make([]plan.Leftover, 0, len(w.Leftovers))
	for _, l := range w.Leftovers {
		if l.Name != name {
			kept = append(kept, l)
		}
	}
	w.Leftovers = kept
}

func settled(w plan.World) bool {
	return !w.Deleting && w.Initialized && w.InfrastructureProvisioned && w.Endpoint != "" &&
		len(w.Certificates.Missing)+len(w.Certificates.Invalid)+len(w.ForeignMachines) == 0 &&
		w.Kubeconfig == plan.KubeconfigCurrent && len(w.Machines) == 1 && !w.Machines[0].Deleting &&
		!w.Machines[0].RemediationWanted && len(plan.Differences(w.Desired, w.Machines[0])) == 0
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
			Desired:                   plan.Desired{Replicas: 1, Version: "v1.36.3", Template: template(0), TemplateMissing: flip("template missing")},
			Workers:                   some("workers"),
		}
		if flip("endpoint") {
			w.Endpoint = "192.0.2.10:6443"
		}
		if rapid.IntRange(0, 9).Draw(t, "foreign") == 0 {
			w.ForeignMachines = []string{"other"}
		}
		for i := range rapid.IntRange(0, 2).Draw(t, "machines") {
			w.Machines = append(w.Machines, anyMachine(t, fmt.Sprintf("cp-%05d", i)))
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
	if rapid.Bool().Draw(t, "has infra machine") {
		m.ClonedFrom = template(rapid.IntRange(0, 1).Draw(t, "cloned from"))
	}
	if rapid.Bool().Draw(t, "has config") {
		m.Config = &bootstrapv1.IngotConfigSpec{Role: bootstrapv1.RoleInit}
	}
	return m
}
