// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package hypervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// errTaken says that a route to the subnet exists already.
var errTaken = errors.New("the machine already has a route to it")

// ensureUplink makes the network namespace, the veth pair between it and the host, and the host's route to the guests.
// Every step may be repeated. The route is also the claim on the subnet: the kernel refuses a second one.
func ensureUplink(ctx context.Context, l layout, s state) (state, error) {
	if err := ensureNamespace(ctx, l); err != nil {
		return s, err
	}
	if s.Subnet.IsValid() {
		if err := claim(ctx, l, s.Subnet); err != nil {
			return s, fmt.Errorf("subnet %s: %w; stop this hypervisor and start it with another subnet", s.Subnet, err)
		}
	} else {
		subnet, err := claimAny(ctx, l)
		if err != nil {
			return s, err
		}
		s.Subnet = subnet
		if err := l.save(s); err != nil {
			return s, err
		}
	}
	near, far := transfer(s.Subnet)
	for _, args := range [][]string{
		{"address", "replace", near.String() + "/30", "dev", l.link},
		{"-n", l.namespace, "link", "set", "lo", "up"},
		{"-n", l.namespace, "address", "replace", far.String() + "/30", "dev", "uplink"},
		{"-n", l.namespace, "link", "set", "uplink", "up"},
		{"-n", l.namespace, "route", "replace", "default", "via", near.String()},
		{"netns", "exec", l.namespace, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"},
	} {
		if _, err := ip(ctx, args...); err != nil {
			return s, err
		}
	}
	return s, nil
}

func ensureNamespace(ctx context.Context, l layout) error {
	exists, err := namespaceExists(ctx, l.namespace)
	if err != nil {
		return err
	}
	if !exists {
		if linkExists(l.link) { // its other end is in a namespace that has lost its name
			if _, err := ip(ctx, "link", "delete", l.link); err != nil {
				return err
			}
		}
		if _, err := ip(ctx, "netns", "add", l.namespace); err != nil {
			return err
		}
	}
	if !linkExists(l.link) {
		if _, err := ip(ctx, "link", "add", l.link, "type", "veth", "peer", "name", "uplink", "netns", l.namespace); err != nil {
			return err
		}
	}
	_, err = ip(ctx, "link", "set", l.link, "up", "alias", l.namespace) // the alias tells people whose link it is
	return err
}

// claimAny claims the first free subnet. Where the search begins depends on the hypervisor, so that two that start at
// once rarely meet.
func claimAny(ctx context.Context, l layout) (netip.Prefix, error) {
	used, own, err := routes(ctx, l.link)
	if err != nil {
		return netip.Prefix{}, err
	}
	if own.IsValid() { // claimed by a run that was killed before it could write that down
		return own, nil
	}
	for _, subnet := range candidates(l.link) {
		if !free(subnet, used) {
			continue
		}
		err := claim(ctx, l, subnet)
		if err == nil {
			return subnet, nil
		}
		if !errors.Is(err, errTaken) {
			return netip.Prefix{}, err
		}
	}
	return netip.Prefix{}, errors.New("no free subnet out of 192.168.100.0/24 to 192.168.199.0/24; name one with the subnet option")
}

// claim adds the host's route to the guests. It succeeds if the route is already this hypervisor's.
func claim(ctx context.Context, l layout, subnet netip.Prefix) error {
	_, far := transfer(subnet)
	_, err := ip(ctx, "route", "add", subnet.String(), "via", far.String(), "dev", l.link, "onlink")
	if err == nil {
		return nil
	}
	_, own, routesErr := routes(ctx, l.link)
	switch {
	case routesErr != nil:
		return routesErr
	case own == subnet:
		return nil
	case strings.Contains(err.Error(), "File exists"):
		return errTaken
	default:
		return err
	}
}

// candidates are the subnets to try, in order.
func candidates(seed string) []netip.Prefix {
	first := 0
	for _, c := range seed {
		first = (first*31 + int(c)) % 100
	}
	var subnets []netip.Prefix
	for i := range 100 {
		third := byte(100 + (first+i)%100)
		subnets = append(subnets, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, third, 0}), 24))
	}
	return subnets
}

// transfer are the two addresses of the veth pair. They are out of 198.18.0.0/15, which is set aside for networks that
// nobody else sees.
func transfer(subnet netip.Prefix) (near, far netip.Addr) {
	third := subnet.Addr().As4()[2]
	return netip.AddrFrom4([4]byte{198, 18, third, 1}), netip.AddrFrom4([4]byte{198, 18, third, 2})
}

// free says whether neither the subnet nor the transfer network overlaps with what is routed already.
func free(subnet netip.Prefix, used []netip.Prefix) bool {
	near, _ := transfer(subnet)
	link := netip.PrefixFrom(near, 30).Masked()
	for _, u := range used {
		if u.Overlaps(subnet) || u.Overlaps(link) {
			return false
		}
	}
	return true
}

// routes lists every destination that the host routes, default routes aside, and separately the one of a /24 over the
// given link.
func routes(ctx context.Context, link string) (used []netip.Prefix, own netip.Prefix, err error) {
	out, err := ip(ctx, "-json", "-4", "route", "show", "table", "all")
	if err != nil {
		return nil, own, err
	}
	var list []struct{ Dst, Dev string }
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, own, fmt.Errorf("ip route printed no JSON: %w", err)
	}
	for _, r := range list {
		p, err := netip.ParsePrefix(r.Dst)
		if err != nil {
			a, err := netip.ParseAddr(r.Dst)
			if err != nil {
				continue // "default"
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if r.Dev == link && p.Bits() == 24 {
			own = p
		}
		used = append(used, p)
	}
	return used, own, nil
}

func namespaceExists(ctx context.Context, name string) (bool, error) {
	out, err := ip(ctx, "netns", "list")
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == name {
			return true, nil
		}
	}
	return false, nil
}

func linkExists(name string) bool {
	_, err := os.Stat(filepath.Join("/sys/class/net", name))
	return err == nil
}

// ip runs the ip command and returns what it printed.
func ip(ctx context.Context, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program("ip"), args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}
