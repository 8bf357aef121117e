// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cel asks a real API server what Ingot's CRDs and admission policies accept, refuse and default. The cases are
// in testdata, one file per kind; every rule in a CRD must have a case that it refuses. What controllers do with
// accepted objects is tested beside the controllers.
package cel
