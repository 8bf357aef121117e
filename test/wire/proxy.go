// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// Verdict is what becomes of a message.
type Verdict int

// What can become of a message. After each of the cuts nothing passes any more, on no connection, until Restore.
const (
	// Pass lets it through.
	Pass Verdict = iota
	// CutBefore cuts the wire in its place: libvirtd never sees it.
	CutBefore
	// CutDuring cuts the wire as soon as libvirtd has it: what it asks for is under way. Nobody waits for the answer.
	CutDuring
	// CutAfter lets it through and cuts the wire in place of its answer: what it asks for was done. Parts of a stream have
	// no answer; for them it is CutDuring.
	CutAfter
)

// Proxy is the wire.
type Proxy struct {
	target, dir string
	listener    net.Listener
	judge       func(Message) Verdict

	// judging is held while a message is judged, so that a test sees all messages in one order.
	judging sync.Mutex

	mu     sync.Mutex
	cut    bool
	frozen bool
	thaw   chan struct{}
	conns  []net.Conn
}

// New listens on a socket of its own and connects each client to the socket of libvirtd. judge is told each message of a
// client, one at a time, and decides; nil lets everything pass. Close ends it.
func New(target string, judge func(Message) Verdict) (*Proxy, error) {
	dir, err := os.MkdirTemp("", "lv") // a socket needs a short path
	if err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", filepath.Join(dir, "s"))
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("wire: %w", err)
	}
	if judge == nil {
		judge = func(Message) Verdict { return Pass }
	}
	p := &Proxy{target: target, dir: dir, listener: listener, judge: judge, thaw: make(chan struct{})}
	go p.serve()
	return p, nil
}

// URI is where clients of libvirt connect to.
func (p *Proxy) URI() string { return "qemu+unix:///system?socket=" + p.listener.Addr().String() }

// Close ends all connections and removes the socket.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.Thaw()
	p.Sever()
	_ = os.RemoveAll(p.dir)
}

// Sever cuts all connections and refuses new ones.
func (p *Proxy) Sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// Restore accepts connections again.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

// Severed is whether all connections are cut.
func (p *Proxy) Severed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut
}

// Freeze lets nothing through any more and keeps every connection open, also those that come.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
}

// Thaw lets everything go on.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen {
		close(p.thaw)
		p.thaw = make(chan struct{})
	}
	p.frozen = false
}

func (p *Proxy) waitThawed() {
	p.mu.Lock()
	frozen, thaw := p.frozen, p.thaw
	p.mu.Unlock()
	if frozen {
		<-thaw
	}
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := (&net.Dialer{}).DialContext(context.Background(), "unix", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !p.keep(client, server) {
			_, _ = client.Close(), server.Close()
			continue
		}
		answers := make(chan uint32, 1)
		go p.up(client, server, answers)
		go p.down(server, client, answers)
	}
}

// keep remembers connections, unless the wire is cut.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return false
	}
	p.conns = append(p.conns, conns...)
	return true
}

// up carries what clients send. A message whose answer is not to come back is announced to down before it is sent.
func (p *Proxy) up(from, to net.Conn, answers chan<- uint32) {
	defer func() { _, _ = from.Close(), to.Close() }()
	for {
		bytes, err := readMessage(from)
		if err != nil {
			return
		}
		p.waitThawed()
		m := parse(bytes)
		verdict := p.decide(m)
		if verdict == CutBefore {
			return
		}
		if verdict == CutAfter && m.answered() {
			answers <- m.serial
		}
		if _, err := to.Write(bytes); err != nil {
			return
		}
		if verdict == CutDuring || verdict == CutAfter && !m.answered() {
			p.Sever()
			return
		}
	}
}

// decide asks the judge. Whoever is cut in place of a message sees no later one.
func (p *Proxy) decide(m Message) Verdict {
	p.judging.Lock()
	defer p.judging.Unlock()
	verdict := p.judge(m)
	if verdict == CutBefore {
		p.Sever()
	}
	return verdict
}

// down carries what libvirtd sends.
func (p *Proxy) down(from, to net.Conn, answers <-chan uint32) {
	defer func() { _, _ = from.Close(), to.Close() }()
	doomed, waits := uint32(0), false
	for {
		bytes, err := readMessage(from)
		if err != nil {
			return
		}
		p.waitThawed()
		select {
		case doomed = <-answers:
			waits = true
		default:
		}
		if m := parse(bytes); waits && m.serial == doomed && (m.Kind == Reply || m.Kind == Stream) {
			p.Sever()
			return
		}
		if _, err := to.Write(bytes); err != nil {
			return
		}
	}
}
