// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	ctrl "sigs.k8s.io/controller-runtime"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

const (
	// checkEvery is the safety net for an endpoint that answers; a lost session is reported by an event.
	checkEvery = 5 * time.Minute
	// retryEvery is how often an endpoint that does not answer is asked again.
	retryEvery = 10 * time.Second
	// checkTimeout bounds one check.
	checkTimeout = 20 * time.Second
)

// connect keeps the session open and reports whether the endpoint answers. It asks the endpoint only when it is time to,
// or when something happened to the session. An error means that the management cluster did not answer.
func (r *Reconciler) connect(ctx context.Context, endpoint *ingotv1.PlatformEndpoint, known *notes) (flow.Outcome, error) {
	if endpoint.Spec.ManagementClusterID == "" {
		return flow.Stall(ingotv1.PlatformEndpointInvalidReason, "the endpoint was deleted before it had a management cluster id"), nil
	}
	secret, unusable, err := r.credentials(ctx, endpoint)
	if err != nil {
		return flow.Outcome{}, err
	}
	if unusable != "" {
		// A session that is open goes on with what it has. The Secret is watched; the wait is for those that cannot be.
		return flow.Wait(ingotv1.PlatformEndpointCredentialsReason, unusable, checkEvery), nil
	}
	open, err := r.Sessions.Apply(endpoint, secret)
	if err != nil {
		return flow.Stall(ingotv1.PlatformEndpointInvalidReason, err.Error()), nil
	}
	told := known.check(r.now(), open, func() answer {
		told := ask(ctx, open)
		told.circuitOpen = r.Sessions.CircuitOpen(endpoint.Name)
		return told
	})
	if told.err == nil {
		endpoint.Status.Version = told.version
		setCapacity(endpoint, told.capacity)
	}
	return told.outcome(known.nextCheck().Sub(r.now())), nil
}

// answer is what an endpoint said when it was asked.
type answer struct {
	version string
	// capacity is nil where the endpoint did not tell.
	capacity *platform.Capacity
	err      error
	// circuitOpen is whether it is not asked about machines, because it left too much unanswered.
	circuitOpen bool
}

func ask(ctx context.Context, open session.Session) answer {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	version, err := open.Check(ctx)
	if err != nil {
		return answer{err: err}
	}
	told := answer{version: version}
	if reporter, can := platform.As[platform.CapacityReporter](open); can {
		capacity, err := reporter.Capacity(ctx)
		if err != nil {
			// What a host has is not worth calling it unready for: it is asked again with the next check.
			ctrl.LoggerFrom(ctx).Info("the endpoint does not tell its capacity", "reason", err.Error())
			return told
		}
		told.capacity = &capacity
	}
	return told
}

// interval is how long an answer is good for.
func (a answer) interval() time.Duration {
	switch {
	case a.circuitOpen:
		return retryEvery
	case a.err == nil, errors.Is(a.err, platform.ErrUnsupported), errors.Is(a.err, platform.ErrInvalid):
		return checkEvery
	default:
		return retryEvery
	}
}

// outcome says what an answer means, and that it is asked for again after a time.
func (a answer) outcome(after time.Duration) flow.Outcome {
	switch {
	case a.circuitOpen:
		return flow.Wait(ingotv1.PlatformEndpointCircuitOpenReason, a.trouble()+"; nothing else is asked of it until it does", after)
	case a.err == nil:
		return flow.Advance(ingotv1.PlatformEndpointReadyReason, "")
	case errors.Is(a.err, platform.ErrUnsupported), errors.Is(a.err, platform.ErrInvalid):
		return flow.Wait(ingotv1.PlatformEndpointInvalidReason, a.err.Error(), after)
	default:
		return flow.Wait(ingotv1.PlatformEndpointUnreachableReason, a.err.Error(), after)
	}
}

// trouble says why the circuit stays open.
func (a answer) trouble() string {
	if a.err != nil {
		return "the endpoint does not answer: " + a.err.Error()
	}
	return "the endpoint answers when it is asked whether it is there, and leaves calls about machines unanswered"
}

// setCapacity reports what the endpoint has. A quantity that is written in another way is no news to write.
func setCapacity(endpoint *ingotv1.PlatformEndpoint, told *platform.Capacity) {
	if told == nil {
		return
	}
	endpoint.Status.Capacity = ingotv1.ObservedCapacity{CPUs: max(told.CPUs, 0)}
	if told.MemoryBytes > 0 {
		endpoint.Status.Capacity.Memory = resource.NewQuantity(told.MemoryBytes, resource.BinarySI)
	}
}
