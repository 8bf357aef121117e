// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"errors"
	"io"
	"sync"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/copying"
)

// content is what is read of an artefact, counted. It remembers how reading has failed, in the port's errors: whoever hands the
// bytes on loses that. It may be asked while another goroutine reads.
type content struct {
	mu     sync.Mutex
	from   io.Reader
	count  int64
	failed error
}

// Read implements io.Reader.
func (c *content) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return 0, c.failed
	}
	n, err := c.from.Read(p)
	c.count += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed = copying.Translate(err)
		err = c.failed
	}
	return n, err
}

// failure is how reading has failed.
func (c *content) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// tally counts what is handed on.
type tally struct {
	mu    sync.Mutex
	from  io.Reader
	count int64
}

// Read implements io.Reader.
func (t *tally) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, err := t.from.Read(p)
	t.count += int64(n)
	return n, err
}

func (t *tally) sum() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}
