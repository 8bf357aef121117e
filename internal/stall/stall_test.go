// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package stall_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/stall"
)

// However long something takes, it goes on while there is progress, and not a moment longer than the bound without.
func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, watch := stall.New(t.Context(), time.Minute)
		defer watch.Stop()
		for range 100 {
			time.Sleep(59 * time.Second)
			watch.Progress()
		}
		if ctx.Err() != nil {
			t.Fatalf("it ended although there was progress: %v", context.Cause(ctx))
		}
		time.Sleep(61 * time.Second)
		if err := stall.Cause(ctx, errors.New("read failed")); !errors.Is(err, stall.Err) {
			t.Errorf("it ended with %v", err)
		}
	})
}

// Who is told to stop by the caller does not say that something has stalled.
func TestCause(t *testing.T) {
	t.Parallel()
	parent, cancel := context.WithCancel(t.Context())
	ctx, watch := stall.New(parent, time.Minute)
	defer watch.Stop()
	failed := errors.New("read failed")
	if err := stall.Cause(ctx, failed); !errors.Is(err, failed) {
		t.Errorf("the error of a context that lasts is %v", err)
	}
	cancel()
	if err := stall.Cause(ctx, failed); !errors.Is(err, context.Canceled) || errors.Is(err, stall.Err) {
		t.Errorf("the error of a cancelled context is %v", err)
	}
}
