// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/utils/clock"
)

const (
	// identityFile holds the certificate, its authority and the key of the server, in the folder of what was restored.
	identityFile = "server.pem"
	// renewBefore is how long before its end a certificate is made anew. A Machine that boots meanwhile fetches nothing.
	renewBefore = 30 * 24 * time.Hour
	// headerBound is how long a client may take to ask.
	headerBound = 30 * time.Second
)

// identity is what a server shows, and the authority that vouches for it.
type identity struct {
	certificate tls.Certificate
	authority   []byte
}

// shown is the identity that a server shows for a host. It is safe for concurrent use.
type shown struct {
	file, host string
	clock      clock.PassiveClock

	mu sync.Mutex
	id identity
}

// now returns the identity, and makes another before it ends.
func (s *shown) now() (id identity, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.clock.Now(); !s.id.fits(s.host, now) {
		s.id, err = identityFor(s.file, s.host, now)
	}
	return s.id, err
}

// identityFor reads the identity of a host from a file, or makes one. Machines trust its authority for nothing else.
func identityFor(file, host string, now time.Time) (identity, error) {
	content, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return identity{}, fmt.Errorf("reading what restored snapshots are served with: %w", err)
	}
	if id, err := parseIdentity(content); err == nil && id.fits(host, now) {
		return id, nil
	}
	certificate, key, err := cert.GenerateSelfSignedCertKey(host, nil, nil)
	if err != nil {
		return identity{}, fmt.Errorf("making a certificate for %s: %w", host, err)
	}
	content = slices.Concat(certificate, key)
	if err := os.WriteFile(file+".new", content, 0o600); err != nil {
		return identity{}, err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return identity{}, err
	}
	return parseIdentity(content)
}

func parseIdentity(content []byte) (id identity, err error) {
	id.certificate, err = tls.X509KeyPair(content, content)
	if err != nil {
		return id, err
	}
	chain := id.certificate.Certificate
	id.authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[len(chain)-1]})
	return id, nil
}

// fits is whether clients that ask for the host are content with it, for a while.
func (id identity) fits(host string, now time.Time) bool {
	if id.certificate.Leaf == nil {
		return false
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bytes.TrimSpace(id.authority))
	_, err := id.certificate.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: now.Add(renewBefore)})
	return err == nil
}

// ServeHTTP gives a file to whoever knows where it is, and says nothing else.
func (r *Restorer) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	token, name, _ := strings.Cut(strings.TrimPrefix(request.URL.Path, "/"), "/")
	if request.Method != http.MethodGet && request.Method != http.MethodHead || !isToken(token) {
		http.NotFound(w, request)
		return
	}
	k, err := r.index(token)
	if err != nil || !slices.ContainsFunc(k.Files, func(f keptFile) bool { return f.Path == name }) {
		http.NotFound(w, request)
		return
	}
	http.ServeFile(w, request, filepath.Join(r.options.Dir, token, filepath.FromSlash(name)))
}

// Serve serves what was restored until the context ends. It needs URL, and ends at once without.
func (r *Restorer) Serve(ctx context.Context, address string) error {
	if r.base == "" {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("serving restored snapshots: %w", err)
	}
	server := &http.Server{
		Handler: r, ReadHeaderTimeout: headerBound,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			id, err := r.identity.now()
			return &id.certificate, err
		}},
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.ServeTLS(listener, "", ""); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serving restored snapshots: %w", err)
	}
	return nil
}
