// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"
)

// Reader yields the decompressed content of an artefact. It returns io.EOF only after the whole source was read and
// found to be what was declared; any other end is an error that wraps ErrSource, ErrMismatch or ErrFormat.
type Reader struct {
	ctx    context.Context //nolint:containedctx // the reader is the open stream; its context ends with it
	cancel context.CancelCauseFunc
	body   io.Closer
	name   string
	raw    *meter
	want   Source
	open   decompressor

	mu    sync.Mutex
	plain io.ReadCloser
	err   error
}

// Read implements io.Reader. After the first error it keeps returning that error.
func (r *Reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return 0, r.err
	}
	if r.plain == nil {
		plain, err := r.open(r.raw)
		if err != nil {
			r.err = r.judge(err)
			return 0, r.err
		}
		r.plain = plain
	}
	n, err := r.plain.Read(p)
	if err != nil {
		r.err = r.judge(err)
	}
	return n, r.err
}

// BytesRead returns how many bytes were read from the source. It may be called while another goroutine reads.
func (r *Reader) BytesRead() int64 { return r.raw.count.Load() }

// Close ends the reading and gives everything back. It may be called while another goroutine reads.
func (r *Reader) Close() error {
	r.cancel(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.plain != nil {
		_ = r.plain.Close()
	}
	if r.err == nil {
		r.err = fmt.Errorf("%s: %w: it was closed", r.name, ErrSource)
	}
	return r.body.Close()
}

// judge turns the end of the content, for whatever reason it came, into a verdict over the source. What follows the
// end of the compressed data counts too, and a decompressor that stumbles over wrong bytes is a mismatch.
func (r *Reader) judge(end error) error {
	_, _ = io.Copy(io.Discard, r.raw)
	size, digest := r.raw.count.Load(), hex.EncodeToString(r.raw.sum.Sum(nil))
	failure := r.raw.failure
	switch {
	case failure != nil && size < r.want.SizeBytes:
		return fmt.Errorf("%s: after %d of %d bytes: %w", r.name, size, r.want.SizeBytes, asSource(withCause(r.ctx, failure)))
	case size > r.want.SizeBytes:
		return fmt.Errorf("%s: %w: it has more than the declared %d bytes", r.name, ErrMismatch, r.want.SizeBytes)
	case size < r.want.SizeBytes:
		return fmt.Errorf("%s: %w", r.name, checkSize(size, r.want.SizeBytes))
	case digest != r.want.SHA256 && r.raw.joined():
		return fmt.Errorf("%s: %w: its connection broke and the parts, whose sha256 is %s, may be of different versions", r.name, ErrSource, digest)
	case digest != r.want.SHA256:
		return fmt.Errorf("%s: %w: its sha256 is %s, declared is %s", r.name, ErrMismatch, digest, r.want.SHA256)
	case failure != nil:
		return fmt.Errorf("%s: after all of its %d bytes: %w", r.name, size, asSource(withCause(r.ctx, failure)))
	case !errors.Is(end, io.EOF):
		return fmt.Errorf("%s: %w: the file is the declared one, but not valid %s: %w", r.name, ErrFormat, r.want.Compression, end)
	case size == 0 && r.want.Compression != "" && r.want.Compression != "None":
		return fmt.Errorf("%s: %w: the file is empty, which is not valid %s", r.name, ErrFormat, r.want.Compression)
	default:
		return io.EOF
	}
}

// meter counts and hashes what passes, and stops one byte after the declared size.
type meter struct {
	source  io.Reader
	left    int64
	count   atomic.Int64
	sum     hash.Hash
	failure error
	guard   *guard
}

func newMeter(size int64, g *guard) *meter {
	return &meter{left: size + 1, sum: sha256.New(), guard: g}
}

// Read implements io.Reader.
func (m *meter) Read(p []byte) (int, error) {
	if m.failure != nil {
		return 0, m.failure
	}
	if m.left <= 0 {
		return 0, io.EOF
	}
	m.guard.arm()
	n, err := m.source.Read(p[:min(int64(len(p)), m.left)])
	m.guard.disarm()
	m.left -= int64(n)
	m.count.Add(int64(n))
	m.sum.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		m.failure = err
	}
	return n, err
}

// joined says that what passed may be of different versions of the file, so that its digest proves nothing against it.
func (m *meter) joined() bool {
	s, ok := m.source.(*stream)
	return ok && s.joined
}
