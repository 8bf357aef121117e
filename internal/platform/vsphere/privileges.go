// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// thing is what a privilege is needed on.
type thing string

const (
	onFolder    thing = "folder"
	onPool      thing = "resource pool"
	onDatastore thing = "datastore"
	onNetwork   thing = "network"
	// onCluster is the compute cluster of a resource pool.
	onCluster thing = "compute cluster"
	// onImages is the folder that templates and Ingot's copies of them are in.
	onImages thing = "folder of templates"
	// onImports is the folder that OVAs and VMDKs are imported to, which is a folder of templates too.
	onImports thing = "folder of imports"
	// onImagePool is a resource pool in which images are imported and copied.
	onImagePool thing = "resource pool of images"
)

// need is a privilege that the account needs.
type need struct {
	privilege string
	on        thing
	// what it is needed for. Without an optional one machines are made that do not ask for that.
	what     string
	optional bool
}

// needs are all privileges that Ingot needs, System.Anonymous, System.View and System.Read apart, which every role holds. The
// page of the platform shows this table. Sources: the privileges of each method in the reference of vSphere's web services, and
// those of CloneVM_Task and ReconfigVM_Task for each part of what they are given.
func needs() []need {
	return []need{
		{"VirtualMachine.Inventory.CreateFromExisting", onFolder, "making machines", false},
		{"VirtualMachine.Config.AddNewDisk", onFolder, "making machines", false},
		{"VirtualMachine.Config.AddRemoveDevice", onFolder, "the network interfaces", false},
		{"VirtualMachine.Config.AdvancedConfig", onFolder, "the owner token, and bootstrap data until the Node has joined", false},
		{"VirtualMachine.Config.CPUCount", onFolder, "making machines", false},
		{"VirtualMachine.Config.Memory", onFolder, "making machines", false},
		{"VirtualMachine.Config.Settings", onFolder, "identity, firmware and boot options", false},
		{"VirtualMachine.Interact.PowerOn", onFolder, "starting machines", false},
		{"VirtualMachine.Interact.PowerOff", onFolder, "shutting machines down and switching them off", false},
		{"VirtualMachine.Inventory.Delete", onFolder, "removing machines", false},
		{"VirtualMachine.Config.RemoveDisk", onFolder, "taking out volumes that others have attached, before a machine is removed", true},
		{"VirtualMachine.Config.DiskExtend", onFolder, "spec.rootDisk.size above the size of the image", true},
		{"VirtualMachine.Config.Resource", onFolder, "spec.platform.vsphere.reservations, pciDevices, virtualGPUs, and templates with reservations or limits", true},
		{"VirtualMachine.Config.UpgradeVirtualHardware", onFolder, "spec.platform.vsphere.hardwareVersion above the version of the image", true},
		{"InventoryService.Tagging.ObjectAttachable", onFolder, "spec.platform.vsphere.tags", true},
		{"Cryptographer.Clone", onFolder, "spec.trustedBoot.virtualTPM", true},
		{"Cryptographer.Encrypt", onFolder, "spec.trustedBoot.virtualTPM", true},
		{"Cryptographer.EncryptNew", onFolder, "spec.trustedBoot.virtualTPM", true},
		{"Cryptographer.Migrate", onFolder, "spec.trustedBoot.virtualTPM", true},
		{"Cryptographer.RegisterVM", onFolder, "spec.trustedBoot.virtualTPM", true},
		{"Resource.AssignVMToPool", onPool, "making machines", false},
		{"Resource.AssignVMToPool", onImagePool, "copies and imports of images", false},
		{"Datastore.AllocateSpace", onDatastore, "the disks", false},
		{"Network.Assign", onNetwork, "the network interfaces", false},
		{"Host.Inventory.EditCluster", onCluster, "failure domains with a hostGroup", true},
		{"VirtualMachine.Provisioning.DeployTemplate", onImages, "making machines and copies of templates", false},
		{"VirtualMachine.Inventory.CreateFromExisting", onImages, "copying templates to datastores", false},
		{"VirtualMachine.Config.AdvancedConfig", onImages, "the mark of a copy", false},
		{"VirtualMachine.Config.Settings", onImages, "the identity of a copy", false},
		{"VirtualMachine.State.CreateSnapshot", onImages, "what linked clones are layers over", false},
		{"VirtualMachine.Provisioning.MarkAsTemplate", onImages, "sealing a copy", false},
		{"VirtualMachine.Inventory.Delete", onImages, "removing copies that nobody needs", false},
		{"VirtualMachine.Provisioning.MarkAsVM", onImages, "withdrawing copies before they are removed", false},
		{"VirtualMachine.Config.Rename", onImages, "withdrawing copies before they are removed", false},
		{"VirtualMachine.State.RemoveSnapshot", onImages, "withdrawing copies before they are removed", false},
		{"VApp.Import", onImports, "importing OVAs and VMDKs", false},
		{"VirtualMachine.Inventory.Create", onImports, "importing OVAs and VMDKs", false},
		{"VirtualMachine.Config.AddNewDisk", onImports, "the disk of an import", false},
		{"VirtualMachine.Config.AddRemoveDevice", onImports, "what the disk of an import hangs on", false},
		{"VirtualMachine.Config.Rename", onImports, "the name of a copy that was imported", false},
	}
}

// site is one object that privileges are needed on.
type site struct {
	on   thing
	path string
	ref  ref
}

// String is the site, for people.
func (s site) String() string { return string(s.on) + " " + s.path }

// mostSites bounds what is asked about at once.
const mostSites = 100

// Privileges implements platform.PrivilegeReporter. It asks for everything at once; the places were looked up for the machines
// there already, or will not be again.
func (s *Session) Privileges(ctx context.Context, used platform.Uses) (platform.Privileges, error) {
	c, err := s.acquire(ctx)
	if err != nil {
		return platform.Privileges{}, err
	}
	sites, unasked, err := s.sites(ctx, c, used)
	if err != nil {
		return platform.Privileges{}, told(err)
	}
	if more := len(sites) - mostSites; more > 0 {
		unasked = append(unasked, fmt.Sprintf("%d more places: no more than %d are asked about", more, mostSites))
		sites = sites[:mostSites]
	}
	answer := platform.Privileges{Account: c.account(), Unasked: unasked}
	if len(sites) == 0 {
		return answer, nil
	}
	granted, err := c.granted(ctx, sites)
	if err != nil {
		return platform.Privileges{}, told(err)
	}
	for _, at := range sites {
		has, asked := granted[at.ref]
		if !asked {
			answer.Unasked = append(answer.Unasked, at.String()+": vCenter does not say what is granted there")
			continue
		}
		answer.Missing = append(answer.Missing, missing(at, has)...)
	}
	return answer, nil
}

// missing is what is not granted on a site.
func missing(at site, granted []string) []platform.MissingPrivilege {
	var all []platform.MissingPrivilege
	for _, n := range needs() {
		if n.on == at.on && !slices.Contains(granted, n.privilege) {
			all = append(all, platform.MissingPrivilege{Privilege: n.privilege, On: at.String(), For: n.what, Optional: n.optional})
		}
	}
	return all
}

// sites finds everything that privileges are needed on. What is not seen cannot be asked about.
func (s *Session) sites(ctx context.Context, c *client, used platform.Uses) (sites []site, unasked []string, err error) {
	for _, wanted := range sitesOf(used) {
		wanted.ref, err = s.siteAt(ctx, c, wanted)
		switch {
		case errors.Is(err, errAmbiguous):
			unasked = append(unasked, fmt.Sprintf("%s: more than one has that name", wanted))
		case errors.Is(err, platform.ErrInvalid):
			unasked = append(unasked, fmt.Sprintf("%s: it does not exist, or the account lacks System.View there", wanted))
		case err != nil:
			return nil, nil, err
		default:
			sites = append(sites, wanted)
		}
	}
	images := s.mirror.copies()
	for _, source := range used.Sources {
		if uuid, is := strings.CutPrefix(source, templateScheme); is {
			named, _ := s.mirror.refs(uuid)
			images = append(images, named...)
		}
	}
	folders, err := c.parents(ctx, images)
	for _, folder := range folders {
		if !slices.ContainsFunc(sites, func(at site) bool { return at.on == onImages && at.ref == folder.ref }) {
			sites = append(sites, folder)
		}
	}
	if !slices.ContainsFunc(sites, func(at site) bool { return at.on == onImages }) && len(used.Places) > 0 {
		unasked = append(unasked, string(onImages)+": the session sees no template that a NodeImage names, and no copy of one")
	}
	return sites, unasked, err
}

// siteAt finds what is at a site.
func (s *Session) siteAt(ctx context.Context, c *client, at site) (ref, error) {
	if at.on == onNetwork {
		found, err := s.network(ctx, c, string(at.on), at.path)
		return found.ref, err
	}
	found, err := s.locate(ctx, c, string(at.on), at.path)
	if err == nil && (at.on == onPool || at.on == onImagePool) {
		return s.poolOf(ctx, c, found)
	}
	return found, err
}

// imagesIn is where images are put in a datacenter.
func imagesIn(all []platform.ImagePlace, datacenter string) platform.ImagePlace {
	for _, place := range all {
		if place.Datacenter == datacenter {
			return place
		}
	}
	return platform.ImagePlace{}
}

// sitesOf are the paths that places name, and those of imports if images are imported, each once, in a stable order.
func sitesOf(used platform.Uses) []site {
	imports := slices.ContainsFunc(used.Sources, func(source string) bool { return !strings.HasPrefix(source, templateScheme) })
	var all []site
	for _, p := range used.Places {
		datacenter, datastore, _ := strings.Cut(p.Storage, "/")
		if datacenter == "" {
			continue // machines that say so are refused
		}
		at := whereIn(datacenter, p.Folder, p.ResourcePool)
		all = append(all, site{on: onFolder, path: at.folder})
		if datastore != "" { // or a storage policy chooses it, once there is a machine
			all = append(all, site{on: onDatastore, path: at.on(datastore).datastore})
		}
		images := imagesIn(used.Images, datacenter)
		if imports {
			folder := whereIn(datacenter, images.Folder, "").folder
			all = append(all, site{on: onImages, path: folder}, site{on: onImports, path: folder})
		}
		for _, pool := range images.ResourcePools {
			all = append(all, site{on: onImagePool, path: whereIn(datacenter, "", pool).pool})
		}
		if p.ResourcePool != "" {
			all = append(all, site{on: onPool, path: at.pool})
		}
		if p.HostGroup != "" {
			path, _, _ := strings.Cut(at.pool, "/Resources")
			all = append(all, site{on: onCluster, path: path})
		}
		for _, name := range p.Networks {
			all = append(all, site{on: onNetwork, path: at.network(name)})
		}
	}
	slices.SortFunc(all, func(a, b site) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}
