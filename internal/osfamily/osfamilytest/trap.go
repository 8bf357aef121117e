// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamilytest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// canary is the content of a file of this machine, and what a server of it answers. Nothing that is rendered may hold it.
const canary = "canary-6f1d"

// Trap is a file and a server that nobody may look at.
type Trap struct {
	folder    string
	server    *httptest.Server
	connected atomic.Int32
}

// NewTrap makes the file, and starts the server.
func NewTrap(tb testing.TB) *Trap {
	tb.Helper()
	trap := &Trap{folder: tb.TempDir()}
	if err := os.WriteFile(filepath.Join(trap.folder, "file"), []byte(canary), 0o600); err != nil {
		tb.Fatal(err)
	}
	trap.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(canary)) }))
	trap.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			trap.connected.Add(1)
		}
	}
	trap.server.Start()
	tb.Cleanup(trap.server.Close)
	return trap
}

// Set replaces the words of a lure by the file, its folder and the server.
func (r *Trap) Set(lure string) string {
	return strings.NewReplacer(
		wordFile, filepath.Join(r.folder, "file"), wordFolder, r.folder,
		wordServer, r.server.URL, strings.TrimPrefix(wordServer, "http://"), r.server.Listener.Addr().String(),
	).Replace(lure)
}

// Sprung says who looked, from what was rendered and reported since; it is empty where nobody did.
func (r *Trap) Sprung(outputs ...string) string {
	if n := r.connected.Load(); n > 0 {
		return "a server of this machine was asked"
	}
	if slices.ContainsFunc(outputs, holds) {
		return "a file of this machine was read"
	}
	return ""
}

// holds looks for the canary in a text, and in what the text holds in base64, compressed or not: files in data URLs and in
// fields of other formats.
func holds(text string) bool {
	if plain, err := url.PathUnescape(text); strings.Contains(text, canary) || err == nil && strings.Contains(plain, canary) {
		return true
	}
	for word := range strings.FieldsFuncSeq(text, notBase64) {
		decoded, err := base64.StdEncoding.DecodeString(word)
		if err != nil {
			continue
		}
		if unzip, err := gzip.NewReader(bytes.NewReader(decoded)); err == nil {
			if inflated, err := io.ReadAll(unzip); err == nil {
				decoded = inflated
			}
		}
		if bytes.Contains(decoded, []byte(canary)) {
			return true
		}
	}
	return false
}

func notBase64(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '+' && r != '/' && r != '='
}
