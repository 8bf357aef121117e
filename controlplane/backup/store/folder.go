// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// writingPrefix is what a file is called that is still being written.
const writingPrefix = ".writing-"

// folder keeps objects in a folder. It is no folder of gocloud's, which neither waits until the disk has what it wrote, nor
// does without a second file of attributes for each.
type folder struct{ dir string }

func (f folder) path(key string) string { return filepath.Join(f.dir, filepath.FromSlash(key)) }

func (f folder) write(ctx context.Context, key string, from io.Reader) error {
	path := f.path(key)
	if err := makeFolders(filepath.Dir(path)); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), writingPrefix+"*")
	if err != nil {
		return err
	}
	err = errors.Join(fill(ctx, file, from), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, ignoreNotExist(os.Remove(file.Name())))
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return fmt.Errorf("the disk of %s is full; give it more room, or keep fewer snapshots: %w", f.dir, err)
		}
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// fill writes everything and waits until the disk has it.
func fill(ctx context.Context, file *os.File, from io.Reader) error {
	if _, err := io.Copy(file, interruptible{ctx, from}); err != nil {
		return err
	}
	return file.Sync()
}

// interruptible ends with its context.
type interruptible struct {
	ctx  context.Context //nolint:containedctx // io.Reader takes none
	from io.Reader
}

func (r interruptible) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.from.Read(p)
}

// makeFolders makes a folder and those above it that are missing, so that a crash does not forget them. Snapshots hold
// every Secret of a cluster.
func makeFolders(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := makeFolders(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(filepath.Dir(dir))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f folder) read(_ context.Context, key string) (io.ReadCloser, error) {
	file, err := os.Open(f.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return file, err
}

func (f folder) list(ctx context.Context, prefix string) ([]object, error) {
	var found []object
	root := f.path(prefix)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it is gone meanwhile, or nothing was ever stored
		case err != nil || ctx.Err() != nil:
			return errors.Join(err, ctx.Err())
		case !entry.Type().IsRegular():
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return ignoreNotExist(err)
		}
		found = append(found, object{key: filepath.ToSlash(strings.TrimPrefix(path, f.path("")+string(filepath.Separator))), size: info.Size(), modified: info.ModTime()})
		return nil
	})
	slices.SortFunc(found, func(a, b object) int { return strings.Compare(a.key, b.key) })
	return found, err
}

func (f folder) remove(_ context.Context, key string) error {
	if err := os.Remove(f.path(key)); err != nil {
		return ignoreNotExist(err)
	}
	return syncFolder(filepath.Dir(f.path(key)))
}

// Close implements objects.
func (folder) Close() error { return nil }

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
