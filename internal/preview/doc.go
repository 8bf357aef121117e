// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package preview is what ingotctl plan does: it tells what becomes of a control plane, as it is declared or as a change
// would declare it. A change is sent to the API server as a dry run, so that defaults and admission apply, and takes the
// place of what is there in the snapshot (controlplane/controller); the planner that the controller uses foresees what follows
// (controlplane/plan); and a Report says so to people and programs. The package writes nothing to any cluster, and decides
// nothing.
package preview
