// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hypervisor"
)

// leases gives addresses to guests that have no operating system to ask for one. It writes the file in which dnsmasq's
// helper tells libvirt what was given out.
type leases struct {
	host  *hypervisor.Hypervisor
	admin *golibvirt.Libvirt
	file  string
	given map[string]string // MAC to address
	seen  map[golibvirt.UUID]bool
}

func newLeases(ctx context.Context, host *hypervisor.Hypervisor) (*leases, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", host.Socket)
	if err != nil {
		return nil, err
	}
	l := &leases{host: host, admin: golibvirt.NewWithDialer(dialers.NewAlreadyConnected(conn)), given: map[string]string{}, seen: map[golibvirt.UUID]bool{}}
	if err := l.admin.Connect(); err != nil {
		return nil, err
	}
	root := strings.TrimSuffix(host.PoolPath, "/pool")
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, _ error) error {
		if strings.HasSuffix(path, "dnsmasq/virbr0.status") {
			l.file = path
		}
		return nil
	})
	if err == nil && l.file == "" {
		err = fmt.Errorf("below %s there is no status file of dnsmasq", root)
	}
	return l, err
}

// follow gives addresses until stop is called.
func (l *leases) follow(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := l.once(); err != nil {
				say("leases: %v", err)
			}
			select {
			case <-time.After(250 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	return func() { cancel(); <-done }
}

func (l *leases) once() error {
	domains, _, err := l.admin.ConnectListAllDomains(1, 0)
	if err != nil {
		return err
	}
	changed := false
	for _, d := range domains {
		if l.seen[d.UUID] {
			continue
		}
		doc, err := l.admin.DomainGetXMLDesc(d, 0)
		if err != nil {
			continue // it goes
		}
		l.seen[d.UUID] = true
		var parsed libvirtxml.Domain
		if err := parsed.Unmarshal(doc); err != nil {
			return err
		}
		for _, i := range parsed.Devices.Interfaces {
			n := len(l.given)
			l.given[i.MAC.Address] = fmt.Sprintf("10.77.%d.%d", n>>8, n&255)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	type lease struct {
		IP     string `json:"ip-address"`
		MAC    string `json:"mac-address"`
		Expiry int64  `json:"expiry-time"`
	}
	var all []lease
	for mac, ip := range l.given {
		all = append(all, lease{ip, mac, time.Now().Add(24 * time.Hour).Unix()})
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return os.WriteFile(l.file, text, 0o600)
}
