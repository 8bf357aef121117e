// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package artefact reads the files that hold images from where they are published. It streams: nothing is kept on disk
// and never more than a buffer and the window of a compression in memory. What it yields is the decompressed content,
// and the end of the stream is only reached when every byte at the source was seen and their digest and number are what
// was declared, so a copy that ended without an error is a verified one.
//
// A connection that breaks does not end the copy. The reader pauses, connects again and asks for the rest with a Range
// request; If-Range and the validators of the answer see to it that the rest is of the same file. A server that sends
// the whole file instead is taken at its word: what was read before is read again, compared and dropped, which is
// bounded by the size of the file. Digest and progress only ever see a byte once. A connection that falls silent for
// half of Opener.Stall is one that broke. The reader gives up when several attempts in a row brought nothing new, or
// when nothing came for all of Opener.Stall; attempts and pauses are part of that time. Only reading goes on like this:
// when Open fails nothing is lost, and when to open again is its caller's decision.
//
// Bytes of different files that were joined are never called a mismatch: ErrMismatch is the verdict over one file, and
// a file that changed while it was read is ErrSource.
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
	// ErrSource means that the source could not be read, or not to its end, or not as one file.
	ErrSource = errors.New("source not readable")
	// ErrMismatch means that the source holds other bytes than declared.
	ErrMismatch = errors.New("source holds other bytes than declared")
	// ErrFormat means that the declaration can never work: an unknown scheme or compression, or bytes that are exactly
	// those declared and still not compressed as declared, or not within the bounds of this package.
	ErrFormat = errors.New("unusable declaration")
)

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
	// Stall is how long a source may send nothing before reading fails with ErrSource; 0 means two minutes. A connection
	// that is silent for half of it is replaced.
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
	raw := newMeter(source.SizeBytes, newGuard(o.clock(), o.stall(), cancel))
	body, err := o.fetch(ctx, u, source, raw)
	raw.guard.disarm()
	if err != nil {
		err = fmt.Errorf("%s: %w", display(u), withCause(ctx, err))
		cancel(nil)
		return nil, err
	}
	raw.source = body
	return &Reader{
		ctx:    ctx,
		cancel: cancel,
		body:   body,
		name:   display(u),
		raw:    raw,
		want:   source,
		open:   decompress,
	}, nil
}

// fetch opens the raw stream. A source that tells another size than the declared one is refused here.
func (o Opener) fetch(ctx context.Context, u *url.URL, source Source, raw *meter) (io.ReadCloser, error) {
	switch u.Scheme {
	case "file":
		return openFile(u, source.SizeBytes)
	case "http", "https":
		return o.openHTTP(ctx, u, source.SizeBytes, raw)
	case "oci":
		return o.openOCI(ctx, u, source, raw)
	default:
		return nil, fmt.Errorf("%w: scheme %q is not one of https, http, file, oci", ErrFormat, u.Scheme)
	}
}

// checkSize compares what a source tells about its size with the declaration.
func checkSize(told, declared int64) error {
	if told != declared {
		return fmt.Errorf("%w: it has %d bytes, declared are %d", ErrMismatch, told, declared)
	}
	return nil
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
