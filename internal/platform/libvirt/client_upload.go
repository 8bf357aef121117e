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

// go-libvirt cannot be trusted with uploads: when libvirtd refuses data or the connection is lost after the last byte was
// sent, its call never returns, not even when the connection is closed (its sender and its receiver wait for each
// other), and holds its buffers for ever. This file speaks the few messages of libvirt's remote protocol that an upload
// needs, one at a time, over a connection of its own.

// The parts of the remote protocol that are used here. The numbers are the protocol's and never change.
const (
	remoteProgram = 0x20008086
	remoteVersion = 1

	procConnectOpen = 1
	procAuthList    = 66
	procAuthPolkit  = 70
	procVolUpload   = 208

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
	// maxMessage is the longest message that libvirtd sends.
	maxMessage = 32 << 20
)

// packetBound is how long libvirtd may take for one packet: to accept it, or to answer.
const packetBound = 2 * time.Minute

// uploader is a connection that carries one upload. Its guard closes the connection when libvirtd keeps it waiting.
type uploader struct {
	conn    net.Conn
	serial  uint32
	guard   clock.Timer
	stalled atomic.Bool
}

// message is a message without its length.
type message struct {
	procedure, kind, serial, status uint32
	payload                         []byte
}

// upload writes everything that content yields into a volume, and returns when libvirtd has taken all of it. When
// content fails, its error is returned as it is.
func upload(ctx context.Context, clk clock.WithDelayedExecution, socket, pool, volume string, content io.Reader) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("%w: %w", platform.ErrUnreachable, err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer func() { _ = conn.Close() }()
	u := &uploader{conn: conn}
	u.guard = clk.AfterFunc(packetBound, func() {
		u.stalled.Store(true)
		_ = conn.Close()
	})
	defer u.guard.Stop()
	err = u.open()
	if err == nil {
		err = u.send(pool, volume, content)
	}
	var own contentError
	switch {
	case errors.As(err, &own):
		return own.error
	case ctx.Err() != nil:
		return fmt.Errorf("upload volume %s: %w: %w", volume, platform.ErrUnreachable, ctx.Err())
	case u.stalled.Load() && !isAnswer(err):
		return fmt.Errorf("upload volume %s: %w: libvirtd has stopped answering", volume, platform.ErrUnreachable)
	default:
		return classify("upload volume "+volume, err)
	}
}

// contentError marks an error of the content, which is not libvirt's.
type contentError struct{ error }

// open introduces the connection to the daemon.
func (u *uploader) open() error {
	auth, err := u.call(procAuthList, nil)
	if err != nil {
		return err
	}
	if len(auth) >= 8 && binary.BigEndian.Uint32(auth[4:]) == authPolkit {
		if _, err := u.call(procAuthPolkit, nil); err != nil {
			return err
		}
	}
	var args xdr
	args.uint32(1)
	args.string(systemInstance)
	args.uint32(0)
	_, err = u.call(procConnectOpen, args)
	return err
}

// send streams the content. A refusal of libvirtd ends it between two packets.
func (u *uploader) send(pool, volume string, content io.Reader) error {
	var args xdr
	args.string(pool)
	args.string(volume)
	args.string("") // the key, which libvirtd does not read
	args.uint64(0)  // offset
	args.uint64(0)  // no limit
	args.uint32(0)
	if _, err := u.call(procVolUpload, args); err != nil {
		return err
	}
	verdict := make(chan error, 1)
	go func() { verdict <- u.verdict() }()
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
			if err := u.write(message{procedure: procVolUpload, kind: typeStream, status: statusContinue, payload: buffer[:n]}); err != nil {
				return u.reason(verdict, err)
			}
		}
		if err != nil {
			break
		}
	}
	if err := u.write(message{procedure: procVolUpload, kind: typeStream, status: statusOK}); err != nil {
		return u.reason(verdict, err)
	}
	u.guard.Reset(packetBound)
	return <-verdict
}

// reason prefers what libvirtd said over the failure to write to it.
func (u *uploader) reason(verdict <-chan error, failure error) error {
	u.guard.Reset(time.Second)
	if said := <-verdict; isAnswer(said) {
		return said
	}
	return failure
}

// verdict waits for libvirtd's last word on the stream: nil when it has taken everything.
func (u *uploader) verdict() error {
	for {
		m, err := u.read()
		if err != nil {
			return err
		}
		if m.serial != u.serial || m.kind != typeStream && m.kind != typeReply {
			continue
		}
		switch m.status {
		case statusError:
			return decodeError(m.payload)
		case statusOK:
			return nil
		case statusContinue:
			if len(m.payload) == 0 {
				return nil
			}
		}
	}
}

// call makes one call and returns the payload of its answer.
func (u *uploader) call(procedure uint32, args []byte) ([]byte, error) {
	u.serial++
	if err := u.write(message{procedure: procedure, kind: typeCall, payload: args}); err != nil {
		return nil, err
	}
	u.guard.Reset(packetBound)
	defer u.guard.Stop()
	for {
		m, err := u.read()
		switch {
		case err != nil:
			return nil, err
		case m.serial != u.serial || m.kind != typeReply:
			continue
		case m.status != statusOK:
			return nil, decodeError(m.payload)
		}
		return m.payload, nil
	}
}

func (u *uploader) write(m message) error {
	var out xdr
	out.uint32(uint32(4 + 24 + len(m.payload)))
	for _, field := range []uint32{remoteProgram, remoteVersion, m.procedure, m.kind, u.serial, m.status} {
		out.uint32(field)
	}
	out = append(out, m.payload...)
	u.guard.Reset(packetBound)
	defer u.guard.Stop()
	_, err := u.conn.Write(out)
	return err
}

func (u *uploader) read() (message, error) {
	var head [headerBytes]byte
	if _, err := io.ReadFull(u.conn, head[:]); err != nil {
		return message{}, err
	}
	field := func(i int) uint32 { return binary.BigEndian.Uint32(head[4*i:]) }
	length := field(0)
	if length < headerBytes || length > maxMessage {
		return message{}, fmt.Errorf("a message of %d bytes is no libvirt message", length)
	}
	m := message{procedure: field(3), kind: field(4), serial: field(5), status: field(6), payload: make([]byte, length-headerBytes)}
	_, err := io.ReadFull(u.conn, m.payload)
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
