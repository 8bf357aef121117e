// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// A network is named by its path below the datacenter's folder of networks, which may go through a distributed switch to one of
// its port groups. vCenter gives several networks one name: a segment of NSX is a port group on every switch that has it, and
// twice on one if there are two of that name. Asked for a path it answers with one of them and does not say that there are more,
// so all are read and the name is judged here. A name that is not of one alone is refused.

// networkTree are the networks of a datacenter, and the folders and switches that they are in.
type networkTree struct {
	root  ref
	nodes []networkNode
}

// networkNode is a network, a folder or a distributed switch.
type networkNode struct {
	ref, parent ref
	name        string
	ports       []ref // the port groups of a switch
}

// connects tells whether it is a network.
func (n networkNode) connects() bool {
	return n.ref.kind == kindNetwork || n.ref.kind == kindPortGroup || n.ref.kind == kindOpaque
}

// holds tells whether a folder or switch holds something.
func (n networkNode) holds(other networkNode) bool {
	return other.parent == n.ref || slices.Contains(n.ports, other.ref)
}

// meant are the networks that a path below the root means. What follows the last @ of a name that no network has is a reference.
func (t networkTree) meant(path string) []networkNode {
	elements := strings.Split(path, "/")
	last := elements[len(elements)-1]
	holders := []networkNode{{ref: t.root}}
	for _, element := range elements[:len(elements)-1] {
		holders = t.held(holders, func(n networkNode) bool { return !n.connects() && n.name == element })
	}
	found := t.held(holders, func(n networkNode) bool { return n.connects() && n.name == last })
	if at := strings.LastIndex(last, "@"); len(found) == 0 && at > 0 {
		found = t.held(holders, func(n networkNode) bool { return n.connects() && n.name == last[:at] && n.ref.value == last[at+1:] })
	}
	return found
}

// held are those that are held by one of some, and that are as wanted.
func (t networkTree) held(by []networkNode, wanted func(networkNode) bool) []networkNode {
	var found []networkNode
	for _, n := range t.nodes {
		if wanted(n) && slices.ContainsFunc(by, func(holder networkNode) bool { return holder.holds(n) }) {
			found = append(found, n)
		}
	}
	slices.SortFunc(found, func(a, b networkNode) int { return strings.Compare(t.path(a)+a.ref.value, t.path(b)+b.ref.value) })
	return found
}

// path is how something is named: a port group by its switch, where that is seen.
func (t networkTree) path(n networkNode) string {
	in := n.parent
	for _, holder := range t.nodes {
		if slices.Contains(holder.ports, n.ref) {
			in = holder.ref
		}
	}
	at := slices.IndexFunc(t.nodes, func(holder networkNode) bool { return holder.ref == in })
	if at < 0 || in == t.root {
		return n.name
	}
	return t.path(t.nodes[at]) + "/" + n.name
}

// one returns the one network that a path below the root means. Who asks for it is told how to say what is meant.
func (t networkTree) one(field, root, path string) (networkNode, error) {
	found := t.meant(path)
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return networkNode{}, fmt.Errorf("%w: %s: there is no /%s/%s in the inventory that the session sees%s", platform.ErrInvalid, field, root, path, t.elsewhere(path))
	}
	var all []string
	for _, n := range found {
		all = append(all, fmt.Sprintf("%s@%s (%s)", t.path(n), n.ref.value, n.ref.kind))
	}
	return networkNode{}, fmt.Errorf("%w: %s: /%s/%s: %w: %s: write the one that is meant as it is written here, up to the @ where that is one's alone",
		platform.ErrInvalid, field, root, path, errAmbiguous, strings.Join(all, ", "))
}

// elsewhere says where there are networks with the name that was looked for, written in whichever case.
func (t networkTree) elsewhere(path string) string {
	last := path[strings.LastIndex(path, "/")+1:]
	var all []string
	for _, n := range t.nodes {
		if n.connects() && strings.EqualFold(n.name, last) {
			all = append(all, t.path(n))
		}
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return "; there is " + strings.Join(all[:min(len(all), fewReasons)], ", ") + more(len(all))
}

// network returns the network at a path of the inventory that a field names. All networks of a datacenter are read at once, and
// what has no name of its own is read again after a while at the earliest, however many machines ask for it.
func (s *Session) network(ctx context.Context, c *client, field, path string) (networkNode, error) {
	if found, ok := s.known.network(path); ok {
		return found, nil
	}
	unlock, err := s.locks.Lock(ctx, "networks")
	if err != nil {
		return networkNode{}, err
	}
	defer unlock()
	datacenter, below, _ := strings.Cut(path, "/")
	folder, name, _ := strings.Cut(below, "/")
	root := datacenter + "/" + folder
	tree, ok := s.known.networkTree(root, s.config.Clock.Now())
	if !ok {
		at, err := s.locate(ctx, c, field, root)
		if err != nil {
			return networkNode{}, err
		}
		if tree, err = c.networks(ctx, at); err != nil {
			return networkNode{}, err
		}
		s.known.putNetworkTree(root, tree, s.config.Clock.Now())
	}
	found, err := tree.one(field, root, name)
	if err == nil {
		s.known.putNetwork(path, found)
	}
	return found, err
}
