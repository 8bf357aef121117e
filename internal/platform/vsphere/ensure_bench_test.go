// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"strings"
	"testing"
)

// BenchmarkEnsure measures what a pass costs over a machine that is there and to which nothing happens. Its bootstrap data is as
// large as that of a control plane node.
func BenchmarkEnsure(b *testing.B) {
	l := newLab(b)
	p := fresh(b, l.door(b))
	req := l.request(b, p)
	req.Bootstrap.Data = []byte(strings.Repeat("what a machine reads at its first boot, and only then\n", 800))
	runs(b, p, req)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Ensure(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}
