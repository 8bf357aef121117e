// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact_test

import (
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/artefact"
)

// flaky serves a file over connections that break. Its zero value knows Range and tells no version of the file.
type flaky struct {
	file []byte
	// cuts are the bytes that the first connections bring before they break; later ones bring all that is asked for.
	cuts []int
	// version holds the validators of each answer. If-Range is honoured for an ETag or a date that is in it.
	version http.Header
	// noRanges is a server that sends the whole file, whatever is asked for.
	noRanges bool
	// answer, if not nil, may answer the n-th request, from 0, in place of the server.
	answer func(n int, w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	requests []http.Header
	sent     int
}

// ServeHTTP implements http.Handler.
func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	n := len(f.requests)
	f.requests = append(f.requests, r.Header.Clone())
	f.mu.Unlock()
	if f.answer != nil && f.answer(n, w, r) {
		return
	}
	maps.Copy(w.Header(), f.version)
	first, last := f.wanted(r)
	if first > last {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", len(f.file)))
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	part := f.file[first : last+1]
	w.Header().Set("Content-Length", strconv.Itoa(len(part)))
	if len(part) < len(f.file) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(f.file)))
		w.WriteHeader(http.StatusPartialContent)
	}
	if n < len(f.cuts) {
		part = part[:min(f.cuts[n], len(part))] // a handler that sends less than it said breaks the connection
	}
	f.send(w, part)
}

// send counts bytes and sends them now.
func (f *flaky) send(w http.ResponseWriter, part []byte) {
	f.mu.Lock()
	f.sent += len(part)
	f.mu.Unlock()
	w.(http.Flusher).Flush()
	_, _ = w.Write(part)
	w.(http.Flusher).Flush()
}

// wanted are the first and last byte of the file that a request asks for.
func (f *flaky) wanted(r *http.Request) (first, last int) {
	last = len(f.file) - 1
	condition := r.Header.Get("If-Range")
	if f.noRanges || (condition != "" && condition != f.version.Get("Etag") && condition != f.version.Get("Last-Modified")) {
		return 0, last
	}
	span, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if !ok {
		return 0, last
	}
	from, to, _ := strings.Cut(span, "-")
	first, _ = strconv.Atoi(from)
	if n, err := strconv.Atoi(to); err == nil {
		last = min(last, n)
	}
	return first, last
}

// seen returns the requests so far and the bytes that were sent on all of them.
func (f *flaky) seen() (requests []http.Header, sent int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests, f.sent
}

// serve runs a server until the test ends, and declares its file.
func (f *flaky) serve(t *testing.T, compression string) artefact.Source {
	t.Helper()
	server := quiet(f)
	server.Start()
	t.Cleanup(server.Close)
	return artefact.Source{URL: server.URL, Compression: compression, SHA256: digest(f.file), SizeBytes: int64(len(f.file))}
}

// hangUp closes a connection without an answer, or resets it.
func hangUp(t *testing.T, w http.ResponseWriter, reset bool) {
	t.Helper()
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	if reset {
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
	_ = conn.Close()
}

// quiet is a server that does not tell how its connections break.
func quiet(handler http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	return server
}

// hurried is the real clock, but for pauses: they are over at once. It keeps how long they should have been.
type hurried struct {
	clock.RealClock

	mu     sync.Mutex
	pauses []time.Duration
}

// NewTimer implements clock.Clock.
func (h *hurried) NewTimer(d time.Duration) clock.Timer {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pauses = append(h.pauses, d)
	return h.RealClock.NewTimer(0)
}

func (h *hurried) seen() []time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pauses
}
