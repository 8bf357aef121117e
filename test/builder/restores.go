// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// Restores answers for what restores etcd: with State, once it is asked for a restore. The zero value restores at once. It is
// safe for concurrent use.
type Restores struct {
	mu    sync.Mutex
	state backup.State
	asked []backup.RestoreRequest
}

// Be has every restore be in a state from now on; nil is restored.
func (b *Restores) Be(state backup.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state = state
}

// Asked are the restores that were to be made since one was forgotten last.
func (b *Restores) Asked() []backup.RestoreRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]backup.RestoreRequest{}, b.asked...)
}

// Ensure implements controller.Restores.
func (b *Restores) Ensure(key types.NamespacedName, r backup.RestoreRequest) backup.State {
	b.mu.Lock()
	b.asked = append(b.asked, r)
	b.mu.Unlock()
	return b.Look(key, r)
}

// Look implements controller.Restores.
func (b *Restores) Look(_ types.NamespacedName, r backup.RestoreRequest) backup.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(b.asked) == 0:
		return nil
	case b.state != nil:
		return b.state
	}
	return backup.Restored{Restore: osfamily.Restore{Files: []osfamily.RestoreFile{{
		Path: osfamily.RestoreFolder + "/member/snap/db", URL: "https://restored.example/token/" + r.Snapshot, SHA512: strings.Repeat("0", 128), SizeBytes: 1,
	}}}}
}

// Forget implements controller.Restores.
func (b *Restores) Forget(types.NamespacedName) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = nil
	return nil
}
