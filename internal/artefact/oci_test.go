// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/artefact"
)

// shop is a registry with an image in which a disk lies beside something else.
type shop struct {
	v1.Image
	registry http.Handler
	// gate, if not nil, may answer in place of the registry.
	gate func(w http.ResponseWriter, r *http.Request) bool
	at   string
	disk []byte
}

// ServeHTTP implements http.Handler.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.gate == nil || !s.gate(w, r) {
		s.registry.ServeHTTP(w, r)
	}
}

func newShop(t *testing.T, disk []byte) *shop {
	t.Helper()
	s := &shop{registry: registry.New(registry.Logger(log.New(io.Discard, "", 0))), disk: disk}
	server := quiet(s)
	server.Start()
	t.Cleanup(server.Close)
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1),
		static.NewLayer([]byte("something else"), "text/plain"), static.NewLayer(disk, "application/octet-stream"))
	if err != nil {
		t.Fatal(err)
	}
	s.Image, s.at = image, strings.TrimPrefix(server.URL, "http://")+"/node-images/demo"
	ref, err := name.ParseReference(s.at + ":v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
	return s
}

// source declares the disk.
func (s *shop) source() artefact.Source {
	return artefact.Source{URL: "oci://" + s.at + ":v1", SHA256: digest(s.disk), SizeBytes: int64(len(s.disk))}
}

// asksForDisk says whether a request is for the layer with the disk.
func (s *shop) asksForDisk(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/blobs/sha256:"+digest(s.disk))
}

// In a registry the disk is the layer with the declared digest, whatever lies beside it.
func TestOCI(t *testing.T) {
	s := newShop(t, compress(t, "zstd", plain()))
	manifest, err := s.Digest()
	if err != nil {
		t.Fatal(err)
	}
	source := s.source()
	source.Compression = "zstd"
	for _, source.URL = range []string{"oci://" + s.at + ":v1", "oci://" + s.at + "@" + manifest.String()} {
		content, _, err := read(t, artefact.Opener{}, source)
		if err != nil || !bytes.Equal(content, plain()) {
			t.Errorf("%s: %d bytes, %v", source.URL, len(content), err)
		}
	}
	s.gate = func(_ http.ResponseWriter, r *http.Request) bool {
		if s.asksForDisk(r) {
			t.Error("a layer is asked for that the manifest rules out")
		}
		return false
	}
	source.SizeBytes++
	if _, _, err := read(t, artefact.Opener{}, source); !errors.Is(err, artefact.ErrMismatch) {
		t.Errorf("another size declared: got %v, want %q", err, artefact.ErrMismatch)
	}
	source.SHA256 = digest([]byte("another disk"))
	if _, _, err := read(t, artefact.Opener{}, source); !errors.Is(err, artefact.ErrMismatch) {
		t.Errorf("no such layer: got %v, want %q", err, artefact.ErrMismatch)
	}
}

// A layer goes on where it stopped, as a file does. Its address is its version, so that mirrors with validators of
// their own are no change.
func TestResumeOCI(t *testing.T) {
	file := noise(100_000)
	for name, c := range map[string]struct {
		blobs *flaky
		sent  int
	}{
		"ranges":          {&flaky{file: file, cuts: []int{0, 1, 50_000, 0, 49_998}}, 100_000},
		"no ranges":       {&flaky{file: file, cuts: []int{50_000}, noRanges: true}, 150_000},
		"other validator": {&flaky{file: file, cuts: []int{50_000}}, 100_000},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, file)
			if name == "other validator" {
				c.blobs.answer = func(n int, w http.ResponseWriter, _ *http.Request) bool {
					w.Header().Set("Etag", fmt.Sprintf(`"%d"`, n))
					return false
				}
			}
			s.gate = func(w http.ResponseWriter, r *http.Request) bool {
				if s.asksForDisk(r) {
					c.blobs.ServeHTTP(w, r)
				}
				return s.asksForDisk(r)
			}
			got, err := forward(t, artefact.Opener{Clock: &hurried{}}, s.source())
			if err != nil || !bytes.Equal(got, file) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if _, sent := c.blobs.seen(); sent != c.sent {
				t.Errorf("%d bytes crossed the wire, want %d", sent, c.sent)
			}
		})
	}
}

// The registry of the library wants ranges that have an end.
func TestResumeWithTheLibrarysRegistry(t *testing.T) {
	s := newShop(t, noise(100_000))
	var answered, sent atomic.Int64
	s.gate = func(w http.ResponseWriter, r *http.Request) bool {
		if !s.asksForDisk(r) {
			return false
		}
		recorded := httptest.NewRecorder()
		s.registry.ServeHTTP(recorded, r)
		maps.Copy(w.Header(), recorded.Header())
		w.WriteHeader(recorded.Code)
		body := recorded.Body.Bytes()
		if answered.Add(1) == 1 {
			body = body[:40_000]
		}
		sent.Add(int64(len(body)))
		_, _ = w.Write(body)
		return true
	}
	if _, err := forward(t, artefact.Opener{Clock: &hurried{}}, s.source()); err != nil {
		t.Error(err)
	}
	if answered.Load() != 2 || sent.Load() != 100_000 {
		t.Errorf("%d answers and %d bytes, want 2 and 100000", answered.Load(), sent.Load())
	}
}

// A download outlives the token that it began with.
func TestResumeOCIWithNewToken(t *testing.T) {
	s := newShop(t, noise(100_000))
	blobs := &flaky{file: s.disk, cuts: []int{40_000}}
	var issued, valid atomic.Int64
	s.gate = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			valid.Store(issued.Add(1))
			_, _ = fmt.Fprintf(w, `{"token": "hunter2-%d"}`, issued.Load())
			return true
		}
		if r.Header.Get("Authorization") != fmt.Sprintf("Bearer hunter2-%d", valid.Load()) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="shop"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if s.asksForDisk(r) {
			valid.Store(-1) // from the next request on
			blobs.ServeHTTP(w, r)
		}
		return s.asksForDisk(r)
	}
	if _, err := forward(t, artefact.Opener{Clock: &hurried{}}, s.source()); err != nil {
		t.Error(err)
	}
	if _, sent := blobs.seen(); sent != len(s.disk) || issued.Load() != 2 {
		t.Errorf("%d bytes and %d tokens, want %d and 2", sent, issued.Load(), len(s.disk))
	}
}

// Registries redirect to where layers are stored, each time to another signed address. Neither the token nor the
// signature goes anywhere else.
func TestRedirectedLayer(t *testing.T) {
	s := newShop(t, noise(100_000))
	store := &flaky{file: s.disk, cuts: []int{40_000}}
	elsewhere := quiet(store)
	elsewhere.Start()
	defer elsewhere.Close()
	var location string
	s.gate = func(w http.ResponseWriter, r *http.Request) bool {
		if s.asksForDisk(r) {
			http.Redirect(w, r, location, http.StatusTemporaryRedirect)
		}
		return s.asksForDisk(r)
	}
	location = elsewhere.URL + "/layer?signature=hunter2"
	if _, err := forward(t, artefact.Opener{Clock: &hurried{}}, s.source()); err != nil {
		t.Error(err)
	}
	requests, sent := store.seen()
	if sent != len(s.disk) {
		t.Errorf("%d bytes crossed the wire, the file has %d", sent, len(s.disk))
	}
	for _, r := range requests {
		if r.Get("Authorization") != "" {
			t.Errorf("the store was sent %q", r.Get("Authorization"))
		}
	}
	for name, away := range map[string]string{
		"without end":       "/v2/node-images/demo/blobs/sha256:" + digest(s.disk) + "?signature=hunter2",
		"to no URL":         "http://%zz/?signature=hunter2",
		"to a name":         "http://localhost:1/?signature=hunter2",
		"to a private host": "http://10.0.0.1/?signature=hunter2",
		"to metadata":       "http://169.254.169.254/?signature=hunter2",
		"to metadata, v6":   "http://[fe80::1%25lo]/?signature=hunter2",
		"to an old address": "http://0x7f000001/?signature=hunter2",
		"to a short one":    "http://127.1/?signature=hunter2",
		"to another loop":   "http://127.0.0.2/?signature=hunter2",
		"to an embedded v4": "http://[::ffff:10.0.0.1]/?signature=hunter2",
	} {
		location = away
		_, err := forward(t, artefact.Opener{Clock: &hurried{}}, s.source())
		if !errors.Is(err, artefact.ErrSource) || strings.Contains(err.Error(), "hunter2") || !(strings.Contains(err.Error(), "redirects") || name == "to a name") {
			t.Errorf("%s: got %v, want %q about the redirect that keeps the signature", name, err, artefact.ErrSource)
		}
	}
}

// What a registry says when it refuses is short and holds nothing of what it was told.
func TestRefusalOfARegistry(t *testing.T) {
	s := newShop(t, noise(1000))
	for _, at := range []string{"/manifests/", "/blobs/", "/v2/"} {
		s.gate = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, at) {
				return false
			}
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintf(w, `{"errors": [{"code": "DENIED", "message": "no", "detail": %q}]}`, strings.Repeat("hunter2 ", 5000))
			return true
		}
		_, err := forward(t, artefact.Opener{Clock: &hurried{}}, s.source())
		if !errors.Is(err, artefact.ErrSource) || !strings.Contains(err.Error(), "403 Forbidden") || len(err.Error()) > 200 || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want a short %q", at, err, artefact.ErrSource)
		}
	}
}
