// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamily

import (
	"strings"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talossecrets"
)

// PlaceholderToken stands for a bootstrap token, and has its form.
const PlaceholderToken = "hidden.0hidden0hidden00"

// placeholderSecret stands for the value of a Secret that a config refers to.
const placeholderSecret = "hidden"

// PlaceholderAuthority stands for the certificate of a cluster's authority. It never changes, and signed nothing.
const PlaceholderAuthority = `-----BEGIN CERTIFICATE-----
MIIBHDCBz6ADAgECAgEBMAUGAytlcDAVMRMwEQYDVQQDEwppbmdvdCB0ZXN0MCAX
DTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAVMRMwEQYDVQQDEwppbmdv
dCB0ZXN0MCowBQYDK2VwAyEADIz5pXOEb3Cs1ulHatf9DbyAvu+0MsWOZpeFGF9x
bPmjQjBAMA4GA1UdDwEB/wQEAwICBDAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQW
BBT9gnmWRaonRuW1TGufnX6uyJFEPTAFBgMrZXADQQBhpo6cX9kHHbTEIJoC2aF0
FUXsfgBuAQS/7lH52J6a/NOiG+hOdk0vqOmpYDIUX4SUyLmBh42twAZe4GbHA4UP
-----END CERTIFICATE-----
`

// WithPlaceholders returns the input with placeholders for everything in it that is secret, and for what would be there if it
// were known. They have the form that families ask for, so what is rendered is what a machine gets, but for them. Nothing
// that was secret in the input is in what it returns.
func WithPlaceholders(in Input) Input {
	in.Join = Join{Token: PlaceholderToken}
	if in.Role != bootstrapv1.RoleInit {
		in.Join.CACertHashes = []string{"sha256:" + strings.Repeat("0", 64)}
		in.Join.CACert = []byte(PlaceholderAuthority)
	}
	in.Secrets = placeholderSecrets(in.Secrets)
	in.Certificates, in.Restore, in.Talos = nil, nil, nil
	if in.Config.Talos != nil {
		in.Join.Token, in.Talos = "", placeholderTalos(in.Role)
	}
	if in.Role != bootstrapv1.RoleWorker {
		in.Certificates = &Certificates{
			ClusterCA:      placeholderPair("cluster's authority"),
			EtcdCA:         placeholderPair("authority of etcd"),
			FrontProxyCA:   placeholderPair("authority of the front proxy"),
			ServiceAccount: placeholderPair("signer of service accounts"),
		}
		if in.Config.Talos != nil {
			in.Certificates.readable()
		}
	}
	if in.Config.RestoreFrom.Name != "" {
		in.Restore = &Restore{Files: []RestoreFile{{
			Path: RestoreFolder + "/member/snap/db", URL: "https://hidden.invalid/db", SHA512: strings.Repeat("0", 128), SizeBytes: 1,
		}}}
	}
	return in
}

// placeholderSecrets leave names and keys as they are, which the config names itself.
func placeholderSecrets(secrets Secrets) Secrets {
	hidden := Secrets{}
	for name, keys := range secrets {
		hidden[name] = map[string][]byte{}
		for key := range keys {
			hidden[name][key] = []byte(placeholderSecret)
		}
	}
	return hidden
}

func placeholderPair(of string) KeyPair {
	return KeyPair{Cert: []byte("<certificate of the " + of + ">\n"), Key: []byte("<hidden: key of the " + of + ">\n")}
}

// readable puts a certificate and a key behind each placeholder. Talos' machinery takes nothing for one that it cannot read.
func (c *Certificates) readable() {
	cert, key := talossecrets.Known(placeholderSecret)
	for _, pair := range []*KeyPair{&c.ClusterCA, &c.EtcdCA, &c.FrontProxyCA, &c.ServiceAccount} {
		pair.Cert, pair.Key = append(pair.Cert, cert...), append(pair.Key, key...)
	}
}

// placeholderTalos are secrets of a cluster of Talos in the form that they have.
func placeholderTalos(role bootstrapv1.Role) *talossecrets.Secrets {
	const bytes = "aGlkZGVuaGlkZGVuaGlkZGVuaGlkZGVuaGlkZGVuaGk=" // hiddenhidden...
	cert, key := talossecrets.Known(placeholderSecret)
	secrets := talossecrets.Secrets{
		CACert: cert, CAKey: key, ClusterID: bytes, ClusterSecret: bytes, SecretboxKey: bytes,
		MachineToken: PlaceholderToken, BootstrapToken: PlaceholderToken,
	}
	if role == bootstrapv1.RoleWorker {
		secrets = secrets.ForWorker()
	}
	return &secrets
}
