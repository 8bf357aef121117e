// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
)

// download reads at most length bytes of a volume from an offset on. libvirtd pushes what it reads, and hanging up is how
// one ends that.
func (s *Session) download(ctx context.Context, pool, volume string, offset, length uint64) (content []byte, err error) {
	defer s.meter.begin("download volume")(&err)
	err = withStream(ctx, s.dialer, s.config.Clock, "download volume "+volume, func(st *stream) error {
		if _, err := st.call(procVolDownload, volumeRange(pool, volume, offset, length)); err != nil {
			return err
		}
		for uint64(len(content)) < length {
			st.guard.Reset(packetBound)
			part, done, err := st.next()
			if err != nil {
				return err
			}
			if uint64(len(part)) > length-uint64(len(content)) {
				return errors.New("libvirtd sends more than it was asked for")
			}
			content = append(content, part...)
			if done {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return content, nil
}
