// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Patch changes metadata and spec of an object by a merge patch, as a user would.
func Patch[T client.Object](tb testing.TB, c client.Client, object T, change func(T)) {
	tb.Helper()
	patch(tb, object, change, func(p client.Patch) error { return c.Patch(tb.Context(), object, p) })
}

// PatchStatus changes the status of an object, as another controller would.
func PatchStatus[T client.Object](tb testing.TB, c client.Client, object T, change func(T)) {
	tb.Helper()
	patch(tb, object, change, func(p client.Patch) error { return c.Status().Patch(tb.Context(), object, p) })
}

func patch[T client.Object](tb testing.TB, object T, change func(T), send func(client.Patch) error) {
	tb.Helper()
	before, ok := object.DeepCopyObject().(T)
	if !ok {
		tb.Fatalf("%T copies to another type", object)
	}
	change(object)
	if err := send(client.MergeFrom(before)); err != nil {
		tb.Fatalf("patching %T %s: %v", object, object.GetName(), err)
	}
}
