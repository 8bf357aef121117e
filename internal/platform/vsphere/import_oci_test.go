// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/ova"
)

// Whoever publishes node images in a registry needs no file server for vSphere. The artefact is one layer of several, which
// is streamed to the host like a file; a registry that has another one in its place makes nothing.
func TestImportFromRegistry(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	for _, c := range []struct {
		format   string
		artefact []byte
		pinned   bool
	}{{"ova", ova.Package(), false}, {"vmdk", ova.Disk(), true}} {
		t.Run(c.format, func(t *testing.T) {
			image := l.onStorage(published(t, c.format, c.artefact, nil))
			byTag, byDigest := pushed(t, c.artefact)
			if image.Source = byTag; c.pinned {
				image.Source = byDigest
			}
			another := image
			another.SHA256 = published(t, c.format, ova.Disk(), nil).SHA256
			fails(t, p, another, platform.ErrDigestMismatch)
			released(t, p, another)
			if left := l.copies(t); len(left) != 0 {
				t.Errorf("made of another layer was %+v", left)
			}
			stored(t, p, image)
			if m := l.onlyCopy(t); m.Extra["ingot.image.sha256"] != image.SHA256 || len(m.Disks) != 1 || m.Disks[0] != ova.Capacity {
				t.Errorf("made was %+v", m)
			}
			released(t, p, image)
		})
	}
}

// pushed puts an artefact into a registry, beside something else, and returns its addresses.
func pushed(t *testing.T, artefact []byte) (byTag, byDigest string) {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1),
		static.NewLayer([]byte("something else"), "text/plain"), static.NewLayer(artefact, "application/octet-stream"))
	check(t, err)
	tag, err := name.NewTag(strings.TrimPrefix(server.URL, "http://") + "/node-images/demo:v1")
	check(t, err)
	check(t, remote.Write(tag, image))
	digest, err := image.Digest()
	check(t, err)
	return "oci://" + tag.String(), "oci://" + tag.Digest(digest.String()).String()
}
