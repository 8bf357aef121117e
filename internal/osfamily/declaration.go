// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamily

import "k8s.io/apimachinery/pkg/runtime/schema"

// Declarer is a Family whose machines read what the control plane runs, when they join it, from objects of their cluster
// instead of from their machine configuration. What the objects say is what the first machine was; it must become what the
// next one is, before that is told to join.
type Declarer interface {
	// Declarations lists what such objects must say before a machine with the input joins the control plane. It is a pure
	// function of an input that Render accepts.
	Declarations(in Input) []Declaration
}

// Declaration is what one object of the workload cluster must say. A cluster without the object needs no declaration.
type Declaration struct {
	// GroupVersionKind, Namespace and Name are those of the object.
	GroupVersionKind schema.GroupVersionKind
	Namespace, Name  string
	// Declare changes an object that was read, and leaves alone what it does not speak of. An object that says it already
	// stays as it is. An error says what about the object cannot be understood.
	Declare func(object map[string]any) error
}
