// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/time/rate"
	"k8s.io/utils/ptr"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// defaultUrgentPercent is the part of an endpoint's requests that is kept for what is urgent unless the endpoint says otherwise.
const defaultUrgentPercent = 20

// turnstile lets so many exchanges per second through as the budget of the endpoint allows, and keeps a share of them for
// what is urgent. The zero value lets everything through.
type turnstile struct {
	mu sync.Mutex
	// all is passed by everything, and ordinary before it by what is not urgent; nil without a limit.
	all, ordinary *rate.Limiter
}

// limit takes the budget of the endpoint, which may change at any time.
func (t *turnstile) limit(budget ingotv1.EndpointBudget) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if budget.RequestsPerSecond == nil {
		t.all, t.ordinary = nil, nil
		return
	}
	most := *budget.RequestsPerSecond
	rest := max(1, most*(100-ptr.Deref(budget.UrgentRequestsPercent, defaultUrgentPercent))/100)
	t.all, t.ordinary = limited(t.all, most), limited(t.ordinary, rest)
}

// limited returns a limiter with a limit, the same one while that does not change.
func limited(current *rate.Limiter, perSecond int32) *rate.Limiter {
	if current != nil && current.Burst() == int(perSecond) {
		return current
	}
	return rate.NewLimiter(rate.Limit(perSecond), int(perSecond))
}

// pass waits for the turn of one exchange.
func (t *turnstile) pass(ctx context.Context) error {
	t.mu.Lock()
	all, ordinary := t.all, t.ordinary
	t.mu.Unlock()
	for _, limiter := range []*rate.Limiter{ordinary, all} {
		if limiter == nil || limiter == ordinary && platform.IsUrgent(ctx) {
			continue
		}
		if err := limiter.Wait(ctx); err != nil {
			return fmt.Errorf("%w: spec.budget.requestsPerSecond leaves none: %w", platform.ErrNoTurn, err)
		}
	}
	return nil
}
