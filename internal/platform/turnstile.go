// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platform

import "context"

type (
	turnstileKey struct{}
	urgentKey    struct{}
)

// WithTurnstile has every exchange with an endpoint that is made under the context wait for its turn. pass waits, and returns
// an error when there will be none before the context ends.
func WithTurnstile(ctx context.Context, pass func(ctx context.Context) error) context.Context {
	return context.WithValue(ctx, turnstileKey{}, pass)
}

// Turn waits until one more exchange with the endpoint may be made. Adapters call it before each exchange that a call of
// the port is made of. What a session does by itself (connecting, listening) has no turnstile on its way and never waits.
// Errors: ErrNoTurn.
func Turn(ctx context.Context) error {
	if pass, is := ctx.Value(turnstileKey{}).(func(context.Context) error); is {
		return pass(ctx)
	}
	return nil
}

// Urgent marks what is done under the context as urgent: a share of what an endpoint may be asked is kept for it.
func Urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

// IsUrgent is whether what is done under the context is urgent.
func IsUrgent(ctx context.Context) bool { return ctx.Value(urgentKey{}) != nil }
