// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// A machine that is bound to a group of hosts is made on one of them and left off, put into a group of virtual machines that a
// rule of DRS binds to the hosts, and only then started: it never runs anywhere else. There is one group of virtual machines and
// one rule of the same name for each group of hosts and way of binding; whoever comes first makes them, the group before the
// rule that names it, and whoever goes last removes them. What the machine is in is on its mark, so that it is found when it
// goes, whatever the failure domain says by then. Groups have no place for an owner token: the name is all that tells whose
// they are.

const (
	hostGroupField = "hostGroup of the failure domain"
	// maxHostsName is how much of the name of a group of hosts the name of ours shows.
	maxHostsName = 40
)

// vmGroupName is what our group of virtual machines is called, and our rule: nobody else's, and not that of another management
// cluster. It is empty for a machine that is not bound.
func vmGroupName(managementClusterID string, to platform.HostGroup) string {
	if to.Name == "" {
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%t", managementClusterID, to.Name, to.Required))
	shown := strings.Map(func(r rune) rune {
		if r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, to.Name)
	return "ingot-" + shown[:min(len(shown), maxHostsName)] + "-" + hex.EncodeToString(sum[:8])
}

// hostInGroup returns the host that a machine is made on which is bound to a group of hosts; zero for another machine. It is one
// that works and has the datastore mounted, the same for a machine as long as these are the same, and others for others.
func (s *Session) hostInGroup(ctx context.Context, c *client, req platform.Request, o order) (ref, error) {
	if req.HostGroup.Name == "" {
		return ref{}, nil
	}
	of := hostsKey{o.pool, o.datastore, req.HostGroup.Name}
	hosts, known := s.known.hostsIn(of, s.config.Clock.Now())
	if !known {
		at, err := c.hostView(ctx, o.pool, o.datastore)
		if errors.Is(err, errNotFound) {
			return ref{}, fmt.Errorf("%w: %s: the session sees no cluster behind spec.platform.vsphere.resourcePool: host groups are of clusters; "+
				"name one, give the user System.Read on it, or remove hostGroup", platform.ErrUnsupported, hostGroupField)
		}
		if err != nil {
			return ref{}, err
		}
		if hosts, err = at.hostsOf(req.HostGroup.Name); err != nil {
			return ref{}, err
		}
		s.known.putHosts(of, hosts, s.config.Clock.Now())
	}
	sum := sha256.Sum256([]byte(req.UUID))
	return hosts[binary.BigEndian.Uint64(sum[:8])%uint64(len(hosts))], nil
}

// hostsOf returns the hosts of a group on which something can be made now, in a stable order.
func (c hostView) hostsOf(name string) (hosts []ref, err error) {
	if err := c.binds(name); err != nil {
		return nil, err
	}
	for _, host := range c.hostGroups[name] {
		if c.working[host] {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("%w: %s: of the %d hosts of group %s in cluster %s none is connected, out of maintenance mode and has the datastore mounted: bring one back",
			platform.ErrCapacity, hostGroupField, len(c.hostGroups[name]), name, c.name)
	}
	slices.SortFunc(hosts, func(a, b ref) int { return compare(a.value, b.value) })
	return hosts, nil
}

// binds says why nothing can be bound to a group of hosts of the cluster.
func (c cluster) binds(name string) error {
	if _, there := c.hostGroups[name]; !there {
		return fmt.Errorf("%w: %s: cluster %s has no host group %s, but %v: choose one of these, or make it",
			platform.ErrInvalid, hostGroupField, c.name, name, slices.Sorted(maps.Keys(c.hostGroups)))
	}
	if !c.drs {
		return fmt.Errorf("%w: %s: DRS is off in cluster %s, and nobody binds machines to hosts: turn it on, or remove hostGroup", platform.ErrUnsupported, hostGroupField, c.name)
	}
	return nil
}

// bind binds an unfinished machine to its group of hosts. Machines that are bound at the same time are bound together.
func (s *Session) bind(ctx context.Context, c *client, req platform.Request, vm ref) error {
	if req.HostGroup.Name == "" {
		return nil
	}
	wanted := binding{vms: vmGroupName(req.ManagementClusterID, req.HostGroup), hosts: req.HostGroup.Name, must: req.HostGroup.Required}
	s.binding.join(wanted.vms, vm)
	defer s.binding.leave(wanted.vms, vm)
	var together []ref
	err := s.changeRules(ctx, c, func() []ref {
		if together = s.binding.all(wanted.vms); !slices.Contains(together, vm) {
			return nil // somebody has brought us along
		}
		return together
	}, verify, func(n neighbours) (cluster, ruleChange, error) { return n.bind(req.Identity, wanted) })
	if err == nil {
		s.binding.leave(wanted.vms, together...)
	}
	if errors.Is(err, errNoAccess) {
		return fmt.Errorf("%w: %s: the session may not read the rules of the cluster, or not change them (%s): "+
			"give the user System.Read and Host.Inventory.EditCluster on the cluster, or remove hostGroup", platform.ErrUnsupported, hostGroupField, err.Error())
	}
	return err
}

// bind is the next ruleChange that binds a machine to hosts, and with it all others that were read and are to be bound so.
func (n neighbours) bind(id platform.Identity, wanted binding) (at cluster, next ruleChange, err error) {
	i := slices.IndexFunc(n.vms, func(m vm) bool { return m.instanceUUID == id.UUID && m.mark.owns(id) })
	if i < 0 {
		return at, next, fmt.Errorf("%w: the virtual machine is gone", errNotFound)
	}
	in := n.in[n.vms[i].ref]
	at, seen := n.clusters[in]
	switch {
	case in.zero(), !seen && in.kind == kindCluster:
		return at, next, fmt.Errorf("%w: the session does not see the cluster of virtual machine %s", errNoAccess, n.vms[i].name)
	case !seen:
		return at, next, fmt.Errorf("%w: %s: virtual machine %s runs on a host of its own: host groups are of clusters", platform.ErrUnsupported, hostGroupField, n.vms[i].name)
	}
	if err := at.binds(wanted.hosts); err != nil {
		return at, next, err
	}
	var members []ref
	for _, m := range n.vms {
		if n.in[m.ref] == in && m.mark.hostGroup == wanted.vms && m.mark.cluster == id.ManagementClusterID && m.mark.machine == m.instanceUUID {
			members = append(members, m.ref)
		}
	}
	next, err = at.bound(wanted, members)
	return at, next, err
}

// bound is the next ruleChange that makes virtual machines be bound: the group first, because the rule names it.
func (c cluster) bound(wanted binding, members []ref) (next ruleChange, err error) {
	if _, taken := c.hostGroups[wanted.vms]; taken {
		return next, fmt.Errorf("%w: cluster %s has a host group %s, which is the name of our group of virtual machines: rename it; nothing was changed",
			platform.ErrForeign, c.name, wanted.vms)
	}
	is := slices.IndexFunc(c.rules, func(r rule) bool { return r.name == wanted.vms })
	if is >= 0 && c.rules[is].bound != wanted {
		return next, fmt.Errorf("%w: rule %s of cluster %s is not as we make it: rename or remove it; nothing was changed", platform.ErrForeign, wanted.vms, c.name)
	}
	g := vmGroup{name: wanted.vms}
	if i := slices.IndexFunc(c.vmGroups, func(g vmGroup) bool { return g.name == wanted.vms }); i >= 0 {
		g = c.vmGroups[i]
	}
	whole := slices.Clone(g.vms)
	for _, vm := range members {
		if !slices.Contains(whole, vm) {
			whole = append(whole, vm)
		}
	}
	switch {
	case len(whole) > len(g.vms):
		g.vms = whole
		return ruleChange{groups: []vmGroup{g}, more: is < 0}, nil
	case is < 0:
		return ruleChange{rules: []rule{{name: wanted.vms, bound: wanted}}}, nil
	case c.rules[is].off:
		return next, fmt.Errorf("%w: %s: rule %s of cluster %s is disabled, by hand or because it contradicts another one: enable it, or remove hostGroup",
			platform.ErrUnsupported, hostGroupField, wanted.vms, c.name)
	}
	return next, nil
}

// unbound is the next ruleChange that takes a virtual machine out of its group: the rule goes before the group that it names, when
// nobody else is left.
func (c cluster) unbound(name string, gone ref) (next ruleChange) {
	i := slices.IndexFunc(c.vmGroups, func(g vmGroup) bool { return g.name == name })
	if name == "" || i < 0 {
		return next
	}
	g := c.vmGroups[i]
	g.vms = slices.DeleteFunc(slices.Clone(g.vms), func(vm ref) bool { return vm == gone })
	switch is := slices.IndexFunc(c.rules, func(r rule) bool { return r.bound.vms == name && r.name == name }); {
	case len(g.vms) > 0 && len(g.vms) == len(c.vmGroups[i].vms):
		return next
	case len(g.vms) > 0:
		return ruleChange{groups: []vmGroup{g}}
	case is >= 0:
		r := c.rules[is]
		r.removed = true
		return ruleChange{rules: []rule{r}, more: true}
	case slices.ContainsFunc(c.rules, func(r rule) bool { return r.bound.vms == name }):
		return ruleChange{groups: []vmGroup{g}} // somebody's rule needs the group
	}
	g.removed = true
	return ruleChange{groups: []vmGroup{g}}
}

// bindings are the virtual machines that are waiting to be put into groups. The zero value is ready to use.
type bindings struct {
	mu      sync.Mutex
	waiting map[string][]ref
}

func (b *bindings) join(group string, vm ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = map[string][]ref{}
	}
	b.waiting[group] = append(b.waiting[group], vm)
}

func (b *bindings) leave(group string, vms ...ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting[group] = slices.DeleteFunc(b.waiting[group], func(vm ref) bool { return slices.Contains(vms, vm) })
}

func (b *bindings) all(group string) []ref {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.waiting[group])
}
