// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Sessions last for weeks. What nobody would tell to be wrong must not be believed for as long: that a datastore is compatible
// with a storage policy, and that a tag does not exist.
func TestKnownForAWhile(t *testing.T) {
	var k known
	now := time.Unix(1_800_000_000, 0)
	gold, tag := fit{"gold", ref{"Datastore", "datastore-1"}}, platform.Tag{Category: "zone", Name: "dmz"}
	k.putPolicy(gold, "id", now)
	k.putTag(tag, tagFound{categories: 1, read: now})
	for _, at := range []struct {
		later       time.Duration
		policy, tag bool
	}{
		{0, true, true},
		{missingAge - 1, true, true},
		{missingAge, true, false},
		{policyAge - 1, true, false},
		{policyAge, false, false},
	} {
		_, policy := k.policy(gold, now.Add(at.later))
		_, known := k.tag(tag, now.Add(at.later))
		if policy != at.policy || known != at.tag {
			t.Errorf("after %s the policy is known: %t, that there is no tag: %t", at.later, policy, known)
		}
	}
	k.putTag(tag, tagFound{ids: []string{"id"}, categories: 1, read: now})
	if _, known := k.tag(tag, now.Add(policyAge)); !known {
		t.Error("a tag that is there is looked for again")
	}
}
