// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A pass over a version that we have replaced makes a second event of one start, and reads the Secret once more. A pass
// that is left out for a version that nobody replaced is never made up for: no event comes.
func TestSuperseded(t *testing.T) {
	var written superseded
	key, other := client.ObjectKey{Name: "a"}, client.ObjectKey{Name: "b"}
	want := func(key client.ObjectKey, version string, want bool) {
		t.Helper()
		if got := written.has(key, version); got != want {
			t.Errorf("%s in version %s: got %t", key.Name, version, got)
		}
	}
	want(key, "1", false)
	written.add(key, "1", "2") // a pass writes twice
	written.add(key, "2", "3")
	written.add(key, "3", "3") // and a third time, which changes nothing
	want(other, "1", false)
	want(key, "1", true)
	want(key, "2", true)
	want(key, "3", false)
	if len(written.versions) > 0 {
		t.Errorf("what the cache has passed is still kept: %v", written.versions)
	}
	written.add(key, "3", "4")
	written.forget(key)
	want(key, "3", false)
}
