// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// A copy is removed while another manager may be about to clone it, by what it knows from before. A linked clone whose parent is
// destroyed in that moment has lost its disk, and no call of vCenter destroys something only if nobody clones it. So a copy is
// withdrawn from use first, by steps that nobody ever takes back:
//
//  1. It is a virtual machine again and no template: those cannot be changed.
//  2. In one change it gets another instance UUID, another mark and another name. Nobody finds it any more as the copy, and whoever
//     needs the image makes a new one in its place.
//  3. Its snapshots are removed. A linked clone names the snapshot that it is a layer over: whoever found the copy before is refused,
//     and looks again. Whoever seals it once more because he found it before the second step finds it no more, and so does
//     nobody know that snapshot.
//  4. Clones that are under way are read, and then all virtual machines. No layer over it will ever be that is not among them.
//  5. It is destroyed if there is none. Otherwise it stays, for whoever releases the image after the last of them.
//
// A manager that dies between two steps, or does not hear the answer to one, leaves a copy that is whole, or one that says that it
// is withdrawn. Whoever releases the image goes on with either. A whole clone needs no parent: one that was begun and is not seen
// fails, or holds up the destruction.

// withdraw takes the first two steps: it makes a copy something that nobody finds.
func (s *Session) withdraw(ctx context.Context, c *client, id platform.ImageIdentity, copied *source) error {
	if copied.template {
		if err := s.unseal(ctx, c, id, copied.ref); err != nil {
			return fmt.Errorf("the copy of the image cannot be unsealed: %w", err)
		}
	}
	task, err := c.identify(ctx, copied.ref, withdrawnName(id, copied.ref), withdrawnUUID(id, copied.ref), map[string]string{copyKey: withdrawnMark(id)})
	if err == nil {
		err = s.await(ctx, c, task)
	}
	if err != nil && !errors.Is(err, errNotFound) {
		return fmt.Errorf("the copy of the image cannot be withdrawn: %w", err)
	}
	return nil
}

// unseal makes a copy a virtual machine, on a host and in a pool where it could run. It never does. Another manager may have been
// faster.
func (s *Session) unseal(ctx context.Context, c *client, id platform.ImageIdentity, copied ref) error {
	at, err := whereOf(id.Storage, "", "")
	if err != nil {
		return err
	}
	datastore, err := s.locate(ctx, c, "the storage", at.datastore)
	if err != nil {
		return err
	}
	host, pool, err := s.hostOf(ctx, c, platform.ImageRequest{ImageIdentity: id, ResourcePools: s.config.ImagePools[at.datacenter]}, datastore)
	if err != nil {
		return err
	}
	failed := c.markAsVirtualMachine(ctx, copied, pool, host)
	if failed == nil || errors.Is(failed, platform.ErrUnreachable) {
		return failed
	}
	if now, err := c.source(ctx, copied); err == nil && (now == nil || !now.template) {
		return nil
	}
	return failed
}

// removeWithdrawn takes the other steps. What stands there is read anew. One that is gone is removed.
func (s *Session) removeWithdrawn(ctx context.Context, c *client, id platform.ImageIdentity, left ref) error {
	found, err := c.source(ctx, left)
	if err != nil || found == nil {
		return err
	}
	if !found.withdrawnFrom(id) {
		return fmt.Errorf("%w: virtual machine %s is no withdrawn copy of %s any more; nothing was changed", platform.ErrForeign, found.name, id.SHA256)
	}
	if !found.snapshot.zero() {
		task, err := c.removeSnapshots(ctx, left)
		if err == nil {
			err = s.await(ctx, c, task)
		}
		if err != nil {
			return fmt.Errorf("the snapshot of the withdrawn copy %s: %w", found.name, err)
		}
	}
	read, err := c.ask(ctx, question{clones: true})
	if err != nil {
		return err
	}
	all, err := c.list(ctx)
	if err != nil {
		return err
	}
	user, _, _ := usesOf(id, all)
	if slices.ContainsFunc(read.clones, func(clone cloning) bool { return clone.from == left }) {
		user = cmp.Or(user, "it is being cloned")
	}
	if user != "" {
		return fmt.Errorf("%w: %s; the copy %s was withdrawn and goes with the last of them", platform.ErrInUse, user, found.name)
	}
	task, err := c.destroy(ctx, left)
	if err == nil {
		err = s.await(ctx, c, task)
	}
	if errors.Is(err, errNotFound) {
		return nil // another manager was faster
	}
	return err
}

// usesOf tells of all virtual machines which one is a layer over a copy of an image, in words and empty if there is none, which are
// imports of the image, and which are copies of it that were withdrawn.
func usesOf(id platform.ImageIdentity, all []vm) (user string, imports, withdrawn []ref) {
	for _, m := range all {
		if m.mark.image == id.SHA256 && m.mark.storage == id.Storage {
			user = fmt.Sprintf("the disks of virtual machine %s are layers over it", m.name)
		}
		if m.imports(id) {
			imports = append(imports, m.ref)
		}
		if m.withdrawnFrom(id) {
			withdrawn = append(withdrawn, m.ref)
		}
	}
	return user, imports, withdrawn
}

// withdrawnFrom tells whether a virtual machine is a copy of an image that was withdrawn, and not what a person has cloned from it.
func (m *vm) withdrawnFrom(id platform.ImageIdentity) bool {
	return m.mark.copyOf == withdrawnMark(id) && m.instanceUUID == withdrawnUUID(id, m.ref)
}
