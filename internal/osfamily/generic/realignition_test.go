// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package generic_test

import (
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignitionnode/ignitionnodetest"
)

// The programs that read a bundle on the node judge it here: Ignition applies it to a folder, kubeadm reads the
// configuration that it finds there. Whatever they do not like would otherwise be seen on a console only.
func TestRealProgramsAcceptEveryBundle(t *testing.T) { ignitionnodetest.RunReal(t, additionsSuite()) }

func realPrograms(t *testing.T) ignitionnodetest.Programs {
	t.Helper()
	return ignitionnodetest.RealPrograms(t)
}
