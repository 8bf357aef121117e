// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import "testing"

// An endpoint that has fallen silent holds whoever asks it until its session is given up. The others must find workers.
func TestDoors(t *testing.T) {
	d := doors{limit: 2}
	enter := func(endpoint string, want bool) {
		t.Helper()
		if got := d.enter(endpoint); got != want {
			t.Errorf("entering %s: %t", endpoint, got)
		}
	}
	enter("silent", true)
	enter("silent", true)
	enter("silent", false)
	enter("good", true)
	d.leave("silent")
	enter("silent", true)
	enter("silent", false)
	for range 2 {
		d.leave("silent")
	}
	d.leave("good")
	if len(d.inside) > 0 {
		t.Errorf("somebody is left inside: %v", d.inside)
	}
	var open doors
	for range 100 {
		if !open.enter("any") {
			t.Fatal("without a limit somebody is kept out")
		}
	}
}
