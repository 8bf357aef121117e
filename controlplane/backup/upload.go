// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
)

// databaseFile is the database in a data directory of etcd.
const databaseFile = "member/snap/db"

// errChanged means that a file is not what was restored. Nobody takes the rest of it for a snapshot.
var errChanged = errors.New("what was restored has changed since on the disk of the manager: start it with an empty --restore-directory")

// openSnapshot opens a database of etcd as a snapshot: what restores it elsewhere checks the sum that follows. It follows only
// where the database still is the one that was restored.
func openSnapshot(path, sum512 string) (io.ReadCloser, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, hushed(err)
	}
	return &summedFile{file: file, want: sum512, whole: sha512.New(), sum: sha256.New()}, nil
}

// summedFile is a file, and its sum after it.
type summedFile struct {
	file  *os.File
	want  string
	whole hash.Hash
	sum   hash.Hash
	tail  *bytes.Reader
}

// Read implements io.Reader.
func (f *summedFile) Read(p []byte) (int, error) {
	if f.tail != nil {
		return f.tail.Read(p)
	}
	n, err := f.file.Read(p)
	_, _ = f.whole.Write(p[:n]) // they never fail
	_, _ = f.sum.Write(p[:n])
	if errors.Is(err, io.EOF) {
		if hex.EncodeToString(f.whole.Sum(nil)) != f.want {
			return n, errChanged
		}
		f.tail = bytes.NewReader(f.sum.Sum(nil))
		err = nil
	}
	return n, hushed(err)
}

// Close implements io.Closer.
func (f *summedFile) Close() error { return f.file.Close() }
