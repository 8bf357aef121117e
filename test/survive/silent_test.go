// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package survive_test

import (
	"testing"
	"time"

	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/test/wire"
)

// TestSilentEndpoint measures what an endpoint costs the others that accepts connections and never answers: the worst kind,
// since every call to it waits. All endpoints share the workers of one manager.
func TestSilentEndpoint(t *testing.T) {
	h, stop, err := startHost(t.Context())
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	besides(t, h, nil) // the first time the host is slower
	alone := besides(t, h, nil)
	for name, made := range map[string]int{"never answers": 0, "falls silent while it makes machines": 2} {
		took := besides(t, h, &made)
		ratio := float64(took) / float64(alone)
		t.Logf("%d machines of a good endpoint were provisioned in %s, and in %s beside one with as many that %s: ratio %.2f",
			fleetSize, alone.Round(10*time.Millisecond), took.Round(10*time.Millisecond), name, ratio)
		if ratio > 3 {
			t.Errorf("an endpoint that %s slows the others by %.1f", name, ratio)
		}
	}
}

// fleetSize is how many machines each endpoint has: as many as the manager has workers.
const fleetSize = 10

// besides returns how long the machines of a good endpoint take alone, or beside as many of an endpoint that falls silent
// when so many of them are made.
func besides(t *testing.T, h *host, made *int) time.Duration {
	t.Helper()
	f := newFleet(t, h)
	halt := f.startManager()
	defer halt()
	good := f.endpoint("-good", h.libvirt.URI)
	all := []*ingotv1.PlatformEndpoint{good}
	f.eventually("the endpoint is ready", patience, func() bool { return f.answers(good) })
	var silent *wire.Proxy
	if made != nil {
		var err error
		if silent, err = wire.New(h.libvirt.Socket, nil); err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		all = append(all, f.fallSilent(silent, *made))
	}
	begin := time.Now()
	f.machines(fleetSize, good)
	f.eventually("the machines of the good endpoint are there", patience, func() bool { return f.provisioned(good) == fleetSize })
	took := time.Since(begin)
	if silent != nil {
		f.expectHeld(all[1])
		silent.Thaw()
	}
	f.deleteAll(all...)
	f.expectEmptyHost()
	return took
}

// fallSilent makes machines on an endpoint that falls silent when so many are made, and waits until all workers have met it.
func (f *fleet) fallSilent(wire *wire.Proxy, made int) *ingotv1.PlatformEndpoint {
	f.Helper()
	if made == 0 {
		wire.Freeze()
	}
	endpoint := f.endpoint("-silent", wire.URI())
	f.machines(fleetSize, endpoint)
	f.eventually("some are made", patience, func() bool { return f.provisioned(endpoint) >= made })
	wire.Freeze()
	time.Sleep(3 * time.Second)
	if n := f.provisioned(endpoint); n == fleetSize {
		f.Error("all machines were made before their endpoint fell silent: the story proves nothing")
	}
	return endpoint
}

func (f *fleet) answers(endpoint *ingotv1.PlatformEndpoint) bool {
	f.Helper()
	if err := shared.client.Get(f.Context(), client.ObjectKeyFromObject(endpoint), endpoint); err != nil {
		f.Fatal(err)
	}
	return conditions.IsTrue(endpoint, ingotv1.PlatformEndpointReadyCondition)
}

// expectHeld checks that no machine of a silent endpoint claims to be there unless it is, and that none goes while nobody
// can tell whether anything is left of it.
func (f *fleet) expectHeld(endpoint *ingotv1.PlatformEndpoint) {
	f.Helper()
	f.Logf("beside a silent endpoint:\n%s", f.describe())
	f.deleteMachines()
	time.Sleep(3 * time.Second)
	if n := len(f.all(endpoint)); n != fleetSize {
		f.Errorf("%d machines are left of %d, and their endpoint does not answer", n, fleetSize)
	}
	f.Logf("beside a silent endpoint:\n%s", f.describe())
}
