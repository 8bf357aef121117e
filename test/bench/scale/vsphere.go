// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// What the elements of the extra configuration are called that a template and a machine have.
const (
	digestKey  = "ingot.image.sha256"
	machineKey = "ingot.machine"
)

// told is what the process of the simulated vCenter tells: first where it is, and then how it is.
type told struct {
	Server, Stats, Template string
	CA                      []byte
	Calls                   map[string]int
	Sessions                int
	// Machines are those that have virtual machines.
	Machines map[string]seen
	// Away are the times that vCenter took for each machine, and Full those in which it had as many in hand as it may.
	Away map[string][]span
	Full []span
}

// seen is what is there of a machine.
type seen struct {
	Count     int // of virtual machines
	Addressed bool
}

// serveVCenter is the process of the simulated vCenter. It ends when its input does.
func serveVCenter(ctx context.Context, rtt time.Duration, inFlight int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v, err := vcenter.Start(ctx)
	if err != nil {
		return err
	}
	door := v.Door()
	door.Judge(func(string) vcenter.Verdict { time.Sleep(rtt); return vcenter.Pass })
	template := uuid.NewString()
	err = v.Make(ctx, vcenter.Spec{
		Name: "template", UUID: template, Template: true, DiskBytes: 1 << 20, Extra: map[string]string{digestKey: builder.Digest(imageName)},
	})
	if err != nil {
		return err
	}
	f := follow(inFlight)
	door.WitnessAnswers(f.witness)
	go f.run(ctx, v)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sessions, err := v.Sessions(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		err = json.NewEncoder(w).Encode(told{Calls: door.Calls(), Sessions: sessions, Machines: f.machines, Away: f.away, Full: f.full})
		if err != nil {
			say(err.Error())
		}
	})}
	go func() { _ = server.Serve(listener) }()
	if err := json.NewEncoder(os.Stdout).Encode(told{Server: door.Address(), CA: door.CA(), Template: template, Stats: "http://" + listener.Addr().String()}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// simulated is a simulated vCenter in a process of its own.
type simulated struct {
	told

	process *child
	rtt     time.Duration
	program string // of the manager
}

// startVCenter starts this program as a simulated vCenter whose every answer takes so much longer.
func startVCenter(ctx context.Context, rtt time.Duration, inFlight int) (*simulated, error) {
	process, err := spawn(ctx, itself, "-vcenter", "-rtt", rtt.String(), "-in-flight", strconv.Itoa(inFlight))
	if err != nil {
		return nil, err
	}
	s := &simulated{process: process, rtt: rtt}
	return s, json.NewDecoder(process.output).Decode(&s.told)
}

func (s *simulated) name() string { return "vSphere, " + s.rtt.String() }

// manager is a process of its own, so that what it takes is told without the guests and without Cluster API.
func (s *simulated) manager(ctx context.Context, p *plane) (manager, error) {
	return startApart(ctx, s.program, p.Kubeconfig)
}

func (s *simulated) describe(endpoint *ingotv1.PlatformEndpoint, image *ingotv1.NodeImage, template *infrav1.IngotMachineTemplate) []client.Object {
	secret := secretOf("vcenter", map[string][]byte{"username": []byte(vcenter.User), "password": []byte(vcenter.Password), "ca.crt": s.CA})
	endpoint.Spec = ingotv1.PlatformEndpointSpec{
		VSphere:        ingotv1.VSphereEndpoint{Server: s.Server},
		CredentialsRef: ingotv1.SecretReference{Namespace: namespace, Name: secret.Name},
		Capacity:       ingotv1.EndpointCapacity{Memory: new(resource.MustParse("1Ti"))}, // the simulator has 8Gi
	}
	image.Spec.Artefacts = append(image.Spec.Artefacts, ingotv1.Artefact{
		Platform: ingotv1.ArtefactPlatformVSphere, Format: ingotv1.DiskFormatTemplate, Source: "template://" + s.Template, SHA256: builder.Digest(imageName), SizeBytes: 1 << 20,
	})
	spec := &template.Spec.Template.Spec
	spec.Platform = infrav1.MachinePlatform{VSphere: infrav1.VSphereMachine{
		EndpointName: endpoint.Name, Datacenter: vcenter.Datacenter, Datastore: vcenter.Datastore, ResourcePool: vcenter.Cluster,
	}}
	spec.Networks = []infrav1.MachineNetwork{{Name: vcenter.Network}}
	return []client.Object{secret}
}

// ask asks the process how it is.
func (s *simulated) ask(ctx context.Context) (told, error) {
	var now told
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Stats, http.NoBody)
	if err != nil {
		return now, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return now, err
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(&now); err != nil {
		return now, err
	}
	for id, m := range now.Machines {
		if m.Count > 1 {
			return now, fmt.Errorf("machine %s was made %d times", id, m.Count)
		}
	}
	if now.Sessions > 1 {
		return now, fmt.Errorf("%d sessions with vCenter are open", now.Sessions)
	}
	return now, nil
}

// look leaves the wait for changes out of the calls: it is one for all machines.
func (s *simulated) look(ctx context.Context) (looked, error) {
	now, err := s.ask(ctx)
	delete(now.Calls, "WaitForUpdatesEx")
	return looked{calls: now.Calls, instances: len(now.Machines), away: now.waits()}, err
}

func (s *simulated) boot(ctx context.Context, booted func(uuid string)) {
	for ctx.Err() == nil {
		now, err := s.ask(ctx)
		if err != nil && ctx.Err() == nil {
			say("the simulated vCenter: " + err.Error())
		}
		for id, m := range now.Machines {
			if m.Addressed {
				booted(id)
			}
		}
		_ = sleep(ctx, 300*time.Millisecond)
	}
}
