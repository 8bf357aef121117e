// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package inventory decides what on an endpoint belongs to whom: which IngotMachine an instance was made for, which
// machines need a copy of an image, and which of the things that are ours belong to nobody. Its functions are pure: they
// take what was listed and return a judgement. Nothing here lists, writes or removes.
package inventory
