// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Patch changes metadata and spec of an object by a merge patch, as a user would.
func Patch[T client.Object](t testing.TB, c client.Client, object T, change func(T)) {
	t.Helper()
	patch(t, object, change, func(p client.Patch) error { return c.Patch(t.Context(), object, p) })
}

// PatchStatus changes the status of an object, as another controller would.
func PatchStatus[T client.Object](t testing.TB, c client.Client, object T, change func(T)) {
	t.Helper()
	patch(t, object, change, func(p client.Patch) error { return c.Status().Patch(t.Context(), object, p) })
}

func patch[T client.Object](t testing.TB, object T, change func(T), send func(client.Patch) error) {
	t.Helper()
	before, ok := object.DeepCopyObject().(T)
	if !ok {
		t.Fatalf("%T copies to another type", object)
	}
	change(object)
	if err := send(client.MergeFrom(before)); err != nil {
		t.Fatalf("patching %T %s: %v", object, object.GetName(), err)
	}
}
