// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
)

// answers is what a fake answers with, and what it was asked for. It is safe for concurrent use.
type answers[R any] struct {
	mu    sync.Mutex
	state backup.State
	asked []R
}

// Be has everything be in a state from now on; nil is done.
func (a *answers[R]) Be(state backup.State) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state = state
}

// Asked is what was to be made, since something was forgotten last.
func (a *answers[R]) Asked() []R {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]R{}, a.asked...)
}

// ask notes what is asked for, and returns the state that everything is to be in.
func (a *answers[R]) ask(r R) backup.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r)
	return a.state
}

// look returns whether anything was asked for, and the state that everything is to be in.
func (a *answers[R]) look() (bool, backup.State) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked) > 0, a.state
}

func (a *answers[R]) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = nil
}

// Backups answers for what backs etcd up, once it is asked for a backup. The zero value has every backup at once.
type Backups struct{ answers[backup.Request] }

// Ensure implements controller.Backups.
func (b *Backups) Ensure(_ types.NamespacedName, r backup.Request) backup.State {
	if state := b.ask(r); state != nil {
		return state
	}
	return backup.Done{Manifest: store.Manifest{Name: r.Cluster.String() + "/snapshot", Time: time.Now(), Revision: 1, SizeBytes: 1}}
}

// Look implements controller.Backups.
func (b *Backups) Look(types.NamespacedName, backup.Request) backup.State {
	if asked, state := b.look(); asked {
		return state
	}
	return nil
}

// Forget implements controller.Backups.
func (b *Backups) Forget(types.NamespacedName) {}
