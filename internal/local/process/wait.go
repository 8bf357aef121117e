// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Poll calls done at once and then every 20 ms until it says so or fails. When ctx ends first, the error is its cause.
// It is for what a machine cannot announce: that a foreign process has ended, that a port answers.
func Poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// Lock takes the exclusive lock on the file path, which it makes if needed, and waits for it as long as ctx lives;
// waiting, which may be nil, is called once if it has to wait. The kernel drops the lock when its holder dies, so
// whoever is killed never blocks the next one. It holds between processes and between callers in one process.
func Lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
	}
	err = Poll(ctx, func() (bool, error) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err == nil, err
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		return false, nil
	})
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}
