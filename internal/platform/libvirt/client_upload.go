// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
	"io"
	"time"
)

// upload writes everything that content yields into a volume, and returns when libvirtd has taken all of it. When
// content fails, its error is returned as it is.
func (s *Session) upload(ctx context.Context, pool, volume string, content io.Reader) (err error) {
	defer s.meter.begin("upload volume")(&err)
	return withStream(ctx, s.dialer, s.config.Clock, "upload volume "+volume, func(st *stream) error {
		return st.send(pool, volume, content)
	})
}

// send streams the content. A refusal of libvirtd ends it between two packets.
func (s *stream) send(pool, volume string, content io.Reader) error {
	if _, err := s.call(procVolUpload, volumeRange(pool, volume, 0, 0)); err != nil {
		return err
	}
	verdict := make(chan error, 1)
	go func() { verdict <- s.verdict() }()
	buffer := make([]byte, packetBytes)
	for {
		n, err := io.ReadFull(content, buffer)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return contentError{err}
		}
		select {
		case refusal := <-verdict:
			if refusal == nil {
				refusal = errors.New("libvirtd ended the upload early")
			}
			return refusal
		default:
		}
		if n > 0 {
			if err := s.write(message{procedure: procVolUpload, kind: typeStream, status: statusContinue, payload: buffer[:n]}); err != nil {
				return s.reason(verdict, err)
			}
		}
		if err != nil {
			break
		}
	}
	if err := s.write(message{procedure: procVolUpload, kind: typeStream, status: statusOK}); err != nil {
		return s.reason(verdict, err)
	}
	s.guard.Reset(packetBound)
	return <-verdict
}

// reason prefers what libvirtd said over the failure to write to it.
func (s *stream) reason(verdict <-chan error, failure error) error {
	s.guard.Reset(time.Second)
	if said := <-verdict; isAnswer(said) {
		return said
	}
	return failure
}

// verdict waits for libvirtd's last word on the stream: nil when it has taken everything.
func (s *stream) verdict() error {
	for {
		if _, done, err := s.next(); done || err != nil {
			return err
		}
	}
}
