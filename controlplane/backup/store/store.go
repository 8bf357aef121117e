// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Options are what the caller allows, never the user.
type Options struct {
	// Dir is the manager's own folder, empty for none.
	Dir string
	// AllowAmbient lets a Location without credentials use the identity of this process: its environment, or what the cloud
	// that it runs in gives it. It is never shown to an endpoint that the Location names, unless TrustEndpoint.
	AllowAmbient bool
	// TrustEndpoint is for whoever named the endpoint himself.
	TrustEndpoint bool
}

// Store keeps snapshots in one place. It is safe for concurrent use, also by several processes.
type Store struct {
	objects objects
	where   string
}

// ErrNotFound means that there is no such snapshot.
var ErrNotFound = errors.New("there is no such snapshot")

// objects is what a place can do. Keys are paths with slashes. Some places try again by themselves for as long as the context
// lasts, so whoever calls has a bound.
type objects interface {
	// write writes an object; nobody sees it before all of it is safe, and nothing of it is left when write fails.
	write(ctx context.Context, key string, from io.Reader) error
	// read returns an error that wraps ErrNotFound where there is no such object.
	read(ctx context.Context, key string) (io.ReadCloser, error)
	// list returns everything below a prefix that ends in a slash, sorted by key.
	list(ctx context.Context, prefix string) ([]object, error)
	// remove removes an object. One that is gone is no error.
	remove(ctx context.Context, key string) error
	io.Closer
}

type object struct {
	key      string
	size     int64
	modified time.Time
}

// Open opens the place that a Location names. Errors say what is wrong with the Location; whether the place answers shows
// when it is used.
func Open(ctx context.Context, l Location, options Options) (*Store, error) {
	if l.URL == "" {
		if options.Dir == "" {
			return nil, errors.New("no location of snapshots is named, and there is no folder for them: name a bucket, or start the manager with a folder")
		}
		return &Store{objects: folder{dir: options.Dir}, where: options.Dir}, nil
	}
	a, err := l.parse()
	if err != nil {
		return nil, err
	}
	if err := l.mayBeAmbient(a, options); err != nil {
		return nil, err
	}
	place, err := openBucket(ctx, l, a)
	if err != nil {
		return nil, fmt.Errorf("opening the location of snapshots %s: %w", l, err)
	}
	return &Store{objects: place, where: l.URL}, nil
}

// mayBeAmbient refuses to lend the identity of this process. Who chooses an endpoint could keep what is shown to it.
func (l Location) mayBeAmbient(a address, options Options) error {
	switch {
	case l.Credentials != nil:
		return nil
	case !options.AllowAmbient:
		return fmt.Errorf("the location of snapshots %s needs credentials", l)
	case a.query["endpoint"] != "" && !options.TrustEndpoint:
		return fmt.Errorf("the location of snapshots %s names an endpoint, and the manager's own identity is not shown to it: it needs credentials", l)
	default:
		return nil
	}
}

// Close closes the connections to the place.
func (s *Store) Close() error { return s.objects.Close() }

// String is where it is.
func (s *Store) String() string { return s.where }
