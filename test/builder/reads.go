// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"context"
	"sync/atomic"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// CountReads returns a reader that counts the single objects that are read through it.
func CountReads(reader client.Reader, count *atomic.Int32) client.Reader {
	return counted{reader, count}
}

type counted struct {
	client.Reader
	count *atomic.Int32
}

// Get implements client.Reader.
func (c counted) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	c.count.Add(1)
	return c.Reader.Get(ctx, key, object, options...)
}
