// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/artefact"
)

// plain is a disk that compresses well and is larger than any buffer on the way.
func plain() []byte { return bytes.Repeat([]byte("a disk of an immutable node. "), 100_000) }

// bzip2Plain is plain() as bzip2 -9 writes it; the standard library only reads bzip2.
const bzip2Plain = "QlpoOTFBWSZTWWpagsQB5OaRgEABNy+OADABMAFMABNBNVTKbUMEFMABNNlClDUhShmQpQ5kKUPchSh9kKUNlClDShShnyQpQxIUobyFKHahSh" +
	"iQpQ6kKUOVClDMhShmQpQxIUoeSFKHUhSh3IUoeSFKHyQpQ1IUocKFKG0hSh6kKUP0hShvIUofzFBWSZTWd1hcW4FrrWRgEABNy+OADABMAFMA" +
	"BNBNVJqZDNEFMABNMSFKHEhShmQpQ6kKUPahSh9kKUMSFKHEhSh4oUoYkKUMbqFKHchShmQpQ0oUodSFKGZClDMhShtIUoeSFKGlClDuQpQ8kK" +
	"UPkhShwoUoY0oUobSFKHqQpQ/SFKG8hSh/MUFZJlNZc5z6cAKavhGAQAE3L44AMAEwAUwAE0E1Up6m1BtEFMABNMSFKGpClDMhShzIUoepClD5" +
	"IUoYkKUNSFKHahShiQpQ4UKUPvUhShmQpQ3IUobkKUMyFKGZClDxIUodyFKHUhShpQpQ7UKUPchShqQpQ3IUoYkKUPMhSh+UKUOFClD+YoKyTK" +
	"ayDMUquAIa8SMAgAJuXxwAYAIgBTAATQTVSajQZlBTAATTEoJOZQSZlBJ1KCTPooJPkoJMFBJzKCTZQSYlBJyUEmigk4lBJ2UEnRQSZlBJmUEn" +
	"EoJNygk7KCTOpQSbKCT3KCTJQSaKCTEoJPEoJPxQSeSgk/i7kinChIYwVZEg"

func compress(tb testing.TB, kind string, content []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch kind {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "zstd":
		w, err = zstd.NewWriter(&out)
	case "xz":
		w, err = xz.NewWriter(&out)
	case "bzip2":
		file, err := base64.StdEncoding.DecodeString(bzip2Plain)
		if err != nil || !bytes.Equal(content, plain()) {
			tb.Fatalf("no bzip2 of this: %v", err)
		}
		return file
	default:
		return content
	}
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// declare writes a file and declares it as it is.
func declare(t *testing.T, compression string, file []byte) artefact.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "artefact")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return artefact.Source{URL: (&url.URL{Scheme: "file", Path: path}).String(), Compression: compression, SHA256: digest(file), SizeBytes: int64(len(file))}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// read reads an artefact to its end.
func read(t *testing.T, o artefact.Opener, source artefact.Source) ([]byte, int64, error) {
	t.Helper()
	r, err := o.Open(t.Context(), source)
	if err != nil {
		return nil, 0, err
	}
	content, err := io.ReadAll(r)
	count := r.BytesRead()
	if closeErr := r.Close(); closeErr != nil {
		t.Errorf("Close: %v", closeErr)
	}
	return content, count, err
}

// Every compression of the API yields the disk, and what is counted and hashed is the file as published.
func TestCompressions(t *testing.T) {
	for _, c := range []struct {
		compression string
		file, want  []byte
	}{
		{"None", plain(), plain()},
		{"", plain(), plain()},
		{"gzip", compress(t, "gzip", plain()), plain()},
		{"zstd", compress(t, "zstd", plain()), plain()},
		{"xz", compress(t, "xz", plain()), plain()},
		{"bzip2", compress(t, "bzip2", plain()), plain()},
		{"gzip", append(compress(t, "gzip", plain()), compress(t, "gzip", []byte("second member"))...), append(plain(), "second member"...)},
		{"zstd", append(compress(t, "zstd", plain()), compress(t, "zstd", []byte("second frame"))...), append(plain(), "second frame"...)},
		{"xz", append(compress(t, "xz", plain()), compress(t, "xz", []byte("second stream"))...), append(plain(), "second stream"...)},
		{"bzip2", append(compress(t, "bzip2", plain()), compress(t, "bzip2", plain())...), append(plain(), plain()...)},
	} {
		t.Run(c.compression, func(t *testing.T) {
			content, count, err := read(t, artefact.Opener{}, declare(t, c.compression, c.file))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(content, c.want) {
				t.Errorf("%d bytes of content, want %d others", len(content), len(c.want))
			}
			if count != int64(len(c.file)) {
				t.Errorf("%d bytes were counted, the file has %d", count, len(c.file))
			}
		})
	}
}

// Whatever is wrong with the bytes, the reader never ends with io.EOF: a copy of it cannot be taken for the artefact.
func TestWrongBytes(t *testing.T) {
	for _, compression := range []string{"None", "gzip", "zstd", "xz", "bzip2"} {
		file := compress(t, compression, plain())
		for name, c := range map[string]struct {
			file   []byte
			change func(*artefact.Source)
		}{
			"last byte differs":         {file: flip(file, len(file)-1)},
			"byte in the middle":        {file: flip(file, len(file)/2)},
			"first byte differs":        {file: flip(file, 0)},
			"one byte short":            {file: file[:len(file)-1]},
			"half":                      {file: file[:len(file)/2]},
			"empty":                     {file: nil},
			"one byte more":             {file: append(bytes.Clone(file), 0)},
			"much more":                 {file: append(bytes.Clone(file), file...)},
			"other digest declared":     {file: file, change: func(s *artefact.Source) { s.SHA256 = digest([]byte("other")) }},
			"larger size declared":      {file: file, change: func(s *artefact.Source) { s.SizeBytes++ }},
			"smaller size declared":     {file: file, change: func(s *artefact.Source) { s.SizeBytes-- }},
			"same size, other contents": {file: make([]byte, len(file))},
		} {
			t.Run(compression+"/"+name, func(t *testing.T) {
				source := declare(t, compression, c.file)
				source.SHA256, source.SizeBytes = digest(file), int64(len(file))
				if c.change != nil {
					c.change(&source)
				}
				for kind, source := range map[string]artefact.Source{"file": source, "http": unsized(t, source)} {
					if _, _, err := read(t, artefact.Opener{}, source); !errors.Is(err, artefact.ErrMismatch) {
						t.Errorf("%s: got %v, want %q", kind, err, artefact.ErrMismatch)
					}
				}
			})
		}
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0xff
	return b
}

// unsized serves a file over HTTP without telling its size first.
func unsized(t *testing.T, source artefact.Source) artefact.Source {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		u, err := url.Parse(source.URL)
		if err != nil {
			return
		}
		f, err := os.Open(u.Path)
		if err != nil {
			return
		}
		defer f.Close()
		_, _ = io.Copy(w, f)
	}))
	t.Cleanup(server.Close)
	source.URL = server.URL
	return source
}

// What follows the compressed data belongs to the file: it is hashed, and the right file with such a tail is refused as
// what it is, not as other bytes.
func TestTrailingBytes(t *testing.T) {
	for _, compression := range []string{"gzip", "zstd", "xz", "bzip2"} {
		file := append(compress(t, compression, plain()), "not compressed"...)
		_, count, err := read(t, artefact.Opener{}, declare(t, compression, file))
		if !errors.Is(err, artefact.ErrFormat) {
			t.Errorf("%s: got %v, want %q", compression, err, artefact.ErrFormat)
		}
		if count != int64(len(file)) {
			t.Errorf("%s: %d bytes were counted, the file has %d", compression, count, len(file))
		}
	}
}

// No source, however long, makes the reader read more than one byte beyond the declaration.
func TestNeverReadsMuchMoreThanDeclared(t *testing.T) {
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	const size = 1 << 20
	_, count, err := read(t, artefact.Opener{}, artefact.Source{URL: endless.URL, SHA256: digest(nil), SizeBytes: size})
	if !errors.Is(err, artefact.ErrMismatch) || count != size+1 {
		t.Errorf("got %v after %d bytes, want %q after %d", err, count, artefact.ErrMismatch, size+1)
	}
}

// Each way in which a source can be out of reach says so, names the source, and keeps its secrets.
func TestUnreadableSources(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(make([]byte, 10))
			return
		}
		if r.URL.Path == "/away" {
			w.Header().Set("Location", "http://%zz/?signature=hunter2")
			w.WriteHeader(http.StatusFound)
			return
		}
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer server.Close()
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	withUser := func(base string) string { return strings.Replace(base, "://", "://me:hunter2@", 1) }
	for address, want := range map[string]error{
		"file:///no/such/file?token=hunter2":                artefact.ErrSource,
		"file:///":                                          artefact.ErrSource,
		"file:///dev/zero":                                  artefact.ErrSource,
		"file://elsewhere/disk":                             artefact.ErrFormat,
		"ftp://me:hunter2@host/disk":                        artefact.ErrFormat,
		"::hunter2":                                         artefact.ErrFormat,
		withUser(server.URL) + "/disk?token=hunter2":        artefact.ErrSource,
		withUser(server.URL) + "/broken?token=hunter2":      artefact.ErrSource,
		withUser(dead.URL) + "/disk?token=hunter2":          artefact.ErrSource,
		"oci://no-tag.example/repository":                   artefact.ErrFormat,
		"oci://me:hunter2@host.example/repository:v1":       artefact.ErrFormat,
		"oci://host.example/repository:v1?token=hunter2":    artefact.ErrFormat,
		withUser(server.URL) + "/away?token=hunter2":        artefact.ErrSource,
		"oci://" + dead.Listener.Addr().String() + "/r:v1":  artefact.ErrSource,
		"oci://" + server.Listener.Addr().String() + "/r:v": artefact.ErrSource,
	} {
		_, _, err := read(t, artefact.Opener{Clock: &hurried{}}, artefact.Source{URL: address, SHA256: digest(nil), SizeBytes: 1000})
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %q", address, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows a secret: %v", address, err)
		}
	}
}

// A source that tells its size tells that it is the wrong one before anything is read.
func TestSizeIsCheckedFirst(t *testing.T) {
	served := &flaky{file: noise(1000)}
	for _, source := range []artefact.Source{declare(t, "None", plain()), served.serve(t, "")} {
		source.SizeBytes--
		if r, err := (artefact.Opener{}).Open(t.Context(), source); !errors.Is(err, artefact.ErrMismatch) {
			t.Errorf("got %v, want %q", err, artefact.ErrMismatch)
			_ = r.Close()
		}
	}
}

func TestUnknownCompression(t *testing.T) {
	source := declare(t, "rar", plain())
	if _, _, err := read(t, artefact.Opener{}, source); !errors.Is(err, artefact.ErrFormat) {
		t.Errorf("got %v, want %q", err, artefact.ErrFormat)
	}
}

// A source that goes silent ends the copy instead of holding it for ever; one whose reader is slow does not.
func TestStall(t *testing.T) {
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 10))
		w.(http.Flusher).Flush()
		<-release
	}))
	defer silent.Close()
	defer close(release)
	_, _, err := read(t, artefact.Opener{Stall: 50 * time.Millisecond}, artefact.Source{URL: silent.URL, SHA256: digest(nil), SizeBytes: 1000})
	if !errors.Is(err, artefact.ErrSource) || !strings.Contains(err.Error(), "sent nothing") {
		t.Errorf("got %v, want %q that tells of the silence", err, artefact.ErrSource)
	}

	steady := &flaky{file: noise(100_000)}
	for _, source := range []artefact.Source{declare(t, "None", plain()), steady.serve(t, "")} {
		r, err := artefact.Opener{Stall: time.Second}.Open(t.Context(), source)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(make([]byte, 1)); err != nil {
			t.Errorf("a slow reader: %v", err)
		}
		time.Sleep(1200 * time.Millisecond)
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Errorf("a slow reader: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if requests, _ := steady.seen(); len(requests) != 1 {
		t.Errorf("%d requests, want 1: the connection was there all the time", len(requests))
	}
}

// The reader ends with its context, and Close may come from another goroutine while a read hangs.
func TestEnd(t *testing.T) {
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		<-release
	}))
	defer silent.Close()
	defer close(release)
	source := artefact.Source{URL: silent.URL, SHA256: digest(nil), SizeBytes: 1000}
	for name, end := range map[string]func(*artefact.Reader, context.CancelFunc){
		"context": func(_ *artefact.Reader, cancel context.CancelFunc) { cancel() },
		"close":   func(r *artefact.Reader, _ context.CancelFunc) { _ = r.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			clk := &hurried{}
			r, err := artefact.Opener{Clock: clk}.Open(ctx, source)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			time.AfterFunc(20*time.Millisecond, func() { end(r, cancel) })
			if _, err := io.Copy(io.Discard, r); !errors.Is(err, artefact.ErrSource) {
				t.Errorf("got %v, want %q", err, artefact.ErrSource)
			}
			if _, err := r.Read(make([]byte, 1)); !errors.Is(err, artefact.ErrSource) {
				t.Errorf("reading on: got %v, want %q", err, artefact.ErrSource)
			}
			if len(clk.seen()) != 0 {
				t.Error("it was about to connect again")
			}
		})
	}
}
