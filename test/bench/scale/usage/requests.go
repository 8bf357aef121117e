// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// requests counts what a client sends, by method and kind of object.
type requests struct {
	mu    sync.Mutex
	count map[string]int
	last  time.Time // of the last write
}

// counted returns a configuration whose clients are counted.
func (r *requests) counted(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counter{next: next, to: r} })
	return config
}

type counter struct {
	next http.RoundTripper
	to   *requests
}

// RoundTrip implements http.RoundTripper.
func (c counter) RoundTrip(req *http.Request) (*http.Response, error) {
	c.to.add(req)
	return c.next.RoundTrip(req)
}

func (r *requests) add(req *http.Request) {
	if req.URL.Query().Get("watch") == "true" {
		return // one per kind and some minutes, whatever the number of machines
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == nil {
		r.count = map[string]int{}
	}
	r.count[what(req.Method, req.URL.Path)]++
	if req.Method != http.MethodGet {
		r.last = time.Now()
	}
}

// what takes names out of a request: PATCH /apis/group/v1/namespaces/x/things/y/status is PATCH things/status. A GET without a
// name is a LIST.
func what(method, path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	i := 2 // api/v1
	if parts[0] == "apis" {
		i = 3
	}
	if len(parts) > i+2 && parts[i] == "namespaces" {
		i += 2
	}
	if len(parts) <= i {
		return method + " " + path
	}
	kind := parts[i]
	if len(parts) > i+2 {
		kind += "/" + parts[i+2]
	}
	if method == http.MethodGet && len(parts) == i+1 {
		method = "LIST"
	}
	return method + " " + kind
}

// snapshot is what was counted so far.
func (r *requests) snapshot() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.count)
}

// lastWrite is when something was written last.
func (r *requests) lastWrite() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}
