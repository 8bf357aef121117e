// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"io"
)

// Raw reaches the objects of a Store, as somebody else would who has the same place.
type Raw struct{ objects objects }

func RawOf(s *Store) Raw { return Raw{s.objects} }

func (r Raw) Keys(ctx context.Context) ([]string, error) {
	all, err := r.objects.list(ctx, "")
	keys := []string{}
	for _, o := range all {
		keys = append(keys, o.key)
	}
	return keys, err
}

func (r Raw) Write(ctx context.Context, key string, content []byte) error {
	return r.objects.write(ctx, key, bytes.NewReader(content))
}

func (r Raw) Read(ctx context.Context, key string) ([]byte, error) {
	reader, err := r.objects.read(ctx, key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = reader.Close() }()
	return io.ReadAll(reader)
}

func (r Raw) Remove(ctx context.Context, key string) error { return r.objects.remove(ctx, key) }
