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

// Backups answers for what backs etcd up: with State, once it is asked for a backup. The zero value has every backup at once.
// It is safe for concurrent use.
type Backups struct {
	mu    sync.Mutex
	state backup.State
	asked []backup.Request
}

// Be has every backup be in a state from now on; nil is done.
func (b *Backups) Be(state backup.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state = state
}

// Asked are the backups that were to be made.
func (b *Backups) Asked() []backup.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]backup.Request{}, b.asked...)
}

// Ensure implements controller.Backups.
func (b *Backups) Ensure(_ types.NamespacedName, r backup.Request) backup.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, r)
	if b.state == nil {
		return backup.Done{Manifest: store.Manifest{Name: r.Cluster.String() + "/snapshot", Time: time.Now(), Revision: 1, SizeBytes: 1}}
	}
	return b.state
}

// Look implements controller.Backups.
func (b *Backups) Look(types.NamespacedName, backup.Request) backup.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.asked) == 0 {
		return nil
	}
	return b.state
}

// Forget implements controller.Backups.
func (b *Backups) Forget(types.NamespacedName) {}
