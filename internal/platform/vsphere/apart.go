// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/rules"
)

// ruleTries is how often a change of a rule is tried anew in one call, because somebody else has changed the rules meanwhile.
const ruleTries = 3

// ruleRest is how long a change that failed rests before the first further try.
const ruleRest = 100 * time.Millisecond

const antiAffinityField = "spec.platform.vsphere.antiAffinity"

// ruleName is what the rule of a group is called in each compute cluster. Rules have no place for an owner token: the name is
// all that tells whose they are, so it holds the prefix, and the group is nobody else's.
func ruleName(group string) string { return "ingot-" + group }

// KeepApart implements platform.Separator. There is one anti-affinity rule for each group and compute cluster, and none while
// less than two of the group are in it. What others have put into the rule stays there.
func (s *Session) KeepApart(ctx context.Context, id platform.Identity, others []platform.Identity) error {
	if err := rules.CheckIdentity(id); err != nil {
		return err
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	all, err := s.gathered(ctx, c, id, others)
	if err == nil && len(all) >= leastApart {
		err = s.changeRules(ctx, c, func() []ref { return all }, verify, func(n neighbours) (cluster, ruleChange, error) {
			at, rules, err := n.join(id, others)
			return at, ruleChange{rules: rules}, err
		})
	}
	if errors.Is(err, errNoAccess) {
		// Not told as ErrUnreachable: the vCenter has answered.
		return fmt.Errorf("%w: %s: the session may not read the rules of the cluster, or not change them (%s): "+
			"give the user System.Read and Host.Inventory.EditCluster on the cluster, or remove it", platform.ErrUnsupported, antiAffinityField, err.Error())
	}
	return told(err)
}

// gathered returns the virtual machines of a machine and of others. Of the others, the stream tells of all that there are, and
// is believed: whoever it has not told of yet will look for us. Without it vCenter is asked.
func (s *Session) gathered(ctx context.Context, c *client, id platform.Identity, others []platform.Identity) (all []ref, err error) {
	for _, of := range append([]platform.Identity{id}, others...) {
		found := s.refs(of.UUID)
		_, live := s.mirror.refs(of.UUID)
		if len(found) == 0 && (of == id || !live || s.mirror.silent()) {
			if found, err = c.find(ctx, of.UUID); err != nil {
				return nil, err
			}
		}
		if len(found) == 0 && of == id {
			return nil, fmt.Errorf("%w: the virtual machine is gone", errNotFound)
		}
		all = append(all, found...)
	}
	return all, nil
}

// leaveGroups takes a virtual machine that is about to be destroyed out of the rule that keeps its group apart, and out of the
// group that is bound to hosts. vCenter would do so itself, and leave a rule that keeps nothing apart and a group that is empty.
// Where they cannot be changed that is left to vCenter: a machine that is to go is not held up by a rule. Only while vCenter
// does not answer, or somebody else is changing the rules, is it tried again.
func (s *Session) leaveGroups(ctx context.Context, c *client, m vm) error {
	if m.mark.group == "" && m.mark.hostGroup == "" {
		return nil
	}
	err := s.changeRules(ctx, c, func() []ref { return []ref{m.ref} }, trust, func(n neighbours) (at cluster, next ruleChange, err error) {
		at = n.clusters[n.in[m.ref]]
		next = at.unbound(m.mark.hostGroup, m.ref)
		for _, r := range at.ofGroup(m.mark.group) {
			if slices.Contains(r.vms, m.ref) {
				next.rules = append(next.rules, r.without(m.ref))
			}
		}
		return at, next, nil
	})
	switch {
	case err == nil, errors.Is(err, errNoAccess):
		return nil
	case errors.Is(err, platform.ErrUnreachable), errors.Is(err, errBusy):
		return err
	}
	s.config.Log.Info("Rules and groups are left as they are", "virtualMachine", m.name, "reason", err.Error())
	return nil
}

// faith is whether a change that vCenter has made is looked at once more.
type faith bool

const (
	trust  faith = false
	verify faith = true
)

// changeRules reads virtual machines and their clusters and has rules and groups changed, until nothing is left to change. Two
// managers may do so at the same time, each with what it has read: whoever is overwritten, or finds a rule made or gone, reads
// again. Which virtual machines it is about is asked when nobody else of this session is at it; none means that all is done.
func (s *Session) changeRules(ctx context.Context, c *client, of func() []ref, how faith, plan func(neighbours) (cluster, ruleChange, error)) error {
	unlock, err := s.locks.Lock(ctx, "rules")
	if err != nil {
		return err
	}
	defer unlock()
	vms := of()
	if len(vms) == 0 {
		return nil
	}
	var failed error
	for try, steps := 0, 0; try < ruleTries && steps < 2*ruleTries; steps++ {
		if failed != nil {
			s.pause(ctx, time.Duration(try)*ruleRest)
		}
		n, err := c.neighbours(ctx, vms...)
		if err != nil {
			return err
		}
		at, next, err := plan(n)
		if err != nil || next.none() {
			return err
		}
		task, err := c.changeRules(ctx, at.ref, next)
		if err == nil {
			err = s.await(ctx, c, task)
		}
		switch {
		case err == nil && how == trust && !next.more, errors.Is(err, platform.ErrUnreachable), errors.Is(err, errNoAccess):
			return err
		case err != nil || !next.more:
			try++
		}
		failed = err
	}
	if failed != nil {
		return fmt.Errorf("changing the rules of the cluster: %w", failed)
	}
	return fmt.Errorf("%w: somebody else keeps changing the rules of the cluster", errBusy)
}

// join is what makes a machine and others of its group be kept apart, in the cluster that it runs in.
func (n neighbours) join(id platform.Identity, others []platform.Identity) (at cluster, change []rule, err error) {
	i := slices.IndexFunc(n.vms, func(m vm) bool { return m.instanceUUID == id.UUID })
	if i < 0 {
		return at, nil, fmt.Errorf("%w: the virtual machine is gone", errNotFound)
	}
	self := n.vms[i]
	switch {
	case !self.mark.owns(id):
		return at, nil, fmt.Errorf("%w: virtual machine %s has no owner token of this management cluster; nothing was changed", platform.ErrForeign, self.name)
	case self.mark.group == "":
		return at, nil, fmt.Errorf("%w: virtual machine %s is of no group", platform.ErrInvalid, self.name)
	case n.in[self.ref].zero():
		return at, nil, fmt.Errorf("%w: the session does not see what virtual machine %s runs in", errNoAccess, self.name)
	}
	var members []ref
	for _, m := range n.vms {
		ours := slices.ContainsFunc(append([]platform.Identity{id}, others...), func(o platform.Identity) bool {
			return m.instanceUUID == o.UUID && m.mark.owns(o)
		})
		if ours && m.mark.group == self.mark.group && n.in[m.ref] == n.in[self.ref] && !slices.Contains(members, m.ref) {
			members = append(members, m.ref)
		}
	}
	if len(members) < leastApart {
		return at, nil, nil
	}
	at, is := n.clusters[n.in[self.ref]]
	switch {
	case !is && n.in[self.ref].kind == kindCluster:
		return at, nil, fmt.Errorf("%w: the session does not see the cluster of virtual machine %s", errNoAccess, self.name)
	case !is:
		return at, nil, fmt.Errorf("%w: %s: virtual machine %s runs on a host of its own, beside others of its group: "+
			"put them into a cluster, or remove it", platform.ErrUnsupported, antiAffinityField, self.name)
	case !at.drs:
		return at, nil, fmt.Errorf("%w: %s: DRS is off in cluster %s: turn it on, or remove it", platform.ErrUnsupported, antiAffinityField, at.name)
	}
	change, err = at.together(self.mark.group, members)
	if rest := at.ofGroup(self.mark.group); err == nil && len(change) == 0 && rest[0].off {
		err = fmt.Errorf("%w: %s: rule %s of cluster %s is disabled, by hand or because it contradicts another one: enable it, or remove it",
			platform.ErrUnsupported, antiAffinityField, ruleName(self.mark.group), at.name)
	}
	return at, change, err
}

// ofGroup are the rules of a group. There is one; whoever has made a second was us.
func (c cluster) ofGroup(group string) []rule {
	return slices.DeleteFunc(slices.Clone(c.rules), func(r rule) bool { return !r.apart || r.name != ruleName(group) })
}

// together is what makes one rule hold virtual machines.
func (c cluster) together(group string, members []ref) ([]rule, error) {
	if slices.ContainsFunc(c.rules, func(r rule) bool { return !r.apart && r.name == ruleName(group) }) {
		return nil, fmt.Errorf("%w: cluster %s has a rule %s that is no anti-affinity rule of ours: rename it; nothing was changed",
			platform.ErrForeign, c.name, ruleName(group))
	}
	found := c.ofGroup(group)
	if len(found) == 0 {
		return []rule{{name: ruleName(group), apart: true, vms: members}}, nil
	}
	var change []rule
	first, whole := found[0], slices.Clone(found[0].vms)
	for _, vm := range members {
		if !slices.Contains(whole, vm) {
			whole = append(whole, vm)
		}
	}
	for _, second := range found[1:] {
		change = append(change, second.without(second.vms...))
	}
	if len(whole) > len(first.vms) {
		first.vms = whole
		change = append(change, first)
	}
	return change, nil
}
