// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/digitalocean/go-libvirt"
	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// go-libvirt cannot be trusted with streams: when libvirtd refuses data or the connection is lost after the last byte was
// sent, its call never returns, not even when the connection is closed (its sender and its receiver wait for each
// other), and holds its buffers for ever; and a slow reader of a stream stops every other call. The files
// client_stream.go, client_upload.go and client_download.go speak the few messages of libvirt's remote protocol that
// streams need, one stream at a time, over a connection of its own.

// The parts of the remote protocol that are used here. The numbers are the protocol's and never change.
const (
	remoteProgram = 0x20008086
	remoteVersion = 1

	procConnectOpen = 1
	procAuthList    = 66
	procAuthPolkit  = 70
	procVolUpload   = 208
	procVolDownload = 209

	typeCall   = 0
	typeReply  = 1
	typeStream = 3

	statusOK       = 0
	statusError    = 1
	statusContinue = 2

	authPolkit = 2

	headerBytes = 28
	// packetBytes is the largest payload that every version of libvirtd takes.
	packetBytes = 262120
	// maxMessage is the longest message that libvirtd sends, its length included.
	maxMessage = 32<<20 + 4
	// maxEarly is how many parts of a stream may come before the answer to the call that began it. libvirtd has one under
	// way at a time.
	maxEarly = 8
)

// packetBound is how long libvirtd may take for one packet: to accept it, or to answer.
const packetBound = 2 * time.Minute

// stream is a connection that carries one stream. Its guard closes the connection when libvirtd keeps it waiting.
type stream struct {
	conn    net.Conn
	serial  uint32
	guard   clock.Timer
	stalled atomic.Bool
	// early are parts of the stream that came before the answer to the call that began it.
	early []message
}

// message is a message without its length.
type message struct {
	procedure, kind, serial, status uint32
	payload                         []byte
}

// withStream opens a connection for one stream and runs fn on it. An error that fn marks as contentError is returned as it
// is.
func withStream(ctx context.Context, d dialer, clk clock.WithDelayedExecution, what string, fn func(*stream) error) error {
	conn, err := dialWithin(ctx, d)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer func() { _ = conn.Close() }()
	s := &stream{conn: conn}
	s.guard = clk.AfterFunc(packetBound, func() {
		s.stalled.Store(true)
		_ = conn.Close()
	})
	defer s.guard.Stop()
	err = during(ctx, conn, func() error {
		if err := s.open(); err != nil {
			return err
		}
		return fn(s)
	})
	var own contentError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return own.error
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w: %w", what, platform.ErrNoAnswer, ctx.Err())
	case s.stalled.Load() && !isAnswer(err):
		return fmt.Errorf("%s: %w: libvirtd has stopped answering", what, platform.ErrNoAnswer)
	default:
		return fmt.Errorf("%s: %w", what, classify(err))
	}
}

// contentError marks an error of the content, which is not libvirt's.
type contentError struct{ error }

// open introduces the connection to the daemon.
func (s *stream) open() error {
	auth, err := s.call(procAuthList, nil)
	if err != nil {
		return err
	}
	if len(auth) >= 8 && binary.BigEndian.Uint32(auth[4:]) == authPolkit {
		if _, err := s.call(procAuthPolkit, nil); err != nil {
			return err
		}
	}
	var args xdr
	args.uint32(1)
	args.string(systemInstance)
	args.uint32(0)
	_, err = s.call(procConnectOpen, args)
	return err
}

// volumeRange are the arguments of an upload and a download. A length of 0 means no limit.
func volumeRange(pool, volume string, offset, length uint64) xdr {
	var args xdr
	args.string(pool)
	args.string(volume)
	args.string("") // the key, which libvirtd does not read
	args.uint64(offset)
	args.uint64(length)
	args.uint32(0)
	return args
}

// call makes one call and returns the payload of its answer.
func (s *stream) call(procedure uint32, args []byte) ([]byte, error) {
	s.serial++
	if err := s.write(message{procedure: procedure, kind: typeCall, payload: args}); err != nil {
		return nil, err
	}
	s.guard.Reset(packetBound)
	defer s.guard.Stop()
	for {
		m, err := readMessage(s.conn)
		switch {
		case err != nil:
			return nil, err
		case m.serial != s.serial:
		case m.kind == typeStream && len(s.early) == maxEarly:
			return nil, errors.New("libvirtd sends a stream without an answer")
		case m.kind == typeStream:
			s.early = append(s.early, m)
		case m.kind == typeReply && m.status != statusOK:
			return nil, decodeError(m.payload)
		case m.kind == typeReply:
			return m.payload, nil
		}
	}
}

// next returns the next part of what libvirtd sends over the stream; done tells that it was the last word. A part may be
// empty: then there is no more to come.
func (s *stream) next() (part []byte, done bool, err error) {
	for {
		m, err := s.read()
		if err != nil {
			return nil, false, err
		}
		if m.serial != s.serial || m.kind != typeStream && m.kind != typeReply {
			continue
		}
		switch m.status {
		case statusError:
			return nil, false, decodeError(m.payload)
		case statusOK:
			return nil, true, nil
		case statusContinue:
			return m.payload, len(m.payload) == 0, nil
		}
	}
}

func (s *stream) read() (message, error) {
	if len(s.early) == 0 {
		return readMessage(s.conn)
	}
	m := s.early[0]
	s.early = s.early[1:]
	return m, nil
}

func (s *stream) write(m message) error {
	var out xdr
	out.uint32(uint32(headerBytes + len(m.payload)))
	for _, field := range []uint32{remoteProgram, remoteVersion, m.procedure, m.kind, s.serial, m.status} {
		out.uint32(field)
	}
	out = append(out, m.payload...)
	s.guard.Reset(packetBound)
	defer s.guard.Stop()
	_, err := s.conn.Write(out)
	return err
}

// readMessage reads one message. Its payload grows with what really comes, whatever length it claims to have.
func readMessage(from io.Reader) (message, error) {
	var head [headerBytes]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return message{}, err
	}
	field := func(i int) uint32 { return binary.BigEndian.Uint32(head[4*i:]) }
	if err := checkLength(field(0)); err != nil {
		return message{}, err
	}
	m := message{procedure: field(3), kind: field(4), serial: field(5), status: field(6)}
	size := int64(field(0)) - headerBytes
	var err error
	m.payload, err = io.ReadAll(io.LimitReader(from, size))
	if err == nil && int64(len(m.payload)) < size {
		err = io.ErrUnexpectedEOF
	}
	return m, err
}

// decodeError reads the start of a remote_error: code, domain, and an optional message.
func decodeError(payload []byte) error {
	if len(payload) < 16 || binary.BigEndian.Uint32(payload[8:]) == 0 {
		return libvirt.Error{Message: "unknown error"}
	}
	text := payload[16:]
	if n := binary.BigEndian.Uint32(payload[12:]); uint64(n) < uint64(len(text)) {
		text = text[:n]
	}
	return libvirt.Error{Code: binary.BigEndian.Uint32(payload), Message: string(text)}
}

// xdr encodes values as RFC 4506 does.
type xdr []byte

func (x *xdr) uint32(v uint32) { *x = binary.BigEndian.AppendUint32(*x, v) }

func (x *xdr) uint64(v uint64) { *x = binary.BigEndian.AppendUint64(*x, v) }

func (x *xdr) string(s string) {
	x.uint32(uint32(len(s)))
	*x = append(*x, s...)
	*x = append(*x, make([]byte, (4-len(s)%4)%4)...)
}
