// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package etcdtest

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

const (
	// connected is how long members have to be connected to each other, and a little more, until etcd counts on them and lets
	// one of them be removed. On a machine that is busy they lose each other without any failure.
	connected = 6 * time.Second
	// patience is how long a member may take to be removed.
	patience = 2 * time.Minute
)

// Remover removes members.
type Remover interface {
	Remove(ctx context.Context, member plan.Member) error
}

// Remove removes a member as the reconciler does: where etcd says that its members have not been connected for long enough, it
// is tried again. Whatever else goes wrong fails the test.
func Remove(t testing.TB, cluster Remover, member plan.Member) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(connected) {
		err := cluster.Remove(t.Context(), member)
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), rpctypes.ErrUnhealthy.Error()) || time.Now().After(deadline) {
			t.Fatal(err)
		}
		t.Logf("etcd removes nobody yet: %v", err)
	}
}
