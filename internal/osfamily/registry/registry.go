// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package registry knows the operating system families of this version. The manager and the command line get them here;
// reconcilers never see it, they are given what it lists.
package registry

import (
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/bottlerocket"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/cloudinit"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/fedoracoreos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/flatcar"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/generic"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kairos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talos"
)

// Families are the operating system families that this version renders for and delivers to.
func Families() map[ingotv1.OSFamily]osfamily.Family {
	known := map[ingotv1.OSFamily]osfamily.Family{}
	for _, family := range []osfamily.Family{
		generic.New(), cloudinit.New(), flatcar.New(), fedoracoreos.New(), bottlerocket.New(), kairos.New(), talos.New(),
	} {
		known[family.Name()] = family
	}
	return known
}
