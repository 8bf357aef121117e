// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/platformtest"
)

// The port's law must hold on every platform, or the reconcilers that rely on it are wrong on one.
func TestConformance(t *testing.T) {
	t.Parallel()
	platformtest.Run(t, newLab(t))
}

func encodeHex(b []byte) string { return hex.EncodeToString(b) }

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
