// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// checkFurther refuses what can never work of what not every machine asks for.
func checkFurther(req platform.Request) error {
	switch {
	case slices.Contains(req.VirtualGPUs, ""):
		return fmt.Errorf("%w: %s has an empty profile", platform.ErrInvalid, virtualGPUsField)
	case req.ReservedCPUMHz < 0:
		return fmt.Errorf("%w: spec.platform.vsphere.reservations.cpuMHz is %d", platform.ErrInvalid, req.ReservedCPUMHz)
	case req.ReservedMemoryBytes < 0 || req.ReservedMemoryBytes > req.MemoryBytes || req.ReservedMemoryBytes%(1<<20) != 0:
		return fmt.Errorf("%w: spec.platform.vsphere.reservations.memory of %d bytes is no multiple of 1Mi up to spec.resources.memory, %d bytes",
			platform.ErrInvalid, req.ReservedMemoryBytes, req.MemoryBytes)
	case req.HardwareVersion < 0:
		return fmt.Errorf("%w: spec.platform.vsphere.hardwareVersion is %d", platform.ErrInvalid, req.HardwareVersion)
	}
	return checkName(req.NameOnPlatform)
}

// further finds what a machine is made with that not every machine asks for. It refuses what vCenter does not have, and asks it
// nothing for a machine that asks for nothing. Of many machines that ask for the same only one has vCenter asked.
func (s *Session) further(ctx context.Context, c *client, req platform.Request, o *order) (err error) {
	if req.StoragePolicy == "" && req.HostGroup.Name == "" && len(o.machine.devices) == 0 && req.HardwareVersion <= o.from.version && len(req.Tags) == 0 {
		return nil
	}
	unlock, err := s.locks.Lock(ctx, "further")
	if err != nil {
		return err
	}
	defer unlock()
	if o.policy, err = s.policy(ctx, c, req, o.datastore); err != nil {
		return err
	}
	if err = s.checkDevices(ctx, c, o.machine.devices, o.pool, o.from.version); err != nil {
		return err
	}
	if o.unfinished, err = s.upgrades(ctx, c, req.HardwareVersion, *o); err != nil {
		return err
	}
	if o.host, err = s.hostInGroup(ctx, c, req, *o); err != nil {
		return err
	}
	o.unfinished = o.unfinished || len(req.Tags) > 0 || req.HostGroup.Name != ""
	_, err = s.tagIDs(ctx, c, req.Tags)
	return err
}

// policy returns the identifier of the storage policy of a machine, if the datastore is compatible with it.
func (s *Session) policy(ctx context.Context, c *client, req platform.Request, datastore ref) (string, error) {
	if req.StoragePolicy == "" {
		return "", nil
	}
	wanted := fit{req.StoragePolicy, datastore}
	if found, ok := s.known.policy(wanted, s.config.Clock.Now()); ok {
		return found, nil
	}
	found, err := c.policy(ctx, req.StoragePolicy, datastore)
	switch {
	case errors.Is(err, errNotFit):
		return "", fmt.Errorf("%w: %s: the datastore %s is not compatible with %s: %w: choose another datastore or policy",
			platform.ErrUnsupported, policyField, req.Storage, req.StoragePolicy, err)
	case err != nil:
		return "", policyRefused(req.StoragePolicy, err)
	}
	s.known.putPolicy(wanted, found, s.config.Clock.Now())
	return found, nil
}

// upgrades tells whether a machine needs other hardware than the image has. It refuses what not all hosts offer.
func (s *Session) upgrades(ctx context.Context, c *client, version int32, o order) (bool, error) {
	if version <= o.from.version {
		return false, nil
	}
	if s.known.offers(o.pool, version) {
		return true, nil
	}
	browser, err := c.browser(ctx, o.pool)
	if err != nil {
		return false, err
	}
	offered, err := c.hardwareVersions(ctx, browser)
	if err != nil {
		return false, err
	}
	slices.Sort(offered)
	s.known.putVersions(o.pool, offered)
	if !slices.Contains(offered, version) {
		return false, fmt.Errorf("%w: spec.platform.vsphere.hardwareVersion %d: all hosts of spec.platform.vsphere.resourcePool offer %v: choose one of these, or upgrade the hosts",
			platform.ErrUnsupported, version, offered)
	}
	return true, nil
}

// tagIDs returns the identifiers of tags. It refuses those that do not exist, and names that more than one has.
func (s *Session) tagIDs(ctx context.Context, c *client, wanted []platform.Tag) (ids []string, err error) {
	if err := s.learnTags(ctx, c, wanted); err != nil {
		return nil, fmt.Errorf("spec.platform.vsphere.tags: %w", err)
	}
	for i, tag := range wanted {
		found, _ := s.known.tag(tag, s.config.Clock.Now())
		switch {
		case found.categories > 1:
			return nil, fmt.Errorf("%w: spec.platform.vsphere.tags[%d]: vCenter shows %d categories %s: rename all but one",
				platform.ErrInvalid, i, found.categories, tag.Category)
		case len(found.ids) > 1:
			return nil, fmt.Errorf("%w: spec.platform.vsphere.tags[%d]: vCenter shows %d tags %s in the category %s: rename all but one",
				platform.ErrInvalid, i, len(found.ids), tag.Name, tag.Category)
		case len(found.ids) == 0:
			return nil, fmt.Errorf("%w: spec.platform.vsphere.tags[%d]: vCenter shows no tag %s in a category %s: make it, or let the user see it",
				platform.ErrInvalid, i, tag.Name, tag.Category)
		}
		ids = append(ids, found.ids[0])
	}
	return ids, nil
}

// learnTags asks for the tags that are not known, all at once.
func (s *Session) learnTags(ctx context.Context, c *client, wanted []platform.Tag) error {
	unknown := map[string]bool{}
	for _, tag := range wanted {
		if _, known := s.known.tag(tag, s.config.Clock.Now()); !known {
			unknown[tag.Category] = true
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	all, err := c.catalogue(ctx, unknown)
	if err != nil {
		return err
	}
	for _, tag := range wanted {
		if unknown[tag.Category] {
			s.known.putTag(tag, tagFound{ids: all.tags[tag], categories: all.categories[tag.Category], read: s.config.Clock.Now()})
		}
	}
	return nil
}
