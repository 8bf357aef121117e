// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

// While Cluster API drains a Node it writes its Machine many times. Each of these wakes would ask the platform about an instance
// that is to stay as it is until our own object is deleted. Whatever is told of a Machine that stays, or is gone, is heard.
func TestMachinesOnTheirWayOutWakeNobody(t *testing.T) {
	t.Parallel()
	now := metav1.NewTime(time.Now())
	stays, leaves := &clusterv1.Machine{}, &clusterv1.Machine{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}}
	wakes := unlessLeaving()
	for what, heard := range map[string]struct{ got, want bool }{
		"a Machine that stays is changed":    {wakes.Update(event.UpdateEvent{ObjectOld: stays, ObjectNew: stays}), true},
		"a Machine is to go":                 {wakes.Update(event.UpdateEvent{ObjectOld: stays, ObjectNew: leaves}), false},
		"a Machine that is to go is changed": {wakes.Update(event.UpdateEvent{ObjectOld: leaves, ObjectNew: leaves}), false},
		"a manager starts":                   {wakes.Create(event.CreateEvent{Object: leaves}), true},
		"a Machine is gone":                  {wakes.Delete(event.DeleteEvent{Object: leaves}), true},
	} {
		if heard.got != heard.want {
			t.Errorf("%s: heard is %t, want %t", what, heard.got, heard.want)
		}
	}
}
