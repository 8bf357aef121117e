// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// Restores answers for what restores etcd, once it is asked for a restore. The zero value restores at once.
type Restores struct{ answers[backup.RestoreRequest] }

// Ensure implements controller.Restores.
func (b *Restores) Ensure(key types.NamespacedName, r backup.RestoreRequest) backup.State {
	b.ask(r)
	return b.Look(key, r)
}

// Look implements controller.Restores.
func (b *Restores) Look(_ types.NamespacedName, r backup.RestoreRequest) backup.State {
	asked, state := b.look()
	switch {
	case !asked:
		return nil
	case state != nil:
		return state
	}
	if r.Upload {
		return backup.Restored{Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("restored " + r.Snapshot)), nil }}
	}
	return backup.Restored{Restore: osfamily.Restore{Files: []osfamily.RestoreFile{{
		Path: osfamily.RestoreFolder + "/member/snap/db", URL: "https://restored.example/token/" + r.Snapshot, SHA512: strings.Repeat("0", 128), SizeBytes: 1,
	}}}}
}

// Forget implements controller.Restores.
func (b *Restores) Forget(types.NamespacedName) error {
	b.forget()
	return nil
}
