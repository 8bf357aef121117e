// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"testing"
	"time"
)

// The stream is asked every second while somebody needs vCenter's word that nothing has come back, and not a moment longer: that
// is a call a second for the whole vCenter. What was told is kept for those who come late, as long as a pass may take.
func TestDeparturesAskForWhatIsNeeded(t *testing.T) {
	var d departures
	begin := time.Now()
	at := func(after time.Duration) time.Time { return begin.Add(after) }
	expect := func(what string, now, heard time.Duration, asks, known bool) {
		t.Helper()
		if got := d.any(at(now), at(heard)); got != asks {
			t.Errorf("%s: the stream is asked often: %t, want %t", what, got, asks)
		}
		if _, is := d.get("u"); is != known {
			t.Errorf("%s: the end is known: %t, want %t", what, is, known)
		}
	}
	expect("nothing was removed", 0, 0, false, false)
	d.tell("u", ref{kind: kindTask, value: "task-1"}, at(0))
	expect("the first look is near", time.Second, 0, true, true)
	expect("the first look is late", departureAge, departureAge, false, true)
	d.say("u", at(2*departureAge))
	expect("vCenter has not answered since the first look", 2*departureAge, 2*departureAge+absenceSpan/2, true, true)
	expect("vCenter has answered", 2*departureAge+time.Second, 2*departureAge+absenceSpan, false, true)
	expect("nobody comes any more", departureKept, departureKept, false, false)
}
