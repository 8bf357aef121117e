// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/artefact"
)

// memory is a server without a network: it has one file.
type memory []byte

// RoundTrip implements http.RoundTripper.
func (m memory) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Request: r, ContentLength: int64(len(m)), Body: io.NopCloser(bytes.NewReader(m)),
	}, nil
}

// open opens a file in memory that is declared as it is.
func (m memory) open(t *testing.T, compression string) *artefact.Reader {
	t.Helper()
	r, err := artefact.Opener{HTTP: m}.Open(t.Context(), artefact.Source{
		URL: "http://memory.example/", Compression: compression, SHA256: digest(m), SizeBytes: int64(len(m)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// small are small files of each compression, without checksums where that is possible.
func small(tb testing.TB) map[string][]byte {
	tb.Helper()
	hello, err := base64.StdEncoding.DecodeString("QlpoOTFBWSZTWXzhq20AAALRgAAQQAQGbIgAIAAxANNNBANNGhrrIxamXi7kinChIPnDVto=")
	if err != nil {
		tb.Fatal(err)
	}
	content := append(noise(100), strings.Repeat("hello, disk\n", 20)...)
	return map[string][]byte{
		"gzip": compress(tb, "gzip", content), "zstd": compress(tb, "zstd", content), "xz": compress(tb, "xz", content), "bzip2": hello,
	}
}

// A file that was cut before it was declared is not an image, wherever it was cut.
func TestDeclaredTooShort(t *testing.T) {
	for compression, file := range small(t) {
		for n := range file {
			if _, err := io.Copy(io.Discard, memory(file[:n]).open(t, compression)); !errors.Is(err, artefact.ErrFormat) {
				t.Errorf("%s, %d of %d bytes: got %v, want %q", compression, n, len(file), err, artefact.ErrFormat)
			}
		}
	}
}

// le is a number as the formats write it.
func le(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }

// xzFile builds an xz file without checks out of equal blocks that hold nothing. The dictionary is (2+d%2) << (d/2+11).
func xzFile(dictionary byte, blocks int) []byte {
	flags := []byte{0, 0}
	header := []byte{2, 0, 0x21, 1, dictionary, 0, 0, 0}
	block := append(slices.Concat(header, le(crc32.ChecksumIEEE(header))), 0, 0, 0, 0)
	index := binary.AppendUvarint([]byte{0}, uint64(blocks))
	index = append(index, bytes.Repeat([]byte{13, 0}, blocks)...)
	index = append(index, make([]byte, (4-len(index)%4)%4)...)
	end := append(le(uint32(len(index))/4), flags...)
	return slices.Concat(
		[]byte("\xfd7zXZ\x00"), flags, le(crc32.ChecksumIEEE(flags)),
		bytes.Repeat(block, blocks),
		index, le(crc32.ChecksumIEEE(index)),
		le(crc32.ChecksumIEEE(end)), end, []byte("YZ"),
	)
}

// Some bytes in a file can ask for any amount of memory, or for some of it many times. They get what honest files need.
func TestMemoryIsBounded(t *testing.T) {
	zstd := func(header ...byte) []byte {
		return slices.Concat([]byte{0x28, 0xb5, 0x2f, 0xfd}, header, []byte{0x0b, 0, 0, 'x'}) // and a last block that repeats a byte once
	}
	const mib = 1 << 20
	for name, c := range map[string]struct {
		compression string
		file        []byte
		admitted    bool
		most        uint64
	}{
		"xz, 128 MiB":                    {"xz", xzFile(30, 1), true, 130 * mib},
		"xz, 192 MiB":                    {"xz", xzFile(31, 1), false, mib},
		"xz, 4 GiB":                      {"xz", xzFile(40, 1), false, mib},
		"xz, 8 MiB in each block":        {"xz", xzFile(22, 100_000), true, 20 * mib},
		"zstd, 128 MiB":                  {"zstd", zstd(0, 17<<3), true, 140 * mib},
		"zstd, 144 MiB":                  {"zstd", zstd(0, 17<<3+1), false, 8 * mib},
		"zstd, 3.75 TiB":                 {"zstd", zstd(0, 0xff), false, 8 * mib},
		"zstd, one segment of 1 TiB":     {"zstd", zstd(0xe0, 0, 0, 0, 0, 0, 1, 0, 0), false, 8 * mib},
		"zstd, 8 MiB in each frame":      {"zstd", bytes.Repeat(zstd(0, 13<<3), 100_000), true, 30 * mib},
		"gzip, nothing in each member":   {"gzip", bytes.Repeat(compress(t, "gzip", nil), 100_000), true, 30 * mib},
		"bzip2, nothing in each of them": {"bzip2", bytes.Repeat([]byte("BZh9\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00"), 100_000), true, 30 * mib},
	} {
		t.Run(name, func(t *testing.T) {
			r := memory(c.file).open(t, c.compression)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := io.Copy(io.Discard, r)
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > c.most {
				t.Errorf("it took %d MiB, want at most %d", took/mib, c.most/mib)
			}
			if (err == nil) != c.admitted || (err != nil && !errors.Is(err, artefact.ErrFormat)) {
				t.Errorf("got %v, want it admitted: %t", err, c.admitted)
			}
		})
	}
}
