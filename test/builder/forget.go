// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"context"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// ForgetWhenDone removes, once the test has ended, what it leaves of the kinds that reconcilers and stories list without a
// namespace: what is in the namespace, or is or names an object that is called like it. In a bare API server nobody else
// does, and every later story would read all of it at each of its looks.
func ForgetWhenDone(tb testing.TB, c client.Client, namespace string) {
	tb.Helper()
	ctx := context.WithoutCancel(tb.Context())
	tb.Cleanup(func() {
		for _, list := range []client.ObjectList{&infrav1.IngotMachineList{}, &ingotv1.ImageReplicaList{}, &ingotv1.NodeImageList{}, &ingotv1.PlatformEndpointList{}} {
			err := c.List(ctx, list)
			if err == nil {
				err = meta.EachListItem(list, func(o runtime.Object) error { return forget(ctx, c, o, namespace) })
			}
			if err != nil {
				tb.Errorf("removing what the test has left: %v", err)
			}
		}
	})
}

func forget(ctx context.Context, c client.Client, listed runtime.Object, namespace string) error {
	object, is := listed.(client.Object)
	if !is {
		return nil
	}
	belongs := object.GetNamespace() == namespace || object.GetNamespace() == "" && strings.HasPrefix(object.GetName(), namespace)
	if replica, is := object.(*ingotv1.ImageReplica); is {
		belongs = strings.HasPrefix(replica.Spec.EndpointName, namespace)
	}
	if !belongs {
		return nil
	}
	if err := c.Delete(ctx, object); err != nil || len(object.GetFinalizers()) == 0 {
		return client.IgnoreNotFound(err)
	}
	return client.IgnoreNotFound(c.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))))
}
