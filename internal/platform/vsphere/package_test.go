// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/platformtest"
	"github.com/ingot-project/cluster-api-provider-ingot/test/ova"
)

// published serves an artefact until the test ends, and returns how it is asked for.
func published(t *testing.T, format string, artefact []byte, serve http.HandlerFunc) platform.ImageRequest {
	t.Helper()
	if serve == nil {
		serve = ova.Whole(artefact)
	}
	sum := sha256.Sum256(artefact)
	return platform.ImageRequest{
		ImageIdentity: platform.ImageIdentity{SHA256: hex.EncodeToString(sum[:])},
		Source:        ova.Publish(t, serve), Format: format, Compression: "None", SizeBytes: int64(len(artefact)),
	}
}

// importLab is a lab whose images are files, an OVA and a VMDK in turn.
type importLab struct {
	*lab

	made atomic.Int32
}

// Image implements platformtest.Lab.
func (l *importLab) Image(t *testing.T) platform.ImageRequest {
	t.Helper()
	if l.made.Add(1)%2 == 0 {
		return published(t, "vmdk", ova.Disk(), nil)
	}
	return published(t, "ova", ova.Package(), nil)
}

// WrongImages implements platformtest.Lab.
func (l *importLab) WrongImages() []platformtest.WrongImage {
	other := func(format string, artefact []byte) func(*testing.T, *platform.ImageRequest) {
		return func(t *testing.T, image *platform.ImageRequest) {
			t.Helper()
			storage := image.Storage
			*image = published(t, format, artefact, nil)
			image.Storage = storage
		}
	}
	sparse := ova.Head(ova.Capacity)
	binary.LittleEndian.PutUint32(sparse[8:], 1)
	return []platformtest.WrongImage{
		{Name: "another digest", Spoil: func(_ *testing.T, image *platform.ImageRequest) { image.SHA256 = strings.Repeat("ab", 32) }, Want: platform.ErrDigestMismatch},
		{Name: "another size", Spoil: func(_ *testing.T, image *platform.ImageRequest) { image.SizeBytes-- }, Want: platform.ErrDigestMismatch},
		{Name: "not there", Spoil: func(_ *testing.T, image *platform.ImageRequest) { image.Source = "http://127.0.0.1:1/image" }, Want: platform.ErrSource},
		{Name: "more than there is room for", Spoil: func(_ *testing.T, image *platform.ImageRequest) { image.SizeBytes = 1 << 60 }, Want: platform.ErrCapacity},
		{Name: "compressed", Spoil: func(_ *testing.T, image *platform.ImageRequest) { image.Compression = "gzip" }, Want: platform.ErrUnsupported},
		{Name: "a template", Spoil: func(_ *testing.T, image *platform.ImageRequest) {
			image.Source = "template://6f0c9d2e-1111-4222-8333-444455556666"
		}, Want: platform.ErrInvalid},
		{Name: "no OVA", Spoil: other("ova", ova.Disk()), Want: platform.ErrInvalid},
		{Name: "no VMDK", Spoil: other("vmdk", ova.Package()), Want: platform.ErrInvalid},
		{Name: "not streamOptimized", Spoil: other("vmdk", sparse), Want: platform.ErrInvalid},
		{Name: "without the disk", Spoil: other("ova", ova.Pack(ova.Member{Name: "image.ovf", Content: ova.Descriptor("disk.vmdk")})), Want: platform.ErrInvalid},
	}
}
