// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

// CarryOut does to the World what a step does to the cluster at once.
func CarryOut(w *World, step Step) {
	c := course{*w}
	c.carryOut(step)
	*w = c.World
}

// Roomiest is the failure domain where the next Machine goes.
func Roomiest(w World) string { return w.roomiest() }
