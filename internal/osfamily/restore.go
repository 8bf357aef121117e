// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamily

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"
)

// RestoreKey is the key of the Secret that IngotConfig.spec.restoreFrom names. Its value is a Restore as Encode writes
// it. clusterctl moves the Secret with its cluster by its owner, which a Secret made by hand needs as well, or the label
// clusterctl.cluster.x-k8s.io/move.
const RestoreKey = "restore.json"

// RestoreFolder is where etcd's data lies on a control plane node.
const RestoreFolder = "/var/lib/etcd"

// maxRestoreFiles is more than any restored snapshot has: a database, a snapshot of the membership and a log.
const maxRestoreFiles = 32

// Restore is what the first control plane node fetches before kubeadm runs: the data directory of an etcd that was
// restored from a snapshot. It is secret: whoever knows the addresses can read every secret of the cluster.
type Restore struct {
	// Authority is a PEM bundle of authorities that the node trusts for the addresses, beside those that its image
	// trusts. Empty means none.
	Authority string `json:"authority,omitempty"`
	// Files are the files to fetch.
	Files []RestoreFile `json:"files"`
}

// RestoreFile is one file to fetch.
type RestoreFile struct {
	// Path is where the file belongs, below RestoreFolder.
	Path string `json:"path"`
	// URL is an https address. Its query may hold a signature, so it must not be shown.
	URL string `json:"url"`
	// SHA512 is the digest of the content, 128 lower case hexadecimal digits. The node refuses anything else.
	SHA512 string `json:"sha512"`
	// SizeBytes is the size of the content. It decides how long the node tries to fetch it.
	SizeBytes int64 `json:"sizeBytes"`
}

// Encode returns the value of the Secret's key. It fails where Decode would.
func (r Restore) Encode() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding what to restore: %w", err)
	}
	return data, nil
}

// DecodeRestore reads the value of the Secret's key. It accepts only what a node can fetch. Errors say what is wrong
// without quoting what is secret.
func DecodeRestore(data []byte) (Restore, error) {
	var r Restore
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return Restore{}, decodeError(err)
	}
	if err := decoder.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return Restore{}, errors.New("holds more than one JSON document")
	}
	if err := r.Validate(); err != nil {
		return Restore{}, err
	}
	return r, nil
}

// decodeError keeps of an error of the decoder what does not quote the document.
func decodeError(err error) error {
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &mismatch):
		return fmt.Errorf("%s has the wrong type: it must be %s", mismatch.Field, mismatch.Type)
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		return fmt.Errorf("holds an %s", strings.TrimPrefix(err.Error(), "json: "))
	default:
		return errors.New("is not valid JSON")
	}
}

// Validate says what a node could not do, or must not do. It never quotes the query of an address.
func (r Restore) Validate() error {
	var problems []string
	if problem := AuthorityProblem(r.Authority); problem != "" {
		problems = append(problems, "authority "+problem)
	}
	switch {
	case len(r.Files) == 0:
		problems = append(problems, "files must list at least one file, or the node would make an empty cluster")
	case len(r.Files) > maxRestoreFiles:
		problems = append(problems, fmt.Sprintf("files lists %d files, at most %d are fetched", len(r.Files), maxRestoreFiles))
	}
	listed := map[string]bool{}
	for i, f := range r.Files {
		for _, problem := range f.problems() {
			problems = append(problems, fmt.Sprintf("files[%d].%s", i, problem))
		}
		if listed[f.Path] {
			problems = append(problems, fmt.Sprintf("files[%d].path %q is listed twice", i, f.Path))
		}
		listed[f.Path] = true
	}
	for i, f := range r.Files {
		for _, folder := range f.Folders() {
			if listed[folder] {
				problems = append(problems, fmt.Sprintf("files[%d].path %q lies below another file", i, f.Path))
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return errors.New(strings.Join(problems, "; "))
}

// Folders returns the folders that the file lies in, from RestoreFolder downwards.
func (f RestoreFile) Folders() []string {
	var folders []string
	for folder := path.Dir(f.Path); folder == RestoreFolder || strings.HasPrefix(folder, RestoreFolder+"/"); folder = path.Dir(folder) {
		folders = append(folders, folder)
	}
	slices.Reverse(folders)
	return folders
}

func (f RestoreFile) problems() []string {
	var problems []string
	if !strings.HasPrefix(f.Path, RestoreFolder+"/") || path.Clean(f.Path) != f.Path || strings.ContainsFunc(f.Path, isOdd) {
		problems = append(problems, fmt.Sprintf("path %q must be a clean path below %s", f.Path, RestoreFolder))
	}
	if problem := urlProblem(f.URL); problem != "" {
		problems = append(problems, "url "+problem)
	}
	if len(f.SHA512) != 128 || strings.Trim(f.SHA512, "0123456789abcdef") != "" {
		problems = append(problems, "sha512 must be 128 lower case hexadecimal digits")
	}
	if f.SizeBytes <= 0 {
		problems = append(problems, fmt.Sprintf("sizeBytes is %d and must be positive", f.SizeBytes))
	}
	return problems
}

// urlProblem quotes nothing of the address but its scheme.
func urlProblem(address string) string {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return "is not a URL"
	case u.Scheme != "https":
		return fmt.Sprintf("has scheme %q and must have https", u.Scheme)
	case u.Hostname() == "":
		return "names no host"
	case u.User != nil:
		return "must not hold a user or password: use a signed address"
	case u.Fragment != "":
		return "must not have a fragment"
	case strings.ContainsFunc(address, isOdd):
		return "must not hold white space or control characters"
	default:
		return ""
	}
}

// isOdd finds what no path and no address of a snapshot has any reason to hold.
func isOdd(r rune) bool { return r <= ' ' || r > '~' }

// AuthorityProblem says why a PEM bundle of authorities is none, or nothing. It accepts certificates only: a node that cannot
// read the bundle trusts nobody and waits in vain. An empty bundle has no problem.
func AuthorityProblem(bundle string) string {
	rest := []byte(strings.TrimSpace(bundle))
	for len(rest) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return "is not PEM"
		}
		if block.Type != "CERTIFICATE" {
			return "must hold certificates and nothing else"
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Sprintf("holds a certificate that cannot be read: %v", err)
		}
		rest = bytes.TrimSpace(rest)
	}
	return ""
}
