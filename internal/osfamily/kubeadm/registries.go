// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"strings"

	"k8s.io/utils/ptr"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

// registriesPath is where containerd looks for what it should know of registries, at every pull.
const registriesPath = "/etc/containerd/certs.d"

// registryHost is a table of a hosts.toml: a mirror, or the registry itself.
type registryHost struct {
	url          string // empty for the registry itself, whose address containerd knows
	authority    string
	credentials  bootstrapv1.RegistryCredentials
	overridePath bool
}

// registryFiles are the hosts.toml of each registry, with the authorities that it speaks of.
func registryFiles(in osfamily.Input) ([]File, error) {
	var files []File
	for _, registry := range in.Config.Registries {
		folder := registriesPath + "/" + registry.Host
		if registry.Host == settings.AnyRegistry {
			folder = registriesPath + "/_default"
		}
		own, err := hostsFiles(folder, registry, in.Secrets)
		if err != nil {
			return nil, err
		}
		files = append(files, own...)
	}
	return files, nil
}

// hostsFiles write one registry. containerd asks the tables in their order and then the root of the file, which is the
// registry itself. So what skips the registry has its last mirror there.
func hostsFiles(folder string, registry bootstrapv1.Registry, secrets osfamily.Secrets) ([]File, error) {
	root := registryHost{authority: registry.CertificateAuthority, credentials: registry.Credentials}
	var mirrors []registryHost
	for _, mirror := range registry.Mirrors {
		mirrors = append(mirrors, registryHost{
			url: mirror.URL, authority: mirror.CertificateAuthority, credentials: mirror.Credentials, overridePath: ptr.Deref(mirror.OverridePath, false),
		})
	}
	if last := len(mirrors) - 1; last >= 0 && ptr.Deref(registry.SkipFallback, false) {
		root, mirrors = mirrors[last], mirrors[:last]
	}

	var files []File
	var text strings.Builder
	mode := fs.FileMode(0o644)
	write := func(host registryHost, table, authority string) error {
		if host.authority != "" {
			files = append(files, File{Path: folder + "/" + authority, Mode: 0o644, Data: []byte(ended(host.authority))})
		} else {
			authority = ""
		}
		header, err := authorization(host.credentials, secrets)
		if header != "" {
			mode = 0o600
		}
		writeHost(&text, host, table, authority, header)
		return err
	}
	if err := write(root, "", "registry.pem"); err != nil {
		return nil, err
	}
	for i, mirror := range mirrors {
		if err := write(mirror, "host."+quoted(mirror.url), fmt.Sprintf("mirror-%d.pem", i)); err != nil {
			return nil, err
		}
	}
	return append(files, File{Path: folder + "/hosts.toml", Mode: mode, Data: []byte(text.String())}), nil
}

// writeHost writes one host: at the root of the file where it has no table. The authority lies beside the file.
func writeHost(out *strings.Builder, host registryHost, table, authority, header string) {
	headerTable := "header"
	if table != "" {
		headerTable = table + ".header"
		fmt.Fprintf(out, "[%s]\n", table)
	} else if host.url != "" {
		fmt.Fprintf(out, "server = %s\n", quoted(host.url))
	}
	if host.url != "" {
		out.WriteString("capabilities = [\"pull\", \"resolve\"]\n")
	}
	if authority != "" {
		fmt.Fprintf(out, "ca = %s\n", quoted(authority))
	}
	if host.overridePath {
		out.WriteString("override_path = true\n")
	}
	if header != "" {
		fmt.Fprintf(out, "[%s]\nAuthorization = %s\n", headerTable, quoted(header))
	}
}

// authorization is the header that containerd shows to a registry, or to whoever makes tokens for it.
func authorization(credentials bootstrapv1.RegistryCredentials, secrets osfamily.Secrets) (string, error) {
	if credentials == (bootstrapv1.RegistryCredentials{}) {
		return "", nil
	}
	ref := credentials.PasswordFrom.Secret
	password, ok := secrets.Value(ref)
	if !ok {
		return "", fmt.Errorf("key %q of Secret %q was not read", ref.Key, ref.Name)
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials.Username+":"+string(password))), nil
}

// quoted is a TOML string. What comes here has neither quotes nor backslashes nor control characters.
func quoted(text string) string { return `"` + text + `"` }
