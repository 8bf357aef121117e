// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"crypto/md5"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// azure is one container of Azure's blob storage.
type azure struct {
	container string

	mu     sync.Mutex
	blobs  map[string]azureBlob
	blocks map[string][]byte
}

type azureBlob struct {
	content  []byte
	modified time.Time
}

func newAzure(container string) *azure {
	return &azure{container: container, blobs: map[string]azureBlob{}, blocks: map[string][]byte{}}
}

func (a *azure) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	query := r.URL.Query()
	if !strings.HasPrefix(r.Header.Get("Authorization"), "SharedKey account:") && query.Get("sig") != "token" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	name, inContainer := strings.CutPrefix(r.URL.Path, "/"+a.container+"/")
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/"+a.container && query.Get("comp") == "list":
		a.list(w, query.Get("prefix"))
	case !inContainer:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodPut:
		a.put(w, r, name)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		a.get(w, r, name)
	case r.Method == http.MethodDelete:
		if _, ok := a.blobs[name]; !ok {
			notFound(w)
			return
		}
		delete(a.blobs, name)
		w.WriteHeader(http.StatusAccepted)
	default:
		w.WriteHeader(http.StatusNotImplemented)
	}
}

func notFound(w http.ResponseWriter) {
	w.Header().Set("x-ms-error-code", "BlobNotFound")
	w.WriteHeader(http.StatusNotFound)
}

// put puts a blob, a block of one, or a blob that is made of blocks.
func (a *azure) put(w http.ResponseWriter, r *http.Request, name string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // who hangs up has put nothing
	}
	switch r.URL.Query().Get("comp") {
	case "block":
		a.blocks[name+" "+r.URL.Query().Get("blockid")] = body
	case "blocklist":
		var list struct {
			Latest []string `xml:"Latest"`
		}
		if err := xml.Unmarshal(body, &list); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		var content []byte
		for _, id := range list.Latest {
			content = append(content, a.blocks[name+" "+id]...)
		}
		a.blobs[name] = azureBlob{content, time.Now()}
	default:
		a.blobs[name] = azureBlob{body, time.Now()}
	}
	w.WriteHeader(http.StatusCreated)
}

func (a *azure) get(w http.ResponseWriter, r *http.Request, name string) {
	b, ok := a.blobs[name]
	if !ok {
		notFound(w)
		return
	}
	w.Header().Set("Last-Modified", b.modified.UTC().Format(http.TimeFormat))
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, md5.Sum(b.content)))
	w.Header().Set("Content-Length", strconv.Itoa(len(b.content)))
	w.Header().Set("x-ms-blob-type", "BlockBlob")
	if r.Method == http.MethodGet {
		_, _ = w.Write(b.content)
	}
}

func (a *azure) list(w http.ResponseWriter, prefix string) {
	var names []string
	for name := range a.blobs {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var text strings.Builder
	for _, name := range names {
		b := a.blobs[name]
		_, _ = fmt.Fprintf(&text, `<Blob><Name>%s</Name><Properties><Last-Modified>%s</Last-Modified><Creation-Time>%[2]s</Creation-Time><Etag>1</Etag><Content-Length>%d</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>`,
			name, b.modified.UTC().Format(http.TimeFormat), len(b.content))
	}
	w.Header().Set("Content-Type", "application/xml")
	_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName=%q><Blobs>%s</Blobs><NextMarker/></EnumerationResults>`, a.container, text.String())
}
