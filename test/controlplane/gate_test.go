// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// gate is a port that leads to another and can be shut. What comes to a shut gate gets no answer at all, as in a network
// that lost its way: connections open, and nothing passes. When it opens again, what hung is closed.
type gate struct {
	listener net.Listener
	// lead returns where a connection leads now, and whose it is then; it may wait.
	lead func(ctx context.Context) (address, to string, err error)
	// passes is whether bytes of a connection from one to another pass. from is who peers of etcd say they are, or empty.
	passes func(from, to string) bool
	// asks is whether the first bytes are read to know who calls.
	asks bool

	mu    sync.Mutex
	pipes map[*pipe]struct{}
	end   context.CancelFunc
}

// pipe is one connection through a gate.
type pipe struct {
	from, to     string
	near, beyond net.Conn
	hung         bool
}

func (p *pipe) close() {
	_ = p.near.Close()
	_ = p.beyond.Close()
}

// open makes the gate at the address.
func (g *gate) open(address string) (err error) {
	if g.listener, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", address); err != nil {
		return err
	}
	var ctx context.Context
	ctx, g.end = context.WithCancel(context.Background())
	g.pipes = map[*pipe]struct{}{}
	go func() {
		for {
			conn, err := g.listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go g.serve(ctx, conn)
			}
		}
	}()
	return nil
}

// close ends the gate and everything that goes through it.
func (g *gate) close() {
	_ = g.listener.Close()
	g.end()
	g.sever(func(*pipe) bool { return true })
}

// sever closes the connections for which it is so.
func (g *gate) sever(which func(*pipe) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p := range g.pipes {
		if which(p) {
			p.close()
		}
	}
}

// sweep closes what hung and may pass again: its bytes are lost.
func (g *gate) sweep() {
	g.sever(func(p *pipe) bool { return p.hung && g.passes(p.from, p.to) })
}

func (g *gate) serve(ctx context.Context, near net.Conn) {
	defer func() { _ = near.Close() }()
	var first []byte
	from := ""
	if g.asks {
		first, from = caller(near)
	}
	address, to, err := g.lead(ctx)
	if err != nil {
		return
	}
	beyond, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	p := &pipe{from: from, to: to, near: near, beyond: beyond}
	g.mu.Lock()
	g.pipes[p] = struct{}{}
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.pipes, p)
		g.mu.Unlock()
	}()
	go func() {
		g.carry(p, near, beyond, nil)
		p.close()
	}()
	g.carry(p, beyond, near, first)
	p.close()
}

// caller reads the beginning of an HTTP request and returns it with the sender that it names.
func caller(conn net.Conn) (first []byte, from string) {
	const header = "X-Server-From: "
	buffer := make([]byte, 4096)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for !bytes.Contains(first, []byte("\r\n\r\n")) && len(first) < 1<<16 {
		n, err := conn.Read(buffer)
		first = append(first, buffer[:n]...)
		if err != nil {
			break
		}
	}
	_ = conn.SetReadDeadline(time.Time{})
	if _, after, has := bytes.Cut(first, []byte(header)); has {
		id, _, _ := bytes.Cut(after, []byte("\r\n"))
		from = string(id)
	}
	return first, from
}

// carry copies bytes as long as they pass. Those that do not are lost, and with them the connection.
func (g *gate) carry(p *pipe, to io.Writer, from io.Reader, first []byte) {
	buffer := make([]byte, 32<<10)
	n := copy(buffer, first)
	if len(first) > len(buffer) {
		buffer, n = first, len(first)
	}
	for {
		if n > 0 {
			g.mu.Lock()
			p.hung = p.hung || !g.passes(p.from, p.to)
			hung := p.hung
			g.mu.Unlock()
			if !hung {
				if _, err := to.Write(buffer[:n]); err != nil {
					return
				}
			}
		}
		var err error
		if n, err = from.Read(buffer); err != nil {
			return
		}
	}
}
