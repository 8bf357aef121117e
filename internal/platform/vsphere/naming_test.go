// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// A name is for people, and chosen by them. A machine is found by its uuid alone, whatever its name and whoever else has it.
func TestChosenName(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	req := l.request(t, p)
	req.NameOnPlatform = "prod_cp.1"
	if m := l.made(t, p, req); m.Name != req.NameOnPlatform {
		t.Errorf("it is called %s", m.Name)
	}

	// Another machine of ours cannot have the same name in the same folder, and takes nothing from the first.
	other := req
	other.UUID = uuid.NewString()
	until(t, "the name is refused", func() bool {
		_, err := p.Ensure(t.Context(), other)
		return err != nil && strings.Contains(err.Error(), "spec.platform.vsphere.nameTemplate")
	})
	goes(t, p, other.Identity)
	if n := len(l.clones(t, req)); n != 1 {
		t.Errorf("%d virtual machines are left of the first machine", n)
	}
	goes(t, p, req.Identity)

	// The answer to a clone is lost: the name tells whose the virtual machine is that is there, and it is the only one.
	req.UUID = uuid.NewString()
	var lost atomic.Bool
	d.Judge(func(method string) vcenter.Verdict {
		if method == "CloneVM_Task" && !lost.Swap(true) {
			return vcenter.Lose
		}
		return vcenter.Pass
	})
	if m := l.made(t, p, req); m.Name != req.NameOnPlatform || !lost.Load() {
		t.Errorf("it is called %s", m.Name)
	}
	l.Rename(t, req.UUID, "renamed-by-hand")
	goes(t, p, req.Identity)

	// A folder cannot hold a virtual machine beside a folder of the same name: that is said, and not waited for.
	req.UUID, req.NameOnPlatform = uuid.NewString(), "prod"
	check(t, l.MakeFolder(t.Context(), req.NameOnPlatform))
	until(t, "the name is refused", func() bool {
		_, err := p.Ensure(t.Context(), req)
		return errors.Is(err, platform.ErrForeign) && strings.Contains(err.Error(), "a Folder prod already")
	})
	req.NameOnPlatform = strings.Repeat("a", 81)
	l.refuses(t, p, req, platform.ErrInvalid, "81 characters")
	req.NameOnPlatform = "a/b"
	l.refuses(t, p, req, platform.ErrInvalid, "nameTemplate")
}
