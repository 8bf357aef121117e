// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the format of known_hosts has nothing else; it hides names and proves nothing
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// hostKeys are the keys by which one host may be known. The package knownhosts reads files only, and does not tell which
// kinds of keys it has for a host: without that a host that has several shows one that nobody wrote down.
type hostKeys struct {
	known   []ssh.PublicKey
	revoked []ssh.PublicKey
}

// readKnownHosts reads the keys of the host at an address out of a file in the format of OpenSSH. Certificate authorities
// of hosts are passed over.
func readKnownHosts(file []byte, address string) (hostKeys, error) {
	var keys hostKeys
	name := knownName(address)
	for len(file) > 0 {
		marker, hosts, key, _, rest, err := ssh.ParseKnownHosts(file)
		file = rest
		switch {
		case errors.Is(err, io.EOF):
		case err != nil:
			return hostKeys{}, fmt.Errorf("%w: key %s of the Secret of spec.credentialsRef is no file in the format of OpenSSH's known_hosts",
				platform.ErrInvalid, keyKnownHosts)
		case marker == "revoked":
			keys.revoked = append(keys.revoked, key)
		case marker == "" && matchesHost(hosts, name):
			keys.known = append(keys.known, key)
		}
	}
	if len(keys.known) == 0 {
		return hostKeys{}, fmt.Errorf("%w: key %s of the Secret of spec.credentialsRef has no key of %s: "+
			"add what ssh-keyscan prints, after comparing it with the host's own", platform.ErrInvalid, keyKnownHosts, name)
	}
	return keys, nil
}

// check implements ssh.HostKeyCallback. The address was looked up before.
func (k hostKeys) check(_ string, _ net.Addr, shown ssh.PublicKey) error {
	same := func(key ssh.PublicKey) bool { return bytes.Equal(key.Marshal(), shown.Marshal()) }
	switch {
	case slices.ContainsFunc(k.revoked, same):
		return fmt.Errorf("the host shows key %s, which key %s of the Secret has revoked", ssh.FingerprintSHA256(shown), keyKnownHosts)
	case !slices.ContainsFunc(k.known, same):
		return fmt.Errorf("the host shows key %s, which key %s of the Secret does not have: it is another host, or its keys were changed",
			ssh.FingerprintSHA256(shown), keyKnownHosts)
	}
	return nil
}

// algorithms are the ways in which the host can prove that it has one of the keys.
func (k hostKeys) algorithms() []string {
	var all []string
	for _, key := range k.known {
		ways := []string{key.Type()}
		if key.Type() == ssh.KeyAlgoRSA {
			ways = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, way := range ways {
			if !slices.Contains(all, way) {
				all = append(all, way)
			}
		}
	}
	return all
}

// knownName is how known_hosts writes an address: the usual port goes without saying.
func knownName(address string) string {
	host, port, err := net.SplitHostPort(address)
	host = strings.ToLower(host)
	if err != nil || port == sshPort {
		return host
	}
	return "[" + host + "]:" + port
}

// matchesHost tells whether one line is about a host. A pattern that begins with ! takes the host out of its line.
func matchesHost(patterns []string, name string) bool {
	matched := false
	for _, pattern := range patterns {
		pattern, negated := strings.CutPrefix(pattern, "!")
		switch {
		case strings.HasPrefix(pattern, "|"):
			matched = matched || matchesHash(pattern, name)
		case !matchesWildcards(strings.ToLower(pattern), name):
		case negated:
			return false
		default:
			matched = true
		}
	}
	return matched
}

// matchesHash compares with a name that is hidden by a hash: |1|salt|hash.
func matchesHash(pattern, name string) bool {
	parts := strings.Split(pattern, "|")
	if len(parts) != 4 || parts[1] != "1" {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return false
	}
	want, err := base64.StdEncoding.DecodeString(parts[3])
	if err != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	_, _ = mac.Write([]byte(name))
	return hmac.Equal(mac.Sum(nil), want)
}

// matchesWildcards knows * for any text and ? for any character. After a mismatch it goes on behind the last *.
func matchesWildcards(pattern, name string) bool {
	p, n, star, mark := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
