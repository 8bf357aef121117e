// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package registry knows the concrete platforms of this version, and is the one place where the union of platforms is
// taken apart. The manager and the command line open sessions through it; reconcilers never see it.
package registry

import (
	"context"
	"fmt"

	"github.com/go-logr/logr"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/vsphere"
)

// Opener returns the opener of sessions with every platform of this version. The context only carries values: a session
// lives until its Close. log receives one line per change of a session.
func Opener(ctx context.Context, log logr.Logger) session.Opener {
	return func(settings session.Settings, events func(platform.Event)) (session.Session, error) {
		switch {
		case settings.Spec.VSphere.Server != "":
			pools := map[string][]string{}
			for _, images := range settings.Spec.VSphere.Images {
				pools[images.Datacenter] = images.ResourcePools
			}
			return vsphere.Open(ctx, vsphere.Config{
				Server:      settings.Spec.VSphere.Server,
				Thumbprint:  settings.Spec.VSphere.Thumbprint,
				Credentials: settings.Credentials,
				ImagePools:  pools,
				Log:         log.WithName("vsphere"),
				Calls:       settings.Calls,
			}, events)
		case settings.Spec.Libvirt.URI == "":
			return nil, fmt.Errorf("%w: no platform that this version knows is set: set spec.libvirt or spec.vsphere", platform.ErrInvalid)
		}
		return libvirt.Open(ctx, libvirt.Config{
			URI:          settings.Spec.Libvirt.URI,
			Credentials:  settings.Credentials,
			Acceleration: libvirt.Acceleration(settings.Spec.Libvirt.Acceleration),
			Log:          log.WithName("libvirt"),
			Calls:        settings.Calls,
		}, events)
	}
}
