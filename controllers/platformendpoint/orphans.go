// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// sweepEvery is how often orphans are looked for, less or more by a quarter.
	sweepEvery = 45 * time.Minute
	// sweepFloor is how often while there are some, and the least time between two looks whatever happens.
	sweepFloor = 5 * time.Minute
	// listTimeout bounds the list of what is ours on an endpoint.
	listTimeout = time.Minute
	// pageSize is how many machines are read from the API server at once.
	pageSize = 500
)

// tidings are what a look for orphans has to tell, once it is on record.
type tidings struct {
	looked    bool
	total     int
	found     []ingotv1.Orphan
	collected []platform.Owned
	refused   []platform.Owned
}

// lookForOrphans compares what is ours on the endpoint with the machines that exist, when it is time to, and removes what
// the endpoint's policy says. An error means that the management cluster did not answer.
func (r *Reconciler) lookForOrphans(ctx context.Context, endpoint *ingotv1.PlatformEndpoint, known *notes, connected flow.Outcome) (tidings, error) {
	now := r.now()
	if known.sweepAt().After(now) {
		return tidings{}, nil
	}
	if !connected.Done() {
		record(endpoint, untold("the endpoint does not answer"))
		return tidings{}, nil
	}
	p, err := r.Sessions.Platform(endpoint.Name)
	if err != nil {
		record(endpoint, untold("the endpoint does not answer"))
		return tidings{}, nil //nolint:nilerr // it is said in the condition, and the session's event wakes us
	}
	lister, can := platform.As[platform.Inventory](p)
	again := known.sweeping(now)
	switch {
	case !r.SeesAllMachines || r.MachineReader == nil:
		record(endpoint, untold("this manager is restricted to a namespace or to a watch filter, and who may not see a machine cannot miss it: "+
			"run the infrastructure manager without --namespace and --watch-filter to find orphans"))
	case !can:
		record(endpoint, untold("the platform cannot list what is on it"))
	default:
		return r.sweep(ctx, endpoint, known, p, lister, again)
	}
	again(r.spread(sweepEvery))
	return tidings{}, nil
}

// sweep is one look. The machines are listed after the inventory: a machine that is made in between has its instance
// only in the next one, and one whose instance is listed is there already.
func (r *Reconciler) sweep(
	ctx context.Context, endpoint *ingotv1.PlatformEndpoint, known *notes, p platform.Platform, lister platform.Inventory, again func(time.Duration),
) (tidings, error) {
	owned, err := list(ctx, lister, endpoint.Spec.ManagementClusterID)
	if err != nil {
		record(endpoint, untold("what is on the endpoint could not be listed: "+err.Error()))
		again(sweepFloor)
		return tidings{}, nil //nolint:nilerr // it is said in the condition, and tried again
	}
	machines, err := r.allMachines(ctx)
	if err != nil {
		return tidings{}, fmt.Errorf("listing IngotMachines to find orphans: %w", err)
	}
	verdict := inventory.Judge(inventory.Sweep{
		Owned:    owned,
		Machines: uuids(machines),
		Before:   endpoint.Status.Orphans,
		Policy:   endpoint.Spec.Orphans,
		Doubt:    collectionDoubt(endpoint),
		Now:      r.now().Truncate(time.Second), // as exact as the API keeps it
	})
	news := tidings{looked: true, found: verdict.New}
	settled, err := r.collect(ctx, p, verdict.Collect, &news)
	if err != nil {
		return tidings{}, err
	}
	endpoint.Status.Orphans = slices.DeleteFunc(verdict.Orphans, func(o ingotv1.Orphan) bool { return settled[o.UUID] })
	news.total = verdict.Total - len(settled)
	record(endpoint, judged(endpoint, verdict, news))
	news.refused = slices.DeleteFunc(news.refused, func(o platform.Owned) bool { return !known.refused(o.UUID) })
	if news.total > 0 {
		again(sweepFloor)
	} else {
		again(r.spread(sweepEvery))
	}
	return news, nil
}

func list(ctx context.Context, lister platform.Inventory, id string) ([]platform.Owned, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	return lister.List(ctx, id)
}

// allMachines reads the machines of all namespaces from the API server, page by page.
func (r *Reconciler) allMachines(ctx context.Context) ([]infrav1.IngotMachine, error) {
	var machines []infrav1.IngotMachine
	page := &infrav1.IngotMachineList{}
	for {
		if err := r.MachineReader.List(ctx, page, client.Limit(pageSize), client.Continue(page.Continue)); err != nil {
			return nil, err
		}
		machines = append(machines, page.Items...)
		if page.Continue == "" {
			return machines, nil
		}
		page.Items = nil
	}
}

func uuids(machines []infrav1.IngotMachine) map[string]bool {
	known := make(map[string]bool, len(machines))
	for i := range machines {
		if uuid := inventory.UUID(&machines[i]); uuid != "" {
			known[uuid] = true
		}
	}
	return known
}

// tell tells of what was found, once it is on record.
func (r *Reconciler) tell(endpoint *ingotv1.PlatformEndpoint, news tidings) {
	if news.looked && r.Report != nil {
		r.Report(endpoint.Name, news.total)
	}
	if r.Recorder == nil {
		return
	}
	for _, o := range news.found {
		r.Recorder.Eventf(endpoint, nil, corev1.EventTypeWarning, "OrphanFound", "FindOrphans",
			"%s carries our owner token and belongs to no IngotMachine", called(o.Name, o.UUID))
	}
	for _, o := range news.collected {
		r.Recorder.Eventf(endpoint, nil, corev1.EventTypeNormal, "OrphanCollected", "CollectOrphans",
			"%s belonged to no IngotMachine; nothing of it is left", called(o.Name, o.UUID))
	}
	for _, o := range news.refused {
		r.Recorder.Eventf(endpoint, nil, corev1.EventTypeWarning, "OrphanForeign", "CollectOrphans",
			"%s was not removed: what stands there now does not carry our owner token", called(o.Name, o.UUID))
	}
}

// judged says what came of a look.
func judged(endpoint *ingotv1.PlatformEndpoint, verdict inventory.Verdict, news tidings) flow.Outcome {
	if news.total == 0 {
		return flow.Advance(ingotv1.PlatformEndpointNoOrphansReason, "")
	}
	const few = 5
	var names []string
	for _, o := range endpoint.Status.Orphans[:min(few, len(endpoint.Status.Orphans))] {
		names = append(names, called(o.Name, o.UUID))
	}
	if more := news.total - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	message := "without an IngotMachine, and with our owner token: " + strings.Join(names, ", ") + "; "
	switch {
	case verdict.Held != "":
		message += "nothing is removed: " + verdict.Held
	case len(news.refused) > 0:
		message += called(news.refused[0].Name, news.refused[0].UUID) +
			" is left alone, because what stands there now does not carry our owner token: see to it by hand"
	case endpoint.Spec.Orphans.Mode == ingotv1.OrphanModeCollect:
		message += fmt.Sprintf("each is removed when it has been so for %d minutes", int(inventory.MinAge(endpoint.Spec.Orphans).Minutes()))
	default:
		message += "remove them by hand, or have them removed by spec.orphans.mode Collect"
	}
	return flow.Stall(ingotv1.PlatformEndpointOrphansFoundReason, message)
}

func untold(why string) flow.Outcome {
	return flow.Stall(ingotv1.PlatformEndpointOrphansUnknownReason, why).Unknown()
}

func record(endpoint *ingotv1.PlatformEndpoint, outcome flow.Outcome) {
	flow.Record(endpoint, ingotv1.PlatformEndpointNoOrphansCondition, outcome)
}

// called is how people find something on an endpoint.
func called(name, uuid string) string {
	if name == "" {
		return uuid
	}
	return fmt.Sprintf("%s (%s)", name, uuid)
}
