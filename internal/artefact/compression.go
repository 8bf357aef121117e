// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact

import (
	"compress/bzip2"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// maxWindow bounds the memory that a zstd or xz stream may ask for; gzip and bzip2 have small bounds of their own. It
// admits everything that the zstd tool writes, up to --ultra -22 and --long=27, and twice what xz -9 asks for. A file
// of a few bytes can ask for that much, so it is also the price of a malicious one.
const maxWindow = 128 << 20

// decompressor opens compressed content.
type decompressor func(io.Reader) (io.ReadCloser, error)

// decompressors are the known compressions by their name in the API.
func decompressors() map[string]decompressor {
	plain := func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(r), nil }
	return map[string]decompressor{
		"":     plain,
		"None": plain,
		"gzip": func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) },
		"zstd": func(r io.Reader) (io.ReadCloser, error) {
			d, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
			if err != nil {
				return nil, err
			}
			return d.IOReadCloser(), nil
		},
		"xz": func(r io.Reader) (io.ReadCloser, error) {
			d, err := xz.NewReader(r, maxWindow)
			if err != nil {
				return nil, err
			}
			return io.NopCloser(d), nil
		},
		"bzip2": func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(bzip2.NewReader(r)), nil },
	}
}
