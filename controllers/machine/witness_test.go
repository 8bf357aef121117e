// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/cluster-api/controllers/clustercache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/source"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

// errDies is the error of a call at which the manager dies.
var errDies = errors.New("the manager was killed during this call")

// witness is the session of every story's endpoint: the fake platform, and the laws that hold in all stories.
type witness struct {
	*fake.Platform

	story *story
}

var (
	_ session.Session            = witness{}
	_ platform.BootstrapScrubber = witness{}
	_ platform.PowerCycler       = witness{}
)

func (s *story) open(_ session.Settings, events func(platform.Event)) (session.Session, error) {
	s.platform.Listen(events)
	return witness{Platform: s.platform, story: s}, nil
}

// Check implements session.Session.
func (w witness) Check(context.Context) (string, error) {
	if w.story.cut.Load() {
		return "", fmt.Errorf("%w: cut off by the test", platform.ErrUnreachable)
	}
	return "fake 1", nil
}

// Close implements session.Session.
func (w witness) Close() {}

// Ensure checks that everything which identifies the instance is written down before the call that makes it: what is
// only in the manager's memory is lost with it.
func (w witness) Ensure(ctx context.Context, req platform.Request) (platform.Observation, error) {
	written := w.written(ctx, req.UUID)
	endpoint := &ingotv1.PlatformEndpoint{}
	if err := w.story.client.Get(ctx, client.ObjectKey{Name: written.Spec.Placement.EndpointName}, endpoint); err != nil {
		w.story.Errorf("an instance is made on an endpoint that is not on record: %v", err)
	}
	if !slices.Contains(written.Finalizers, infrav1.IngotMachineFinalizer) {
		w.story.Error("an instance is made for a machine without a finalizer")
	}
	if written.Spec.PinnedImage.SHA256 != req.ImageSHA256 {
		w.story.Errorf("an instance is made from %s, and %q is pinned in the API", req.ImageSHA256, written.Spec.PinnedImage.SHA256)
	}
	if endpoint.Spec.ManagementClusterID != req.ManagementClusterID || req.ManagementClusterID == "" {
		w.story.Errorf("the owner token holds %q, and the endpoint in the API %q", req.ManagementClusterID, endpoint.Spec.ManagementClusterID)
	}
	o, err := w.Platform.Ensure(ctx, req)
	return o, w.mayDie(err)
}

// written is the machine that the API has for an identity.
func (w witness) written(ctx context.Context, uuid string) *infrav1.IngotMachine {
	list := &infrav1.IngotMachineList{}
	if err := w.story.client.List(ctx, list, client.InNamespace(w.story.namespace)); err != nil {
		w.story.Errorf("an instance is made while the API cannot be read: %v", err)
	}
	for i := range list.Items {
		if list.Items[i].Spec.ProviderID == "ingot://"+uuid {
			return &list.Items[i]
		}
	}
	w.story.Errorf("instance %s is made, and no machine in the API has that identity", uuid)
	return &infrav1.IngotMachine{}
}

// EnsureImage implements platform.Platform.
func (w witness) EnsureImage(ctx context.Context, req platform.ImageRequest) (platform.ImageObservation, error) {
	o, err := w.Platform.EnsureImage(ctx, req)
	return o, w.mayDie(err)
}

// Release implements platform.Platform.
func (w witness) Release(ctx context.Context, req platform.ReleaseRequest) (platform.Observation, error) {
	o, err := w.Platform.Release(ctx, req)
	return o, w.mayDie(err)
}

// ScrubBootstrap implements platform.BootstrapScrubber.
func (w witness) ScrubBootstrap(ctx context.Context, id platform.Identity) error {
	return w.mayDie(w.Platform.ScrubBootstrap(ctx, id))
}

// SwitchOff checks that the half of a power cycle that is done is the one that is written down.
func (w witness) SwitchOff(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	w.halfIsWritten(ctx, id, "SwitchingOff")
	o, err := w.Platform.SwitchOff(ctx, id)
	return o, w.mayDie(err)
}

// SwitchOn checks the same.
func (w witness) SwitchOn(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	w.halfIsWritten(ctx, id, "SwitchingOn")
	o, err := w.Platform.SwitchOn(ctx, id)
	return o, w.mayDie(err)
}

func (w witness) halfIsWritten(ctx context.Context, id platform.Identity, half string) {
	if record := w.written(ctx, id.UUID).Annotations[infrav1.BootAnnotation]; !strings.Contains(record, `"`+half+`"`) {
		w.story.Errorf("an instance is switched, and on record is %q, not %s", record, half)
	}
}

// mayDie ends the manager where the script says so: nothing is written after such a call.
func (w witness) mayDie(err error) error {
	if errors.Is(err, errDies) {
		w.story.writes.Kill()
	}
	return err
}

// sever cuts the endpoint off, and returns what brings it back.
func (s *story) sever() (restore func()) {
	set := func(cut bool) {
		s.cut.Store(cut)
		s.platform.SetReachable(!cut)
	}
	set(true)
	return func() { set(false) }
}

// GetClient implements machine.Workload.
func (s *story) GetClient(context.Context, client.ObjectKey) (client.Client, error) {
	if s.workload == nil {
		return nil, errors.New("the workload cluster does not answer")
	}
	return s.workload, nil
}

// Watch implements machine.Workload. A story passes by itself.
func (s *story) Watch(context.Context, client.ObjectKey, clustercache.Watcher) error { return nil }

// GetClusterSource implements machine.Workload.
func (s *story) GetClusterSource(string, func(context.Context, client.Object) []ctrl.Request, ...clustercache.GetClusterSourceOption) source.Source {
	return nil
}
