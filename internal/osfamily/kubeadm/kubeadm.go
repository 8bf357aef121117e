// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kubeadm describes a node that kubeadm makes: the files that are written on its first boot and the units that
// run then. Families whose images carry containerd, kubelet and kubeadm in /usr/bin share it; each writes the node down in
// the format that its images read. The package holds what is wrong with an input, too, before it is seen on a machine. It
// knows no format and no operating system, and it never talks to anything.
package kubeadm

import (
	"io/fs"
	"time"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/node"
)

// Paths on the node that more than one file speaks of.
const (
	kubeadmPath    = "/etc/ingot/kubeadm.yaml"
	patchesPath    = "/etc/ingot/kubeadm-patches"
	pkiPath        = "/etc/kubernetes/pki"
	sentinelFolder = "/run/cluster-api"
	sentinelName   = "bootstrap-success.complete"
)

// Node is what must be on a machine before kubeadm runs. All of it belongs to root.
type Node struct {
	// Hostname is the name of the host, which may have dots.
	Hostname string
	// Files are files to write.
	Files []File
	// Units are systemd units to write, extend, enable or mask.
	Units []Unit
	// Fetch is what the machine fetches. A family that cannot fetch must refuse a node that has any: without its files
	// kubeadm would make an empty cluster.
	Fetch Fetch
}

// File is a file.
type File = node.File

// Unit is a systemd unit.
type Unit struct {
	// Name is the file name of the unit.
	Name string
	// Contents is the unit file; empty keeps the image's own.
	Contents string
	// Enabled starts the unit on this boot and on every other.
	Enabled bool
	// Masked makes the unit impossible to start. The image need not have it.
	Masked bool
	// Dropins extend the unit: file name to content.
	Dropins map[string]string
}

// Fetch is what a machine fetches on its first boot, before any unit runs. It is secret.
type Fetch struct {
	// Files are the files to fetch. The machine must refuse any content that has another digest.
	Files []RemoteFile
	// Folders are the folders that hold them, parents first.
	Folders []Folder
	// Authority is a PEM bundle of authorities that the machine trusts for it, beside those that its image trusts. Empty
	// means none.
	Authority string
	// Patience is how long the machine tries to fetch one file.
	Patience time.Duration
}

// RemoteFile is a file whose content is fetched.
type RemoteFile struct {
	// Path is absolute.
	Path string
	// Mode holds the permission bits.
	Mode fs.FileMode
	// URL is an https address.
	URL string
	// SHA512 is the digest of the content in hexadecimal.
	SHA512 string
}

// Folder is a directory whose mode matters.
type Folder struct {
	// Path is absolute.
	Path string
	// Mode holds the permission bits.
	Mode fs.FileMode
}

// Render writes the node in a format. Report is what Check, and the family after it, found in the input; the bundle is zero
// where it holds an Error.
func Render(in osfamily.Input, report osfamily.Report, format ingotv1.BootstrapFormat, encode func(Node) ([]byte, error)) (osfamily.Bundle, osfamily.Report) {
	if report.Err() != nil {
		return osfamily.Bundle{}, report
	}
	node, err := compose(in)
	if err != nil {
		report.Errorf("spec", "cannot be written as kubeadm configuration: %v", err)
		return osfamily.Bundle{}, report
	}
	checkTaken(&report, node, in.Config)
	if report.Err() != nil {
		return osfamily.Bundle{}, report
	}
	addOwn(&node, in)
	data, err := encode(node)
	if err != nil {
		report.Errorf("spec", "cannot be written in format %s: %v", format, err)
		return osfamily.Bundle{}, report
	}
	return osfamily.Bundle{Data: data, Format: format}, report
}

// compose describes the node without the files and units that the user adds. Its input was checked.
func compose(in osfamily.Input) (Node, error) {
	configuration, err := configurationYAML(in)
	if err != nil {
		return Node{}, err
	}
	node := Node{
		Hostname: in.Machine.Name,
		Files: []File{
			// The kubelet takes the address that its own host name resolves to for the Node's address. A loopback address
			// makes it ask the interface with the default route instead, which no name server and no virtual address
			// can change.
			{Path: "/etc/hosts", Mode: 0o644, Data: []byte("127.0.1.1 " + in.Machine.Name + "\n"), Append: true},
			{Path: kubeadmPath, Mode: 0o600, Data: configuration},
		},
		Units: []Unit{bootstrapUnit(in.Role)},
	}
	if isControlPlane(in.Role) {
		node.Files = append(node.Files, pkiFiles(*in.Certificates)...)
		node.Files = append(node.Files, patchFiles(in.Config.ControlPlane)...)
	}
	if in.Restore != nil {
		node.Fetch = fetch(*in.Restore)
	}
	if in.Role == bootstrapv1.RoleControlPlane {
		node.Files = append(node.Files, File{Path: joinPath, Mode: 0o700, Data: []byte(joinScript)})
	}
	if wantsVIP(in) {
		addVIP(&node, in)
	}
	if reportsIdentity(in.Config.Node) {
		addIdentity(&node)
	}
	if in.Config.SelfUpdate != bootstrapv1.SelfUpdateAllowed {
		node.Units = append(node.Units, guardRails()...)
	}
	return node, addSettings(&node, in)
}

func isControlPlane(role bootstrapv1.Role) bool { return role != bootstrapv1.RoleWorker }

// pkiFiles are the authorities where kubeadm looks for them; it then makes only the certificates below them.
func pkiFiles(certs osfamily.Certificates) []File {
	var files []File
	add := func(pair osfamily.KeyPair, public, private string) {
		files = append(files,
			File{Path: pkiPath + "/" + public, Mode: 0o644, Data: pair.Cert},
			File{Path: pkiPath + "/" + private, Mode: 0o600, Data: pair.Key})
	}
	add(certs.ClusterCA, "ca.crt", "ca.key")
	add(certs.EtcdCA, "etcd/ca.crt", "etcd/ca.key")
	add(certs.FrontProxyCA, "front-proxy-ca.crt", "front-proxy-ca.key")
	add(certs.ServiceAccount, "sa.pub", "sa.key")
	return files
}
