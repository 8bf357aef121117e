// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package osfamily is the port to operating system families: what turns the portable description of a node into the
// machine configuration that one operating system reads on first boot. It holds the contract, the values that cross it
// and the report. Families live in folders below it, encoders that several families share too; the suite that proves
// that they keep the contract lives in osfamilytest. Rendering is pure: no client, no file, no network, no clock.
package osfamily

import (
	"net/netip"
	"strconv"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talossecrets"
)

// Family is one operating system family.
type Family interface {
	// Name is the family as NodeImage.spec.os.family and the registry know it.
	Name() ingotv1.OSFamily

	// Render turns the input into a bundle. It is a pure function: the same input gives the same bytes, for ever;
	// what it emits for an existing input is pinned by golden files, because a change would roll machines. Whatever the
	// family cannot do is an Error finding in the report, never dropped. The bundle is valid only when the report holds
	// no Error. It never panics on bad input.
	Render(in Input) (Bundle, Report)

	// Channels lists the delivery channels that images of the family read, best first.
	Channels(format ingotv1.BootstrapFormat) []delivery.Channel
}

// Reader is a Family whose bundles are not for people to read. Those of other families are text, and are shown as they are.
type Reader interface {
	// Readable writes a bundle of the family as text that a person can review: what is encoded is decoded. It holds every
	// secret that the bundle holds.
	Readable(bundle Bundle) (string, error)
}

// Weigher is a Family that can tell, without rendering it, that a config takes long to render.
type Weigher interface {
	// Weigh reports an Error where a config should not be rendered while somebody waits. It looks at no more than the size of
	// things, is quick, and judges nothing else. The reconciler renders such a config all the same.
	Weigh(config bootstrapv1.IngotConfigSpec) Report
}

// Releaser is a Family that writes something else for each release of its operating system, so that it must know what the
// machine is cast from.
type Releaser interface {
	// Releases are versions of the operating system, one of each release that is written for, the newest first.
	Releases() []string
}

// Input is everything that decides a node's machine configuration.
type Input struct {
	// Cluster describes the cluster.
	Cluster Cluster
	// Machine describes the machine.
	Machine Machine
	// Image is what is known of the image that the machine is cast from.
	Image Image
	// Role is what the node does; never empty.
	Role bootstrapv1.Role
	// Config is the user's description of the node.
	Config bootstrapv1.IngotConfigSpec
	// Certificates are the cluster's authorities; nil for workers, who join by the authority's public key hash.
	Certificates *Certificates
	// Talos are the secrets that a cluster of Talos has beside its authorities; nil for other families. A worker's hold no
	// private key.
	Talos *talossecrets.Secrets
	// Join is how the node finds and trusts the cluster. For RoleInit only Token is set: the token that the node makes.
	Join Join
	// Restore is what the machine fetches before it makes the cluster; nil where nothing is restored. It goes with RoleInit
	// only. A family that cannot fetch files on first boot reports an Error, as does one that finds Config.RestoreFrom set
	// and Restore nil: a restore that is dropped is an empty cluster.
	Restore *Restore
	// Secrets are the values that Config refers to, as package settings lists them.
	Secrets Secrets
}

// Cluster describes the cluster that the node belongs to.
type Cluster struct {
	// Name is the name of the Cluster.
	Name string
	// KubernetesVersion is the version with a leading v.
	KubernetesVersion string
	// EndpointHost and EndpointPort are where the API server is reached.
	EndpointHost string
	EndpointPort int32
	// PodCIDRs and ServiceCIDRs are address ranges; empty means kubeadm's defaults.
	PodCIDRs     []string
	ServiceCIDRs []string
	// ServiceDomain is the DNS domain of Services; empty means cluster.local.
	ServiceDomain string
}

// Endpoint returns host and port of the API server as an address that can stand in a URL.
func (c Cluster) Endpoint() string {
	host := c.EndpointHost
	if address, err := netip.ParseAddr(host); err == nil && address.Is6() {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(c.EndpointPort))
}

// Machine describes the machine that becomes the node.
type Machine struct {
	// Name is the name of the Machine; it becomes the host name and the name of the Node.
	Name string
	// ProviderID is what the kubelet reports as the Node's provider ID. Empty leaves it unset.
	ProviderID string
	// NoTPM says that the machine is known to have no TPM. It is false where it has one, and where nobody can tell.
	NoTPM bool
}

// Image is what is known of an image. It is the zero value where another provider makes the machine.
type Image struct {
	// OSVersion is the version of its operating system, as NodeImage.spec.os.version has it.
	OSVersion string
}

// Certificates are the authorities of a cluster, PEM encoded. They are secret.
type Certificates struct {
	ClusterCA      KeyPair
	EtcdCA         KeyPair
	FrontProxyCA   KeyPair
	ServiceAccount KeyPair
}

// KeyPair is a certificate (or public key) with its private key, PEM encoded.
type KeyPair struct {
	Cert []byte
	Key  []byte
}

// Join is how a node finds and trusts its cluster. It is secret.
type Join struct {
	// Token is a bootstrap token in the form abcdef.0123456789abcdef. It is empty for families whose nodes join without one.
	Token string
	// CACertHashes are public key pins of the cluster authority in the form sha256:<hex>.
	CACertHashes []string
	// CACert is the certificate of the cluster authority, PEM encoded, for nodes that take it instead of its pins. It is
	// not secret.
	CACert []byte
}

// Bundle is a rendered machine configuration. It is secret.
type Bundle struct {
	// Data is the configuration as the operating system reads it.
	Data []byte
	// Format is the format of Data, as the Secret's key "format" states it.
	Format ingotv1.BootstrapFormat
}
