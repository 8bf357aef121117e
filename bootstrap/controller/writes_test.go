// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/testr"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var errCrash = errors.New("the manager was killed")

// writes counts the writes that go through a client, and can end them with a crash: from then on every write fails,
// because a killed process does nothing more.
type writes struct {
	mu sync.Mutex
	// done are the writes so far.
	done []string
	// crashAt is the number of the write at which everything ends, crashOn its name; 0 and empty mean never.
	crashAt int
	crashOn string
	// lost is whether that write still reaches the API server, and only its answer is lost.
	lost bool
	dead bool
	// before runs once before the next write.
	before func()
}

func (w *writes) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.done)
}

func (w *writes) crashed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

// write runs one write under the rules of the story.
func (w *writes) write(name string, do func() error) error {
	if before := w.before; before != nil {
		w.before = nil
		before()
	}
	w.mu.Lock()
	w.done = append(w.done, name)
	wasDead := w.dead
	w.dead = wasDead || len(w.done) == w.crashAt || name == w.crashOn
	isDead := w.dead
	w.mu.Unlock()
	switch {
	case !isDead:
		return do()
	case !wasDead && w.lost:
		return errors.Join(do(), errCrash)
	default:
		return errCrash
	}
}

// through returns a client whose writes are counted.
func (w *writes) through(c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return w.write(fmt.Sprintf("create %T", o), func() error { return c.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return w.write(fmt.Sprintf("update %T", o), func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return w.write(fmt.Sprintf("patch %T", o), func() error { return c.Patch(ctx, o, p, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return w.write("apply", func() error { return c.Apply(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return w.write(fmt.Sprintf("delete %T", o), func() error { return c.Delete(ctx, o, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return w.write(fmt.Sprintf("patch %s of %T", sub, o), func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return w.write(fmt.Sprintf("update %s of %T", sub, o), func() error { return c.SubResource(sub).Update(ctx, o, opts...) })
		},
	})
}

func testLogger(t *testing.T) logr.Logger {
	t.Helper()
	return testr.NewWithOptions(t, testr.Options{Verbosity: -10})
}
