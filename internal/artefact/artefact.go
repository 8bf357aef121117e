// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package artefact reads the files that hold images from where they are published. It streams: nothing is kept on disk
// and never more than a buffer in memory. What it yields is the decompressed content, and the end of the stream is only
// reached when every byte at the source was seen and their digest and number are what was declared, so a copy that
// ended without an error is a verified one.
//
// It knows sources and compressions. It knows no disk format, no platform and no API object, and never will.
package artefact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"k8s.io/utils/clock"
)

// Errors that callers judge by.
var (
	// ErrSource means that the source could not be read, or not to its end.
	ErrSource = errors.New("source not readable")
	// ErrMismatch means that the source holds other bytes than declared.
	ErrMismatch = errors.New("source holds other bytes than declared")
	// ErrFormat means that the declaration can never work: an unknown scheme or compression, or bytes that are exactly
	// those declared and still not compressed as declared.
	ErrFormat = errors.New("unusable declaration")
)

// defaultStall is how long a source may send nothing.
const defaultStall = 2 * time.Minute

// Source declares one artefact.
type Source struct {
	// URL is where the file is: https://, http://, file:// or oci:// followed by a repository and a tag or digest.
	URL string
	// Compression is how the file is compressed: None, gzip, zstd, xz or bzip2. Empty means None.
	Compression string
	// SHA256 is the digest of the file at the source, in lower-case hexadecimal.
	SHA256 string
	// SizeBytes is the size of the file at the source.
	SizeBytes int64
}

// Opener opens artefacts. The zero value is ready to use.
type Opener struct {
	// HTTP is the transport for http, https and oci; nil means one with sensible bounds.
	HTTP http.RoundTripper
	// Clock is the time; nil means the real one.
	Clock clock.WithDelayedExecution
	// Stall is how long a source may send nothing before reading fails with ErrSource; 0 means two minutes.
	Stall time.Duration
}

// Open starts reading an artefact. The reader must be closed; it is bound to ctx.
// Errors: ErrSource, ErrMismatch (the source tells another size), ErrFormat.
func (o Opener) Open(ctx context.Context, source Source) (*Reader, error) {
	u, err := url.Parse(source.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: the source is not a URL", ErrFormat)
	}
	decompress, ok := decompressors()[source.Compression]
	if !ok {
		return nil, fmt.Errorf("%w: %s: compression %q is not one of None, gzip, zstd, xz, bzip2", ErrFormat, display(u), source.Compression)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	guard := o.guard(cancel)
	body, size, err := o.fetch(ctx, u, source)
	guard.disarm()
	if err != nil {
		err = fmt.Errorf("%s: %w", display(u), withCause(ctx, err))
		cancel(nil)
		return nil, err
	}
	r := &Reader{
		ctx:    ctx,
		cancel: cancel,
		body:   body,
		name:   display(u),
		raw:    newMeter(body, source.SizeBytes, guard),
		want:   source,
		open:   decompress,
	}
	if size >= 0 && size != source.SizeBytes {
		_ = r.Close()
		return nil, fmt.Errorf("%s: %w: it has %d bytes, declared are %d", r.name, ErrMismatch, size, source.SizeBytes)
	}
	return r, nil
}

// fetch opens the raw stream and returns its size if the source tells it, else -1.
func (o Opener) fetch(ctx context.Context, u *url.URL, source Source) (io.ReadCloser, int64, error) {
	switch u.Scheme {
	case "file":
		return openFile(u)
	case "http", "https":
		return o.openHTTP(ctx, u)
	case "oci":
		return o.openOCI(ctx, u, source.SHA256)
	default:
		return nil, 0, fmt.Errorf("%w: scheme %q is not one of https, http, file, oci", ErrFormat, u.Scheme)
	}
}

// display is the URL without what may be secret in it: the user and the query.
func display(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// withCause prefers the reason for which a context was ended over what the ended call made of it.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", ErrSource, cause)
	}
	return err
}
