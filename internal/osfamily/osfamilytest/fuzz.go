// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamilytest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// Fuzz feeds the family nonsense. It must not panic, must stay pure, and what it does render must be valid.
func Fuzz(f *testing.F, s Suite) {
	f.Helper()
	f.Add("Worker", "node-1", "ingot://1", "192.0.2.10", int32(6443), "v1.36.3", "example.com/a", "b", "eth0", int32(51), "10m", int32(600), "")
	f.Add("Init", "node-1", "", "::1", int32(443), "v1.31.0", "a", "", "", int32(0), "", int32(0), "https://example.com/db")
	f.Add("ControlPlane", "", "\n", "", int32(-1), "1", "/", "\"", "%s", int32(-1), "-", int32(-1), "\x00")
	f.Fuzz(func(t *testing.T, role, name, providerID, host string, port int32, version, key, value, device string, router int32, cpu string, seconds int32, address string) {
		in := input(bootstrapv1.Role(role))
		selectInto(&in, s.Select)
		in.Machine.Name, in.Machine.ProviderID = name, providerID
		in.Cluster.EndpointHost, in.Cluster.EndpointPort, in.Cluster.KubernetesVersion = host, port, version
		in.Config.JoinTimeoutSeconds = &seconds
		in.Config.Node.Labels = map[string]string{key: value}
		in.Config.Node.Taints = &[]corev1.Taint{{Key: key, Value: value, Effect: corev1.TaintEffectNoExecute}}
		in.Config.Node.KubeletExtraArgs = []bootstrapv1.Arg{{Name: key, Value: value}}
		in.Config.ControlPlane.VIP = bootstrapv1.ControlPlaneVIP{VirtualRouterID: router, Interface: device}
		in.Config.ControlPlane.CertSANs = []string{host}
		in.Config.ControlPlane.SkipPhases = []string{key}
		in.Config.ControlPlane.APIServer = bootstrapv1.ComponentSettings{
			CPURequest: cpu,
			ExtraArgs:  []bootstrapv1.Arg{{Name: key, Value: value}},
			ExtraEnvs:  []bootstrapv1.EnvVar{{Name: key, Value: value}},
		}
		if address != "" {
			restoring(&in, key)
			in.Restore.Files[0].URL, in.Restore.Files[1].Path = address, value
		}
		s.checkNonsense(t, in)
	})
}

// FuzzText feeds an escape hatch of the family nonsense and lures, with the laws of Fuzz; no file is read and no server asked
// for any of them. set writes the text into the spec.
func FuzzText(f *testing.F, s Suite, set func(spec *bootstrapv1.IngotConfigSpec, text string), seeds ...string) {
	f.Helper()
	trap := NewTrap(f)
	for _, seed := range slices.Concat(seeds, luresFor(Worker(s.Select).Config), []string{"", "\x00", "file:///etc/hostname", "/etc/hostname"}) {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, text string, allowed bool) {
		in := Worker(s.Select)
		if allowed {
			in.Config.SelfUpdate = bootstrapv1.SelfUpdateAllowed
		}
		set(&in.Config, trap.Set(text))
		bundle, report := s.checkNonsense(t, in)
		if who := trap.Sprung(string(bundle.Data), fmt.Sprint(report)); who != "" {
			t.Error(who)
		}
	})
}

func (s Suite) checkNonsense(t *testing.T, in osfamily.Input) (osfamily.Bundle, osfamily.Report) {
	t.Helper()
	bundle, report := s.Family.Render(in)
	again, _ := s.Family.Render(in)
	if !bytes.Equal(bundle.Data, again.Data) {
		t.Error("Render is not pure")
	}
	if report.Err() != nil {
		return bundle, report
	}
	if err := s.Validate(bundle.Data); err != nil {
		t.Errorf("the operating system would refuse the bundle: %v", err)
	}
	return bundle, report
}
