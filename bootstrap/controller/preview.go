// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

// Preview renders for people what a pass of the reconciler renders for a machine, by the same functions. It writes nothing,
// and reads no Secret unless it is asked for what was published.
type Preview struct {
	// Client reads from the API server. Only Look and Published need it.
	Client client.Client
	// Families are the OS families that can be rendered.
	Families map[ingotv1.OSFamily]osfamily.Family
}

// Subject is the machine that is rendered for: objects as they are, or as a file has them. All but ProviderID and NoTPM are
// required.
type Subject struct {
	Config  *bootstrapv1.IngotConfig
	Machine *clusterv1.Machine
	Cluster *clusterv1.Cluster
	// ProviderID is the machine's identity; empty where there is none.
	ProviderID string
	// NoTPM is whether the machine is known to have no TPM.
	NoTPM bool
	// Image is what the machine is cast from, as far as it matters to the family.
	Image osfamily.Image
}

// Rendering is what came of it.
type Rendering struct {
	// Role is what the node does.
	Role bootstrapv1.Role
	// Family rendered it; nil where the spec names none that is known.
	Family osfamily.Family
	// Bundle has placeholders for all that is secret. It is zero where the report holds an Error.
	Bundle osfamily.Bundle
	// Report is what the family found.
	Report osfamily.Report
}

// What stands for a machine and a cluster that nobody knows yet. The address is for documents, the version the oldest that is
// rendered for, or one that all releases of an operating system run where a family writes by release.
const (
	AnyMachine    = "any-machine"
	AnyCluster    = "any-cluster"
	AnyProviderID = "ingot://00000000-0000-0000-0000-000000000000"
	AnyHost       = "192.0.2.1"
	AnyPort       = 6443
	AnyVersion    = "v1.31.0"

	anyVersionByRelease = "v1.35.0"
)

// VersionPath is where families see the version of Kubernetes that is not theirs to set.
const VersionPath = "Machine.spec.version"

// Family is the family that renders a config; nil where the config names none that is known.
func (p Preview) Family(spec bootstrapv1.IngotConfigSpec) osfamily.Family {
	name, _ := familyOf(spec)
	return p.Families[name]
}

// AnyVersion is the version of Kubernetes that stands for one that nobody knows.
func (p Preview) AnyVersion(spec bootstrapv1.IngotConfigSpec) string {
	if _, byRelease := p.Family(spec).(osfamily.Releaser); byRelease {
		return anyVersionByRelease
	}
	return AnyVersion
}

// AnyImages are what machines of a config may be cast from, the newest first. One of them says nothing where the family does
// not write by release.
func (p Preview) AnyImages(spec bootstrapv1.IngotConfigSpec) []osfamily.Image {
	releaser, byRelease := p.Family(spec).(osfamily.Releaser)
	if !byRelease {
		return []osfamily.Image{{}}
	}
	var images []osfamily.Image
	for _, release := range releaser.Releases() {
		images = append(images, osfamily.Image{OSVersion: release})
	}
	return images
}

// AnySubject is whatever machine is made from a config and an image. The version is that of Kubernetes; empty means that it is
// not known.
func (p Preview) AnySubject(spec bootstrapv1.IngotConfigSpec, image osfamily.Image, version string) Subject {
	s := Subject{Config: &bootstrapv1.IngotConfig{Spec: spec}, Machine: &clusterv1.Machine{}, Cluster: &clusterv1.Cluster{}, ProviderID: AnyProviderID, Image: image}
	s.Machine.Name, s.Machine.Spec.Version = AnyMachine, cmp.Or(version, p.AnyVersion(spec))
	s.Cluster.Name = AnyCluster
	s.Cluster.Spec.ControlPlaneEndpoint = clusterv1.APIEndpoint{Host: AnyHost, Port: AnyPort}
	return s
}

// Look finds a Machine and what belongs to it. The note says what is not there yet.
func (p Preview) Look(ctx context.Context, key client.ObjectKey) (subject Subject, note string, err error) {
	w := &world{config: &bootstrapv1.IngotConfig{}, machine: &clusterv1.Machine{}, cluster: &clusterv1.Cluster{}}
	if err := p.Client.Get(ctx, key, w.machine); err != nil {
		return Subject{}, "", err
	}
	ref := w.machine.Spec.Bootstrap.ConfigRef
	if ref.APIGroup != bootstrapv1.GroupVersion.Group || ref.Kind != "IngotConfig" {
		return Subject{}, "", fmt.Errorf("the Machine %s has no IngotConfig: spec.bootstrap.configRef names %q", key.Name, ref.Kind)
	}
	if err := p.Client.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: ref.Name}, w.config); err != nil {
		return Subject{}, "", err
	}
	if err := p.Client.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: w.machine.Spec.ClusterName}, w.cluster); err != nil {
		return Subject{}, "", err
	}
	infra, outcome := (&Reconciler{Client: p.Client}).infrastructure(ctx, w, p.Family(w.config.Spec))
	if !outcome.Done() {
		note = outcome.Message()
	}
	return Subject{Config: w.config, Machine: w.machine, Cluster: w.cluster, ProviderID: infra.providerID, NoTPM: infra.noTPM, Image: infra.image}, note, nil
}

// Render renders for a machine, with placeholders for all that is secret.
func (p Preview) Render(s Subject) Rendering {
	w := &world{config: s.Config, machine: s.Machine, cluster: s.Cluster}
	r := Rendering{Role: w.role()}
	family, outcome := (&Reconciler{Families: p.Families}).family(s.Config.Spec)
	if !outcome.Done() {
		r.Report.Errorf("spec", "%s", outcome.Message())
		return r
	}
	var in osfamily.Input
	describe(w, &in)
	in.Machine.ProviderID, in.Machine.NoTPM, in.Image = s.ProviderID, s.NoTPM, s.Image
	in.Secrets = referred(s.Config.Spec)
	r.Family = family
	r.Bundle, r.Report = family.Render(osfamily.WithPlaceholders(in))
	return r
}

// referred are the Secrets that a config refers to, none of which was read.
func referred(spec bootstrapv1.IngotConfigSpec) osfamily.Secrets {
	secrets := osfamily.Secrets{}
	for _, reference := range settings.References(spec) {
		if secrets[reference.Secret.Name] == nil {
			secrets[reference.Secret.Name] = map[string][]byte{}
		}
		secrets[reference.Secret.Name][reference.Secret.Key] = nil
	}
	return secrets
}

// ErrNotPublished says that a machine has no bootstrap data yet.
var ErrNotPublished = errors.New("the bootstrap data is not published yet; see the conditions of the IngotConfig")

// Published reads the bootstrap data that the machine gets, with every secret in it.
func (p Preview) Published(ctx context.Context, s Subject) (osfamily.Bundle, error) {
	if s.Config.Status.DataSecretName == "" {
		return osfamily.Bundle{}, ErrNotPublished
	}
	secret := &corev1.Secret{}
	if err := p.Client.Get(ctx, client.ObjectKey{Namespace: s.Config.Namespace, Name: s.Config.Status.DataSecretName}, secret); err != nil {
		return osfamily.Bundle{}, err
	}
	return osfamily.Bundle{Data: secret.Data[valueKey], Format: ingotv1.BootstrapFormat(secret.Data[formatKey])}, nil
}
