// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/pbm"
	"github.com/vmware/govmomi/pbm/methods"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vim25/types"
)

// policies is the service of vCenter that knows storage policies. It takes the session of the client.
type policies struct {
	*pbm.Client

	of *client
}

// policies reaches the service.
func (c *client) policies(ctx context.Context) (policies, error) {
	service := c.vim.NewServiceClient(pbm.Path, pbm.Namespace)
	service.Cookie = c.vim.SessionCookie
	p := policies{Client: &pbm.Client{Client: service, RoundTripper: service}, of: c}
	err := c.do(ctx, "PbmRetrieveServiceContent", func(ctx context.Context) error {
		res, err := methods.PbmRetrieveServiceContent(ctx, service, &pbmtypes.PbmRetrieveServiceContent{This: pbm.ServiceInstance})
		if err == nil {
			p.ServiceContent = res.Returnval
		}
		return err
	})
	return p, unseen(err)
}

// policy returns the identifier of a storage policy, if what lies on the datastore can have it.
func (c *client) policy(ctx context.Context, name string, datastore ref) (id string, err error) {
	p, err := c.policies(ctx)
	if err != nil {
		return "", err
	}
	if id, err = p.named(ctx, name); err != nil {
		return "", err
	}
	return id, p.check(ctx, id, datastore)
}

// named returns the identifier of a storage policy.
func (p policies) named(ctx context.Context, name string) (id string, err error) {
	var ids []pbmtypes.PbmProfileId
	err = p.of.do(ctx, "PbmQueryProfile", func(ctx context.Context) (err error) {
		storage := pbmtypes.PbmProfileResourceType{ResourceType: string(pbmtypes.PbmProfileResourceTypeEnumSTORAGE)}
		ids, err = p.QueryProfile(ctx, storage, string(pbmtypes.PbmProfileCategoryEnumREQUIREMENT))
		return err
	})
	if err != nil {
		return "", unseen(err)
	}
	var profiles []pbmtypes.BasePbmProfile
	if len(ids) > 0 {
		err = p.of.do(ctx, "PbmRetrieveContent", func(ctx context.Context) (err error) {
			profiles, err = p.RetrieveContent(ctx, ids)
			return err
		})
	}
	if err != nil {
		return "", unseen(err)
	}
	profiles = slices.DeleteFunc(profiles, func(b pbmtypes.BasePbmProfile) bool { return b.GetPbmProfile().Name != name })
	switch len(profiles) {
	case 0:
		return "", fmt.Errorf("%w: a storage policy %s that the session sees", errNotFound, name)
	case 1:
		return profiles[0].GetPbmProfile().ProfileId.UniqueId, nil
	default:
		return "", fmt.Errorf("%w: %d storage policies are called %s", errAmbiguous, len(profiles), name)
	}
}

// check asks whether a datastore is compatible with a storage policy.
func (p policies) check(ctx context.Context, id string, datastore ref) error {
	unfit, err := p.unfit(ctx, id, datastore)
	if err != nil {
		return err
	}
	return unfit[datastore]
}

// unfit returns why datastores are not compatible with a storage policy, in one round trip; what it does not hold is. One that
// vCenter does not name is not.
func (p policies) unfit(ctx context.Context, id string, datastores ...ref) (map[ref]error, error) {
	var hubs []pbmtypes.PbmPlacementHub
	for _, datastore := range datastores {
		hubs = append(hubs, pbmtypes.PbmPlacementHub{HubType: datastore.kind, HubId: datastore.value})
	}
	var results pbm.PlacementCompatibilityResult
	err := p.of.do(ctx, "PbmCheckCompatibility", func(ctx context.Context) error {
		res, err := methods.PbmCheckCompatibility(ctx, p.Client, &pbmtypes.PbmCheckCompatibility{
			This: p.ServiceContent.PlacementSolver, HubsToSearch: hubs, Profile: pbmtypes.PbmProfileId{UniqueId: id},
		})
		if err == nil {
			results = res.Returnval
		}
		return err
	})
	if err != nil {
		return nil, unseen(err)
	}
	unfit := map[ref]error{}
	for _, datastore := range datastores {
		unfit[datastore] = errNotFit
	}
	for _, r := range results {
		at := ref{kind: r.Hub.HubType, value: r.Hub.HubId}
		if len(r.Error) == 0 {
			delete(unfit, at)
		} else if _, asked := unfit[at]; asked {
			unfit[at] = fmt.Errorf("%w: %s", errNotFit, describe(r.Error[0].Fault, r.Error[0].LocalizedMessage))
		}
	}
	return unfit, nil
}

// profile is a storage policy in vCenter's words; empty for the datastore's own.
func profile(policy string) []types.BaseVirtualMachineProfileSpec {
	if policy == "" {
		return nil
	}
	return []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: policy}}
}

// keepTo has everything of a clone lie on the datastore under a storage policy: its folder, and the disks that it is cloned
// with. Disks that are added carry it themselves.
func (o order) keepTo(location *types.VirtualMachineRelocateSpec) {
	if o.policy == "" {
		return
	}
	location.Profile = profile(o.policy)
	for _, device := range o.from.devices {
		if disk, is := device.(*types.VirtualDisk); is {
			location.Disk = append(location.Disk, types.VirtualMachineRelocateSpecDiskLocator{
				DiskId: disk.Key, Datastore: o.datastore.vim(), DiskMoveType: location.DiskMoveType, Profile: profile(o.policy),
			})
		}
	}
}
