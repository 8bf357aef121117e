// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
)

// wire is the connection under go-libvirt. It tells when it is gone, whoever ended it, and ends when what comes is not
// libvirt's protocol.
type wire struct {
	net.Conn
	frames frames
	lost   chan struct{}
	once   sync.Once
}

func newWire(conn net.Conn) *wire { return &wire{Conn: conn, lost: make(chan struct{})} }

// Read implements net.Conn. Only one goroutine of go-libvirt reads.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if foreign := w.frames.follow(p[:n]); foreign != nil {
		n, err = 0, foreign
		_ = w.Conn.Close()
	}
	if err != nil {
		w.once.Do(func() { close(w.lost) })
	}
	return n, err
}

// frames follows the messages in a stream of bytes and refuses lengths that no message of libvirt has. go-libvirt
// believes every length: a short one would end the whole manager, and a long one take its memory. Any server that
// answers on the port could send one.
type frames struct {
	length [4]byte
	have   int   // how many bytes of the length were seen
	left   int64 // how many bytes of the message are to come
}

func (f *frames) follow(p []byte) error {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, int64(len(p)))
			f.left -= n
			p = p[n:]
			continue
		}
		n := copy(f.length[f.have:], p)
		f.have += n
		p = p[n:]
		if f.have < len(f.length) {
			return nil
		}
		length := binary.BigEndian.Uint32(f.length[:])
		if err := checkLength(length); err != nil {
			return err
		}
		f.have, f.left = 0, int64(length)-int64(len(f.length))
	}
	return nil
}

// checkLength refuses what cannot be the length of a message.
func checkLength(length uint32) error {
	if length < headerBytes || length > maxMessage {
		return fmt.Errorf("the other side does not speak libvirt's protocol: it begins a message of %d bytes", length)
	}
	return nil
}
