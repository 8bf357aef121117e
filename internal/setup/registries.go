// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package setup

import (
	"context"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/generic"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

// families are the operating system families that this version renders for and delivers to.
func families() map[ingotv1.OSFamily]osfamily.Family {
	known := map[ingotv1.OSFamily]osfamily.Family{}
	for _, family := range []osfamily.Family{generic.New()} {
		known[family.Name()] = family
	}
	return known
}

// openPlatform opens the session of an endpoint: the one place where the union of platforms is taken apart.
func openPlatform(settings session.Settings, events func(platform.Event)) (session.Session, error) {
	if settings.Spec.Libvirt.URI == "" {
		return nil, fmt.Errorf("%w: no platform that this version knows is set: set spec.libvirt", platform.ErrInvalid)
	}
	return libvirt.Open(context.Background(), libvirt.Config{
		URI:          settings.Spec.Libvirt.URI,
		Credentials:  settings.Credentials,
		Acceleration: libvirt.Acceleration(settings.Spec.Libvirt.Acceleration),
		Log:          ctrl.Log.WithName("libvirt"),
	}, events)
}
