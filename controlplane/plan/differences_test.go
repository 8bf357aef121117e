// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"testing"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// A machine that was made to restore a cluster is as declared: replacing it for that would throw the restored data away.
func TestWhatBelongsToOneMachineIsNoDifference(t *testing.T) {
	restored := bootstrapv1.IngotConfigSpec{Role: bootstrapv1.RoleInit, RestoreFrom: bootstrapv1.RestoreReference{Name: "demo-restore"}}
	if list := plan.Differences(plan.Desired{}, plan.Machine{Config: &restored}); len(list) > 0 {
		t.Errorf("a restored machine differs from what is wanted: %q", list)
	}
}
