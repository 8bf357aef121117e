// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

func (s *story) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.namespace, Name: name}
}

// create creates an object, in the story's namespace if its kind has one.
func (s *story) create(object client.Object) {
	s.Helper()
	if namespaced, err := s.client.IsObjectNamespaced(object); err != nil {
		s.Fatal(err)
	} else if namespaced {
		object.SetNamespace(s.namespace)
	}
	if err := s.client.Create(s.Context(), object); err != nil {
		s.Fatalf("creating %T: %v", object, err)
	}
}

// refresh reads an object as it is now.
func (s *story) refresh(object client.Object) {
	s.Helper()
	if err := s.client.Get(s.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		s.Fatal(err)
	}
}

func (s *story) delete(object client.Object) {
	s.Helper()
	if err := s.client.Delete(s.Context(), object); err != nil {
		s.Fatalf("deleting %T: %v", object, err)
	}
}

// patch changes metadata and spec of an object.
func patch[T client.Object](s *story, object T, change func(T)) {
	s.Helper()
	builder.Patch(s, s.client, object, change)
}

// patchStatus changes the status of an object.
func patchStatus[T client.Object](s *story, object T, change func(T)) {
	s.Helper()
	builder.PatchStatus(s, s.client, object, change)
}
