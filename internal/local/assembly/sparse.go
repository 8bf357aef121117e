// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"io"
	"os"
)

// Place copies the file part into the file disk, beginning at a byte of it, and leaves holes where it is zero.
func Place(disk, part string, at int64) error {
	in, err := os.Open(part)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	if err := copySparse(out, in, at); err != nil {
		return err
	}
	return out.Close()
}

func copySparse(out io.WriterAt, in io.Reader, offset int64) error {
	block, zero := make([]byte, mib), make([]byte, mib)
	for {
		n, err := io.ReadFull(in, block)
		if n > 0 && string(block[:n]) != string(zero[:n]) {
			if _, err := out.WriteAt(block[:n], offset); err != nil {
				return err
			}
		}
		offset += int64(n)
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return nil
		default:
			return err
		}
	}
}
