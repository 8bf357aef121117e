// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package locks lets one call at a time work on the same thing, whatever else goes on. It knows nothing of what is locked.
package locks

import (
	"context"
	"fmt"
	"sync"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Keyed lets one call at a time work on the same key. The zero value is ready to use.
type Keyed struct {
	mu   sync.Mutex
	held map[string]*keyedLock
}

type keyedLock struct {
	token chan struct{}
	users int
}

// Lock waits for the key and returns the function that gives it back.
func (k *Keyed) Lock(ctx context.Context, key string) (unlock func(), err error) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[string]*keyedLock{}
	}
	l := k.held[key]
	if l == nil {
		l = &keyedLock{token: make(chan struct{}, 1)}
		k.held[key] = l
	}
	l.users++
	k.mu.Unlock()

	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.held, key)
		}
	}
	select {
	case l.token <- struct{}{}:
		return func() { <-l.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, fmt.Errorf("%w: %w", platform.ErrNotAsked, ctx.Err())
	}
}
