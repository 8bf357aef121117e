// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// ErrKilled is what a write returns to a reconciler whose process is dead.
var ErrKilled = errors.New("the manager was killed")

// Writes counts the writes of one manager, and can end it: from then on every write fails, because a killed process does
// nothing more. The zero value counts and ends nothing. It is safe for concurrent use.
type Writes struct {
	// KillAt is the number of the write at which the manager dies, counted from 1; 0 means never.
	KillAt int
	// KillOn is the name of the write at which the manager dies, as Done lists it; empty means never.
	KillOn string
	// Lost is whether that write still reaches the API server, and only its answer is lost.
	Lost bool
	// Judge is told the name of each write before it is done, and says whether the manager dies at it, and whether the
	// write still reaches the API server; nil lets it live.
	Judge func(name string) (dies, reaches bool)
	// Before runs once, before the next write.
	Before func()

	mu   sync.Mutex
	done []string
	dead bool
}

// Kill ends the manager between two writes.
func (w *Writes) Kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
}

// Killed is whether the manager is dead.
func (w *Writes) Killed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

// Count is how many writes there were so far, those that failed included.
func (w *Writes) Count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.done)
}

// Done returns the names of the writes so far, those that failed included.
func (w *Writes) Done() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.done)
}

// write runs one write under the rules of the story.
func (w *Writes) write(name string, do func() error) error {
	if before := w.Before; before != nil {
		w.Before = nil
		before()
	}
	dies, reaches := false, w.Lost
	if w.Judge != nil {
		dies, reaches = w.Judge(name)
	}
	w.mu.Lock()
	w.done = append(w.done, name)
	wasDead := w.dead
	w.dead = wasDead || dies || len(w.done) == w.KillAt || name == w.KillOn
	isDead := w.dead
	w.mu.Unlock()
	switch {
	case !isDead:
		return do()
	case !wasDead && reaches:
		return errors.Join(do(), ErrKilled)
	default:
		return ErrKilled
	}
}

// Through returns a client whose writes are counted.
func (w *Writes) Through(c client.WithWatch) client.WithWatch {
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
