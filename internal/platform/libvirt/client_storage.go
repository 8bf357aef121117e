// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"
)

// pool is a storage pool.
type pool struct {
	name      string
	kind      string
	path      string
	available int64
}

// errPoolInactive says that a pool exists and shows nothing. What is in it cannot be told.
var errPoolInactive = errors.New("the storage pool is not active: start it on the host (virsh pool-start, virsh pool-autostart)")

// pool reads a storage pool, or returns errNotFound.
func (c *client) pool(ctx context.Context, name string) (pool, error) {
	p := pool{name: name}
	var doc string
	err := c.withPool(ctx, "read storage pool", "", name, func(l *libvirt.Libvirt, handle libvirt.StoragePool) (err error) {
		doc, err = l.StoragePoolGetXMLDesc(handle, 0)
		return err
	})
	if err != nil {
		return p, err
	}
	var parsed libvirtxml.StoragePool
	if err := parsed.Unmarshal(doc); err != nil {
		return p, fmt.Errorf("read storage pool %s: %w", name, err)
	}
	p.kind = parsed.Type
	if parsed.Target != nil {
		p.path = parsed.Target.Path
	}
	if parsed.Available != nil {
		p.available = int64(parsed.Available.Value)
	}
	return p, nil
}

// volumes lists the names of all volumes of a pool.
func (c *client) volumes(ctx context.Context, poolName string) ([]string, error) {
	var names []string
	err := c.withPool(ctx, "list volumes of storage pool", "", poolName, func(l *libvirt.Libvirt, p libvirt.StoragePool) error {
		all, _, err := l.StoragePoolListAllVolumes(p, 1, 0)
		for _, v := range all {
			names = append(names, v.Name)
		}
		return err
	})
	return names, err
}

// present returns which of the names are volumes of a pool. Each is looked up by itself: a listing leaves out what the
// session may not see, a look-up says that it may not.
func (c *client) present(ctx context.Context, poolName string, names ...string) (map[string]bool, error) {
	found := make(map[string]bool, len(names))
	err := c.withPool(ctx, "look up volumes in storage pool", "", poolName, func(l *libvirt.Libvirt, p libvirt.StoragePool) error {
		for _, name := range names {
			_, err := l.StorageVolLookupByName(p, name)
			if err != nil && !isCode(err, libvirt.ErrNoStorageVol) {
				return err
			}
			found[name] = err == nil
		}
		return nil
	})
	return found, err
}

// ownVolumes returns the volumes of an instance: what the listing has of its stem, and the names that are known beforehand
// looked up as present does.
func (c *client) ownVolumes(ctx context.Context, poolName string, n volumeNames) (map[string]bool, error) {
	names, err := c.volumes(ctx, poolName)
	if err != nil {
		return nil, err
	}
	own := map[string]bool{}
	for _, name := range names {
		if strings.HasPrefix(name, n.stem) {
			own[name] = true
		}
	}
	unseen := slices.DeleteFunc(n.all(), func(name string) bool { return own[name] })
	looked, err := c.present(ctx, poolName, unseen...)
	maps.Copy(own, looked)
	return own, err
}

// volume reads a volume, or returns errNotFound.
func (c *client) volume(ctx context.Context, poolName, name string) (*libvirtxml.StorageVolume, error) {
	var parsed *libvirtxml.StorageVolume
	err := c.withPool(ctx, "read volume", name, poolName, func(l *libvirt.Libvirt, p libvirt.StoragePool) error {
		v, err := l.StorageVolLookupByName(p, name)
		if err != nil {
			return err
		}
		parsed, err = readVolume(l, v)
		return err
	})
	return parsed, err
}

// createVolume makes a volume, or returns errExists.
func (c *client) createVolume(ctx context.Context, poolName string, volume *libvirtxml.StorageVolume) error {
	doc, err := volume.Marshal()
	if err != nil {
		return fmt.Errorf("volume %s: %w", volume.Name, err)
	}
	return c.withPool(ctx, "create volume", volume.Name, poolName, func(l *libvirt.Libvirt, p libvirt.StoragePool) error {
		_, err := l.StorageVolCreateXML(p, doc, 0)
		return err
	})
}

// deleteVolume removes a volume. It is no error when there is none.
func (c *client) deleteVolume(ctx context.Context, poolName, name string) error {
	err := c.withPool(ctx, "delete volume", name, poolName, func(l *libvirt.Libvirt, p libvirt.StoragePool) error {
		v, err := l.StorageVolLookupByName(p, name)
		if err != nil {
			return err
		}
		return l.StorageVolDelete(v, libvirt.StorageVolDeleteNormal)
	})
	if errors.Is(err, errNotFound) {
		return nil
	}
	return err
}

// dependants returns the names of the volumes of a pool that are layers over the volume base.
func (c *client) dependants(ctx context.Context, poolName, base string) ([]string, error) {
	var users []string
	err := c.withPool(ctx, "look for layers over volume", base, poolName, func(l *libvirt.Libvirt, p libvirt.StoragePool) error {
		all, _, err := l.StoragePoolListAllVolumes(p, 1, 0)
		if err != nil {
			return err
		}
		var path string
		layers := map[string]string{}
		for _, v := range all {
			parsed, err := readVolume(l, v)
			switch {
			case isCode(err, libvirt.ErrNoStorageVol):
				continue
			case err != nil:
				return err
			}
			if v.Name == base && parsed.Target != nil {
				path = parsed.Target.Path
			}
			if parsed.BackingStore != nil {
				layers[v.Name] = parsed.BackingStore.Path
			}
		}
		for _, v := range all {
			if below, ok := layers[v.Name]; ok && below == path {
				users = append(users, v.Name)
			}
		}
		return nil
	})
	return users, err
}

func readVolume(l *libvirt.Libvirt, v libvirt.StorageVol) (*libvirtxml.StorageVolume, error) {
	doc, err := l.StorageVolGetXMLDesc(v, 0)
	if err != nil {
		return nil, err
	}
	var parsed libvirtxml.StorageVolume
	if err := parsed.Unmarshal(doc); err != nil {
		return nil, err
	}
	return &parsed, nil
}

// refreshPool makes libvirtd read the pool's directory anew.
func (c *client) refreshPool(ctx context.Context, poolName string) error {
	return c.withPool(ctx, "refresh storage pool", "", poolName, func(l *libvirt.Libvirt, p libvirt.StoragePool) error {
		return l.StoragePoolRefresh(p, 0)
	})
}

// withPool looks a pool up and runs fn on it, about one volume or, without a name, about the pool. An inactive pool is
// ErrUnreachable: it shows nothing, which is not the same as holding nothing.
func (c *client) withPool(ctx context.Context, verb, volume, name string, fn func(*libvirt.Libvirt, libvirt.StoragePool) error) error {
	subject := name
	if volume != "" {
		subject = volume + " in storage pool " + name
	}
	return c.do(ctx, verb, subject, func(l *libvirt.Libvirt) error {
		p, err := l.StoragePoolLookupByName(name)
		if err != nil {
			return err
		}
		if active, err := l.StoragePoolIsActive(p); err != nil {
			return err
		} else if active != 1 {
			return errPoolInactive
		}
		return fn(l, p)
	})
}

func isCode(err error, code libvirt.ErrorNumber) bool {
	var answer libvirt.Error
	return errors.As(err, &answer) && libvirt.ErrorNumber(answer.Code) == code
}
