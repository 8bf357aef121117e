// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/artefact"
)

// enough is how much content a fuzzed file may yield: small files may be honest and expand to anything.
const enough = 16 << 20

// decompress reads a file that is declared as it is, and checks what holds for whatever is in it: no panic, no end in
// sight that does not come, no byte beyond the file, and a verdict that is about the compression only.
func decompress(t *testing.T, compression string, file []byte) {
	t.Helper()
	started := time.Now()
	r := memory(file).open(t, compression)
	n, err := io.Copy(io.Discard, io.LimitReader(r, enough))
	if took := time.Since(started); took > time.Minute {
		t.Errorf("%d bytes of %s took %s", len(file), compression, took)
	}
	if err != nil && !errors.Is(err, artefact.ErrFormat) {
		t.Errorf("%s: got %v, want %q or nothing", compression, err, artefact.ErrFormat)
	}
	switch count := r.BytesRead(); {
	case count > int64(len(file)):
		t.Errorf("%s: %d bytes were read of %d", compression, count, len(file))
	case n < enough && count != int64(len(file)):
		t.Errorf("%s: %d bytes were read of %d, and that was all", compression, count, len(file))
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Read(make([]byte, 1)); err == nil {
		t.Errorf("%s: it can be read on after it was closed", compression)
	}
}

// FuzzDecompress feeds whole files to each decompressor.
func FuzzDecompress(f *testing.F) {
	for _, file := range small(f) {
		for kind := range byte(4) {
			f.Add(kind, file)
		}
		f.Add(byte(0), append(bytes.Clone(file), file...))
		f.Add(byte(1), append(bytes.Clone(file), file...))
		f.Add(byte(2), append(bytes.Clone(file), file...))
		f.Add(byte(3), append(bytes.Clone(file), file...))
	}
	f.Add(byte(2), xzFile(0, 3))
	f.Add(byte(2), append(xzFile(0, 1), make([]byte, 8)...))
	f.Add(byte(1), []byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}) // a frame to skip
	f.Fuzz(func(t *testing.T, kind byte, file []byte) {
		decompress(t, []string{"gzip", "zstd", "xz", "bzip2"}[kind%4], file)
	})
}

// FuzzDecompressBody feeds what comes after valid headers, which no fuzzer gets past: their checksums guard them.
func FuzzDecompressBody(f *testing.F) {
	filters := map[byte][]byte{
		0: {2, 0, 0x21, 1, 16, 0, 0, 0},                // LZMA2 with 1 MiB
		1: {2, 1, 4, 0, 0x21, 1, 16, 0},                // x86 code, then LZMA2
		2: {3, 1, 3, 1, 7, 0x21, 1, 16, 0, 0, 0, 0},    // differences, then LZMA2
		3: {3, 2, 7, 0, 3, 1, 0, 0x21, 1, 16, 0, 0},    // ARM code, differences, then LZMA2
		4: {4, 3, 8, 0, 9, 0, 5, 0, 0x21, 1, 16, 0, 0}, // three kinds of code, then LZMA2
	}
	xzHeader := xzFile(16, 1)[:12]
	xzBody := compress(f, "xz", append(noise(100), bytes.Repeat([]byte("hello, disk\n"), 20)...))[24:]
	for kind := range filters {
		f.Add(kind, xzBody)
		f.Add(kind, []byte{1, 0, 3, 'd', 'i', 's', 'k', 0})
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(false))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(byte(5), encoder.EncodeAll(bytes.Repeat([]byte("hello, disk\n"), 200), nil)[5:])
	f.Add(byte(6), compress(f, "gzip", bytes.Repeat([]byte("hello, disk\n"), 20))[10:])
	f.Add(byte(7), small(f)["bzip2"][10:])
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		switch kind %= 8; kind {
		case 5:
			decompress(t, "zstd", slices.Concat([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58}, body))
		case 6:
			decompress(t, "gzip", slices.Concat([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}, body))
		case 7:
			decompress(t, "bzip2", slices.Concat([]byte("BZh91AY&SY"), body))
		default:
			block := filters[kind]
			block = slices.Concat(block, make([]byte, 4*int(block[0])-len(block)))
			decompress(t, "xz", slices.Concat(xzHeader, block, le(crc32.ChecksumIEEE(block)), body))
		}
	})
}

// moody is a server whose answers are chosen by a script, one step for each request.
type moody struct {
	file, script []byte
	next         int
}

// RoundTrip implements http.RoundTripper.
func (m *moody) RoundTrip(r *http.Request) (*http.Response, error) {
	step := func() byte {
		if m.next++; m.next <= len(m.script) {
			return m.script[m.next-1]
		}
		return 0
	}
	mood, amount := step(), int(step())
	first := 0
	_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first)
	resp := &http.Response{Request: r, Header: http.Header{}, ProtoMajor: 1, ContentLength: -1, StatusCode: http.StatusOK}
	content := m.file
	switch mood % 8 {
	case 0:
		resp.ContentLength = int64(len(m.file))
	case 1: // an end that is not told
	case 2:
		resp.TransferEncoding = []string{"chunked"}
	case 3:
		return nil, io.EOF
	case 4:
		resp.StatusCode = 400 + amount
	case 5:
		resp.StatusCode, first = http.StatusPartialContent, first+amount%3-1
		fallthrough
	default:
		if first = min(max(first, 0), len(m.file)-1); first > 0 {
			resp.StatusCode = http.StatusPartialContent
		}
		content = m.file[first:]
		resp.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, len(m.file)-1, len(m.file)))
		if mood%16 > 8 {
			resp.Header.Set("Etag", fmt.Sprintf(`"%d"`, amount%2))
		}
	}
	if mood > 200 {
		content = bytes.ToUpper(content)
	}
	resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(content[:min(amount*8, len(content))]), broken(mood)))
	return resp, nil
}

// broken is how a body ends that was cut.
type broken byte

// Read implements io.Reader.
func (b broken) Read([]byte) (int, error) {
	if b%3 == 0 {
		return 0, io.EOF
	}
	return 0, io.ErrUnexpectedEOF
}

// FuzzServer lets a server do what it wants: the reader ends, what it yields as verified is the file, what it counts
// never goes beyond it, and it does not ask for ever.
func FuzzServer(f *testing.F) {
	f.Add([]byte{0, 255})
	f.Add([]byte{0, 50, 6, 20, 6, 200})
	f.Add([]byte{1, 50, 1, 60, 1, 255})
	f.Add([]byte{2, 100, 5, 1, 0, 200})
	f.Add([]byte{0, 10, 4, 16, 4, 29, 3, 0, 14, 7, 15, 8, 6, 255})
	f.Add([]byte{14, 50, 14, 50, 15, 51, 201, 70})
	f.Add([]byte{2, 125, 4, 16})
	file := bytes.Repeat([]byte("0123456789 a disk "), 1000/18+1)[:1000]
	f.Fuzz(func(t *testing.T, script []byte) {
		server := &moody{file: file, script: script}
		source := artefact.Source{URL: "http://moody.example/", SHA256: digest(file), SizeBytes: int64(len(file))}
		r, err := artefact.Opener{HTTP: server, Clock: &hurried{}}.Open(t.Context(), source)
		if err != nil {
			if !errors.Is(err, artefact.ErrSource) && !errors.Is(err, artefact.ErrMismatch) {
				t.Errorf("Open: %v", err)
			}
			return
		}
		defer r.Close()
		content, err := io.ReadAll(r)
		switch {
		case err == nil && !bytes.Equal(content, file):
			t.Errorf("%d bytes that are not the file passed for it", len(content))
		case err != nil && !errors.Is(err, artefact.ErrSource) && !errors.Is(err, artefact.ErrMismatch):
			t.Error(err)
		}
		if r.BytesRead() > int64(len(file))+1 || int64(len(content)) != r.BytesRead() {
			t.Errorf("%d bytes were counted and %d yielded of %d", r.BytesRead(), len(content), len(file))
		}
		if answers := server.next / 2; answers > 7*(len(file)+1) {
			t.Errorf("the server was asked %d times", answers)
		}
	})
}
