// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// scratchPrefix begins the names of scratch folders, so that nothing else is ever swept away.
const scratchPrefix = "etcd-snapshot-"

// scratch is a folder that is locked as long as the process that made it uses it, and that the next one removes.
type scratch struct {
	dir  string
	lock *os.File
}

func newScratch(parent string) (*scratch, error) {
	dir, err := makeScratch(parent)
	if err != nil {
		return nil, fmt.Errorf("making a scratch folder: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("locking the scratch folder %s: %w", dir, errors.Join(err, os.RemoveAll(dir)))
	}
	return &scratch{dir: dir, lock: lock}, nil
}

func makeScratch(parent string) (string, error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(parent, scratchPrefix)
}

// lockFolder returns an error that wraps unix.EWOULDBLOCK where another process holds the lock.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (s *scratch) path(name string) string { return filepath.Join(s.dir, name) }

func (s *scratch) remove() error { return errors.Join(os.RemoveAll(s.dir), s.lock.Close()) }

// sweep removes the scratch folders that no process uses any more.
func sweep(parent string) error {
	entries, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		if match, _ := filepath.Match(scratchPrefix+"*", e.Name()); !match || !e.IsDir() {
			continue
		}
		lock, err := lockFolder(dir)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, os.RemoveAll(dir), lock.Close())
	}
	return errors.Join(errs...)
}
