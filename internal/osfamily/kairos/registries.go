// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos

import (
	"fmt"
	"net/url"
	"strings"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

const (
	registriesFolder = "/etc/rancher/k3s/"
	// dockerHub is what names of images say, and dockerServer who answers. k3s finds credentials by either, by version.
	dockerHub    = "docker.io"
	dockerServer = "registry-1.docker.io"
)

// k3sRegistries is what k3s reads of registries. Keys are in the order of the alphabet.
type k3sRegistries struct {
	Configs map[string]k3sServer `json:"configs,omitempty"`
	Mirrors map[string]k3sMirror `json:"mirrors,omitempty"`
}

type k3sMirror struct {
	Endpoint []string `json:"endpoint"`
}

type k3sServer struct {
	Auth *k3sAuth `json:"auth,omitempty"`
	TLS  *k3sTLS  `json:"tls,omitempty"`
}

type k3sAuth struct {
	Password string `json:"password"`
	Username string `json:"username"`
}

type k3sTLS struct {
	CAFile string `json:"ca_file"`
}

// registryFiles are the registries.yaml of k3s with the authorities that it speaks of. It is for root only.
func registryFiles(in osfamily.Input) ([]file, error) {
	if len(in.Config.Registries) == 0 {
		return nil, nil
	}
	out := k3sRegistries{Configs: map[string]k3sServer{}, Mirrors: map[string]k3sMirror{}}
	var files []file
	for _, registry := range in.Config.Registries {
		if err := out.server(&files, in.Secrets, registry.Host, registry.CertificateAuthority, registry.Credentials); err != nil {
			return nil, err
		}
		var mirror k3sMirror
		for _, m := range registry.Mirrors {
			address, err := url.Parse(m.URL)
			if err != nil {
				return nil, err
			}
			mirror.Endpoint = append(mirror.Endpoint, endpoint(m, address))
			if err := out.server(&files, in.Secrets, address.Host, m.CertificateAuthority, m.Credentials); err != nil {
				return nil, err
			}
		}
		if len(mirror.Endpoint) > 0 {
			out.Mirrors[registry.Host] = mirror
		}
	}
	if hub, said := out.Configs[dockerHub]; said {
		out.Configs[dockerServer] = hub
	}
	text, err := yaml.Marshal(out)
	if err != nil {
		return nil, err
	}
	return append(files, newFile(registriesFolder+"registries.yaml", 0o600, text)), nil
}

// server adds what is said of one server. Its authority becomes a file.
func (r k3sRegistries) server(files *[]file, secrets osfamily.Secrets, name, authority string, credentials bootstrapv1.RegistryCredentials) error {
	config := r.Configs[name]
	if authority != "" && config.TLS == nil {
		config.TLS = &k3sTLS{CAFile: fmt.Sprintf("%singot-registry-%d.pem", registriesFolder, len(*files))}
		*files = append(*files, newFile(config.TLS.CAFile, 0o644, []byte(strings.TrimRight(authority, "\n")+"\n")))
	}
	if credentials != (bootstrapv1.RegistryCredentials{}) {
		ref := credentials.PasswordFrom.Secret
		password, read := secrets.Value(ref)
		if !read {
			return fmt.Errorf("key %q of Secret %q was not read", ref.Key, ref.Name)
		}
		config.Auth = &k3sAuth{Username: credentials.Username, Password: string(password)}
	}
	if config != (k3sServer{}) {
		r.Configs[name] = config
	}
	return nil
}

// endpoint is a mirror as k3s takes it: with a path it is the root of the API as it is, without one k3s adds /v2.
func endpoint(mirror bootstrapv1.RegistryMirror, address *url.URL) string {
	if address.Path == "" || ptr.Deref(mirror.OverridePath, false) || strings.HasSuffix(address.Path, "/v2") {
		return mirror.URL
	}
	return mirror.URL + "/v2"
}
