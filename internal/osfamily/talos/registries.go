// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/siderolabs/talos/pkg/machinery/config/types/cri"
	"github.com/siderolabs/talos/pkg/machinery/config/types/meta"
	"k8s.io/utils/ptr"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// endpoint is what is said of one host from which images come. Talos knows hosts, whatever registry they mirror.
type endpoint struct {
	host string
	// path is where the user wrote it.
	path        string
	authority   string
	credentials bootstrapv1.RegistryCredentials
}

// endpoints lists what the config says of hosts, in its order. A host may be in it more than once.
func endpoints(config bootstrapv1.IngotConfigSpec) []endpoint {
	var found []endpoint
	add := func(e endpoint) {
		if e.authority != "" || e.credentials != (bootstrapv1.RegistryCredentials{}) {
			found = append(found, e)
		}
	}
	for i, registry := range config.Registries {
		path := fmt.Sprintf("spec.registries[%d]", i)
		for j, mirror := range registry.Mirrors {
			if parsed, err := url.Parse(mirror.URL); err == nil {
				add(endpoint{parsed.Host, fmt.Sprintf("%s.mirrors[%d]", path, j), mirror.CertificateAuthority, mirror.Credentials})
			}
		}
		host := registry.Host
		if host == "docker.io" {
			host = "registry-1.docker.io" // where docker.io serves images from
		}
		add(endpoint{host, path, registry.CertificateAuthority, registry.Credentials})
	}
	return found
}

// checkRegistries refuses two logins for one host, of which Talos knows one.
func checkRegistries(report *osfamily.Report, in osfamily.Input) {
	first := map[string]endpoint{}
	for _, e := range endpoints(in.Config) {
		if e.credentials == (bootstrapv1.RegistryCredentials{}) {
			continue
		}
		if other, seen := first[e.host]; seen && other.credentials != e.credentials {
			report.Errorf(e.path+".credentials", "%s has other credentials at %s, and Talos keeps one login for a host: use the same", e.host, other.path)
		} else if !seen {
			first[e.host] = e
		}
	}
}

// registries writes mirrors, authorities and logins.
func (d *documents) registries(in osfamily.Input) {
	for _, registry := range in.Config.Registries {
		if len(registry.Mirrors) == 0 {
			continue
		}
		document := cri.NewRegistryMirrorConfigV1Alpha1(registry.Host)
		for _, mirror := range registry.Mirrors {
			parsed, err := url.Parse(mirror.URL)
			if err != nil {
				continue // it was refused
			}
			one := cri.RegistryEndpoint{EndpointURL: meta.URL{URL: parsed}}
			if ptr.Deref(mirror.OverridePath, false) {
				one.EndpointOverridePath = new(true)
			}
			document.RegistryEndpoints = append(document.RegistryEndpoints, one)
		}
		if ptr.Deref(registry.SkipFallback, false) {
			document.RegistrySkipFallback = new(true)
		}
		d.replace(document)
	}
	d.registryHosts(in)
}

func (d *documents) registryHosts(in osfamily.Input) {
	authorities := map[string][]string{}
	for _, e := range endpoints(in.Config) {
		if pem := strings.TrimSpace(e.authority); pem != "" && !slices.Contains(authorities[e.host], pem) {
			authorities[e.host] = append(authorities[e.host], pem)
			tls := cri.NewRegistryTLSConfigV1Alpha1(e.host)
			tls.TLSCA = strings.Join(authorities[e.host], "\n") + "\n"
			d.replace(tls)
		}
		if e.credentials != (bootstrapv1.RegistryCredentials{}) {
			password, _ := in.Secrets.Value(e.credentials.PasswordFrom.Secret)
			auth := cri.NewRegistryAuthConfigV1Alpha1(e.host)
			auth.RegistryUsername, auth.RegistryPassword = e.credentials.Username, string(password)
			d.replace(auth)
		}
	}
}
