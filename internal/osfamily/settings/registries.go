// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

func checkRegistries(report *osfamily.Report, in osfamily.Input) {
	seen := map[string]bool{}
	for i, registry := range in.Config.Registries {
		path := fmt.Sprintf("spec.registries[%d]", i)
		if seen[registry.Host] {
			report.Errorf(path+".host", "%q is listed twice", registry.Host)
		}
		seen[registry.Host] = true
		checkRegistry(report, in.Secrets, path, registry)
	}
}

func checkRegistry(report *osfamily.Report, secrets osfamily.Secrets, path string, registry bootstrapv1.Registry) {
	ofItsOwn := registry.CertificateAuthority != "" || registry.Credentials != (bootstrapv1.RegistryCredentials{})
	skips := ptr.Deref(registry.SkipFallback, false)
	switch {
	case registry.Host != AnyRegistry && !isRegistryHost(registry.Host):
		report.Errorf(path+".host", "%q is not a registry: write it like docker.io or registry.example.com:5000", registry.Host)
	case registry.Host == AnyRegistry && ofItsOwn:
		report.Errorf(path+".host", "* stands for many registries, which share no certificateAuthority and no credentials: set them on its mirrors, or name the registry")
	case len(registry.Mirrors) == 0 && !ofItsOwn:
		report.Errorf(path, "says nothing: set mirrors, certificateAuthority or credentials")
	case skips && len(registry.Mirrors) == 0:
		report.Errorf(path+".skipFallback", "without mirrors leaves nothing to pull from: set mirrors")
	case skips && ofItsOwn:
		report.Errorf(path+".skipFallback", "keeps the node from asking the registry itself: remove certificateAuthority and credentials, or set them on mirrors")
	}
	checkBundle(report, path+".certificateAuthority", registry.CertificateAuthority)
	checkCredentials(report, secrets, path+".credentials", registry.Credentials)
	seen := map[string]bool{}
	for i, mirror := range registry.Mirrors {
		at := fmt.Sprintf("%s.mirrors[%d]", path, i)
		if seen[mirror.URL] {
			report.Errorf(at+".url", "is listed twice")
		}
		seen[mirror.URL] = true
		checkMirror(report, secrets, at, mirror)
	}
}

func checkMirror(report *osfamily.Report, secrets osfamily.Secrets, path string, mirror bootstrapv1.RegistryMirror) {
	const pattern = `^https?://[A-Za-z0-9\[][A-Za-z0-9.:\[\]-]*(/[A-Za-z0-9._~-]+)*$`
	if !regexp.MustCompile(pattern).MatchString(mirror.URL) || !isAddress(mirror.URL) {
		report.Errorf(path+".url", "is not the address of a registry: write it like https://mirror.example.com, without user, password, query and trailing slash")
		return
	}
	secure := strings.HasPrefix(mirror.URL, "https://")
	if mirror.CertificateAuthority != "" && !secure {
		report.Errorf(path+".certificateAuthority", "is for a mirror with an https address")
	}
	if mirror.Credentials != (bootstrapv1.RegistryCredentials{}) && !secure {
		report.Errorf(path+".credentials", "are shown only to a mirror with an https address")
	}
	if ptr.Deref(mirror.OverridePath, false) && !regexp.MustCompile(`^https?://[^/]+/.+`).MatchString(mirror.URL) {
		report.Errorf(path+".overridePath", "makes the path of url the root of the registry's API, and it has none: add a path, for example /v2/proxy")
	}
	checkBundle(report, path+".certificateAuthority", mirror.CertificateAuthority)
	checkCredentials(report, secrets, path+".credentials", mirror.Credentials)
}

func checkCredentials(report *osfamily.Report, secrets osfamily.Secrets, path string, credentials bootstrapv1.RegistryCredentials) {
	if credentials == (bootstrapv1.RegistryCredentials{}) {
		return
	}
	if credentials.Username == "" || strings.ContainsFunc(credentials.Username, notInUsername) {
		report.Errorf(path+".username", "%q is not the name of a user: it has no colon and no white space", credentials.Username)
	}
	password, ok := readSecret(report, secrets, path+".passwordFrom.secret", credentials.PasswordFrom.Secret)
	if !ok {
		return
	}
	switch {
	case len(password) == 0:
		report.Errorf(path+".passwordFrom.secret", "the value is empty: put the password into key %s of Secret %s",
			credentials.PasswordFrom.Secret.Key, credentials.PasswordFrom.Secret.Name)
	case !utf8.Valid(password) || strings.ContainsFunc(string(password), unicode.IsControl):
		report.Errorf(path+".passwordFrom.secret", "the value holds a line break or another character that no password has: "+
			"write key %s of Secret %s without it", credentials.PasswordFrom.Secret.Key, credentials.PasswordFrom.Secret.Name)
	}
}

func notInUsername(r rune) bool { return r == ':' || unicode.IsSpace(r) || !unicode.IsPrint(r) }

// readSecret reports a Secret that nobody read: rendered without it, the node would miss what it was promised.
func readSecret(report *osfamily.Report, secrets osfamily.Secrets, path string, ref bootstrapv1.SecretKeyReference) ([]byte, bool) {
	value, ok := secrets.Value(ref)
	if !ok {
		report.Errorf(path, "key %q of Secret %q was not read", ref.Key, ref.Name)
	}
	return value, ok
}

// checkBundle takes certificates only: whoever writes a private key here has published it.
func checkBundle(report *osfamily.Report, path, bundle string) {
	if bundle == "" {
		return
	}
	rest := []byte(bundle)
	found := 0
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		found++
		if block.Type != "CERTIFICATE" {
			report.Errorf(path, "holds something else than certificates: remove it, and if it is a private key, replace that key, since it is no secret any more")
			return
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			report.Errorf(path, "certificate %d cannot be read", found)
			return
		}
	}
	if found == 0 || strings.Contains(string(rest), "-----BEGIN") {
		report.Errorf(path, "is not a list of certificates in PEM form")
	}
}

// isAddress is whether an address has a host, with a port that is one.
func isAddress(address string) bool {
	parsed, err := url.Parse(address)
	if err != nil || parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" {
		return false
	}
	if port := parsed.Port(); strings.HasSuffix(parsed.Host, ":") || port != "" && !isPort(port) {
		return false
	}
	return isServer(parsed.Hostname())
}

// CheckServers refuses two logins, or two authorities, for one server. It is for families that find them by the name of the
// server alone.
func CheckServers(report *osfamily.Report, registries []bootstrapv1.Registry) {
	logins, authorities := map[string]bootstrapv1.RegistryCredentials{}, map[string]string{}
	check := func(at, server, authority string, login bootstrapv1.RegistryCredentials) {
		if login != (bootstrapv1.RegistryCredentials{}) {
			if other, said := logins[server]; said && other != login {
				report.Errorf(at+".credentials", "%s has other credentials elsewhere, and nodes of this family know one for each server", server)
			}
			logins[server] = login
		}
		if authority != "" {
			if other, said := authorities[server]; said && other != authority {
				report.Errorf(at+".certificateAuthority", "%s has another authority elsewhere, and nodes of this family know one for each server", server)
			}
			authorities[server] = authority
		}
	}
	for i, registry := range registries {
		at := fmt.Sprintf("spec.registries[%d]", i)
		check(at, registry.Host, registry.CertificateAuthority, registry.Credentials)
		for j, mirror := range registry.Mirrors {
			if address, err := url.Parse(mirror.URL); err == nil {
				check(fmt.Sprintf("%s.mirrors[%d]", at, j), address.Host, mirror.CertificateAuthority, mirror.Credentials)
			}
		}
	}
}

func isRegistryHost(host string) bool {
	name, port, hasPort := strings.Cut(host, ":")
	return (!hasPort || isPort(port)) && len(validation.IsDNS1123Subdomain(name)) == 0
}

func isPort(port string) bool {
	_, err := netip.ParseAddrPort("127.0.0.1:" + port)
	return err == nil && port != "0"
}
