// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// compress returns a reader of what from holds, compressed. What is read is written to seen, too. Closing it early ends it.
func compress(from io.Reader, seen io.Writer) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		// One core and a window of a megabyte: the manager has other things to do.
		encoder, err := zstd.NewWriter(io.MultiWriter(w, seen), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
		if err == nil {
			if _, err = io.Copy(encoder, from); err == nil {
				err = encoder.Close()
			}
		}
		_ = w.CloseWithError(err)
	}()
	return r
}

// unpack writes what a stored file holds, which is no more than its manifest says.
func unpack(file io.Reader, to io.Writer, m Manifest) error {
	content := file
	if strings.HasSuffix(m.File, fileSuffix) {
		decoder, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			return err
		}
		defer decoder.Close()
		content = decoder
	}
	n, err := io.Copy(to, io.LimitReader(content, m.SnapshotBytes+1))
	switch {
	case err != nil:
		return fmt.Errorf("unpacking its file: %w", err)
	case n != m.SnapshotBytes:
		return fmt.Errorf("its file holds another snapshot than the one of %d bytes that its manifest speaks of", m.SnapshotBytes)
	}
	_, err = io.Copy(io.Discard, file) // what follows belongs to its sum
	return err
}

// counted sums and counts what is written.
type counted struct {
	sum hash.Hash
	n   int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.sum.Write(p)
}

// watched tells how much is read.
type watched struct {
	io.Reader

	progress func(n int)
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if w.progress != nil {
		w.progress(n)
	}
	return n, err
}
