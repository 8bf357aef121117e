// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package admission judges configs when they are written: each is rendered as a machine would get it, with placeholders for
// all that is secret or not known yet, and what no machine could be made from is refused at the field that is wrong. Schema
// and CEL come first; this is for what only a renderer can tell, such as a snippet in another language. The judge is pure.
// What depends on objects that may come later, such as Secrets and images, is never judged here: the reconciler stalls on it
// (reason RenderFailed), as it does on whatever came past this package.
package admission
