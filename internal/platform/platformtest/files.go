// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformtest

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Files is the part of a Lab that platforms share whose artefacts are files, whose networks know their addresses and whose
// endpoints are one place each.
type Files struct{}

// Complete implements Lab.
func (Files) Complete(*platform.Request) {}

// KnowsAddresses implements Lab.
func (Files) KnowsAddresses() bool { return true }

// Image implements Lab.
func (Files) Image(t *testing.T) platform.ImageRequest {
	t.Helper()
	disk := make([]byte, diskBytes)
	copy(disk, uuid.NewString())
	path := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(path, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(disk)
	return platform.ImageRequest{
		ImageIdentity: platform.ImageIdentity{SHA256: hex.EncodeToString(sum[:])},
		Source:        (&url.URL{Scheme: "file", Path: path}).String(),
		Format:        "raw",
		Compression:   "None",
		SizeBytes:     diskBytes,
	}
}

// WrongImages implements Lab.
func (Files) WrongImages() []WrongImage {
	return []WrongImage{
		{"other bytes", func(t *testing.T, image *platform.ImageRequest) {
			edit(t, image, func(b []byte) []byte { b[len(b)-1]++; return b })
		}, platform.ErrDigestMismatch},
		{"too short", func(t *testing.T, image *platform.ImageRequest) {
			edit(t, image, func(b []byte) []byte { return b[:len(b)/2] })
		}, platform.ErrDigestMismatch},
		{"too long", func(t *testing.T, image *platform.ImageRequest) {
			edit(t, image, func(b []byte) []byte { return append(b, 0) })
		}, platform.ErrDigestMismatch},
		{"size declared wrong", func(_ *testing.T, image *platform.ImageRequest) { image.SizeBytes-- }, platform.ErrDigestMismatch},
		{"no file", func(_ *testing.T, image *platform.ImageRequest) { image.Source += ".missing" }, platform.ErrSource},
		{"not compressed", func(_ *testing.T, image *platform.ImageRequest) { image.Compression = "gzip" }, platform.ErrInvalid},
		{"unknown compression", func(_ *testing.T, image *platform.ImageRequest) { image.Compression = "rar" }, platform.ErrInvalid},
	}
}

// edit rewrites the file of an artefact.
func edit(t *testing.T, image *platform.ImageRequest, fn func([]byte) []byte) {
	t.Helper()
	u, err := url.Parse(image.Source)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(u.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(u.Path, fn(b), 0o600); err != nil {
		t.Fatal(err)
	}
}
