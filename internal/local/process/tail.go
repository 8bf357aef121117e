// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// tailBytes bounds how much of a log is read for its last lines.
	tailBytes = 16 << 10
	// tailLines is how many lines of a log an error of this package shows.
	tailLines = 12
)

// Tail returns the last lines of a log, to be put into an error. It never fails: what cannot be read is said instead.
func Tail(path string, lines int) string {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > tailBytes {
		_, _ = f.Seek(-tailBytes, io.SeekEnd)
	}
	content, err := io.ReadAll(io.LimitReader(f, tailBytes))
	if err != nil {
		return fmt.Sprintf("(log %s cannot be read: %v)", path, err)
	}
	all := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}
