// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"sigs.k8s.io/yaml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// k3sToken is a bootstrap token with the digest by which an agent recognises its cluster. k3s takes the digest of the
// file of the authority, not of its key.
func k3sToken(join osfamily.Join) string {
	sum := sha256.Sum256(join.CACert)
	return "K10" + hex.EncodeToString(sum[:]) + "::" + join.Token
}

// kubeconfig is the part of a kubeconfig that k0s reads of a worker's token.
type kubeconfig struct {
	APIVersion     string         `json:"apiVersion"`
	Kind           string         `json:"kind"`
	Clusters       []namedCluster `json:"clusters"`
	Users          []namedUser    `json:"users"`
	Contexts       []namedContext `json:"contexts"`
	CurrentContext string         `json:"current-context"`
}

type namedCluster struct {
	Name    string  `json:"name"`
	Cluster cluster `json:"cluster"`
}

type cluster struct {
	Server                   string `json:"server"`
	CertificateAuthorityData []byte `json:"certificate-authority-data"`
}

type namedUser struct {
	Name string      `json:"name"`
	User credentials `json:"user"`
}

type credentials struct {
	Token string `json:"token"`
}

type namedContext struct {
	Name    string  `json:"name"`
	Context context `json:"context"`
}

type context struct {
	Cluster string `json:"cluster"`
	User    string `json:"user"`
}

// k0sToken is a kubeconfig, packed as k0s packs its own tokens. k0s tells a worker's by the name of its user.
func k0sToken(in osfamily.Input) (string, error) {
	const name, worker = "k0s", "kubelet-bootstrap"
	config, err := yaml.Marshal(kubeconfig{
		APIVersion: "v1",
		Kind:       "Config",
		Clusters: []namedCluster{{Name: name, Cluster: cluster{
			Server: "https://" + in.Cluster.Endpoint(), CertificateAuthorityData: in.Join.CACert,
		}}},
		Users:          []namedUser{{Name: worker, User: credentials{Token: in.Join.Token}}},
		Contexts:       []namedContext{{Name: name, Context: context{Cluster: name, User: worker}}},
		CurrentContext: name,
	})
	if err != nil {
		return "", err
	}
	var packed bytes.Buffer
	// How well a library compresses may change with its version, and with it the bytes of the bundle.
	writer, err := gzip.NewWriterLevel(&packed, gzip.NoCompression)
	if err != nil {
		return "", err
	}
	if _, err := writer.Write(config); err != nil {
		return "", err
	}
	if err := writer.Close(); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(packed.Bytes()), nil
}
