// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/rules"
)

// ReadConsole implements platform.ConsoleReader. Older parts of the log, which virtlogd makes when it has grown, are left
// out.
func (s *Session) ReadConsole(ctx context.Context, id platform.Identity, maxBytes int64) ([]byte, error) {
	if err := rules.CheckIdentity(id); err != nil {
		return nil, err
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	v, err := look(ctx, c, id)
	if err != nil {
		return nil, err
	}
	name := namesOf(id).console
	if !v.volumes[name] || maxBytes < 1 {
		return nil, nil
	}
	log, err := c.volume(ctx, id.Storage, name)
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	offset, length := tail(physical(log), uint64(maxBytes))
	if length == 0 { // which libvirt would take for no limit
		return nil, nil
	}
	content, err := s.download(ctx, id.Storage, name, offset, length)
	if errors.Is(err, errNotFound) { // the instance was released meanwhile
		return nil, nil
	}
	return content, err
}

// tail returns where the last bytes of a file are.
func tail(size, most uint64) (offset, length uint64) {
	length = min(size, most)
	return size - length, length
}
