// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/uuid"
)

// proxy stands between a session and libvirtd and understands just enough of libvirt's protocol to cut the wire at a
// chosen effect, to cut it altogether, and to freeze it.
type proxy struct {
	target   string
	listener net.Listener
	cutAt    int // effect at which the wire is cut; negative means never
	lost     bool

	mu     sync.Mutex
	seen   int
	fired  bool
	cut    bool
	frozen bool
	thaw   chan struct{}
	conns  []net.Conn
	asks   [][]byte // the calls that asked a guest to shut down
}

// Message types of the protocol.
const (
	typeCall   = 0
	typeReply  = 1
	typeStream = 3
	headerLen  = 28

	procShutdown = 258
)

// isEffect tells which procedures change something; the numbers are the protocol's.
func isEffect(procedure uint32) bool {
	switch procedure {
	case 28, 83, 93, 94, 125, 174, 196, 208, 231, 234, procShutdown, 260, 264, 291, 350, 390:
		// resume, pool refresh, volume create, delete, clone, update device, domain create, upload, undefine, destroy,
		// shutdown, resize, set metadata, network update, define, set lifecycle action
		return true
	default:
		return false
	}
}

// newProxy listens on a socket of its own until the test ends.
func newProxy(t *testing.T, target string, cutAt int, lost bool) *proxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "lv")
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: target, listener: l, cutAt: cutAt, lost: lost, thaw: make(chan struct{})}
	t.Cleanup(func() {
		_ = l.Close()
		p.freeze(false)
		p.sever(true)
		_ = os.RemoveAll(dir)
	})
	go p.serve()
	return p
}

func (p *proxy) uri() string { return "qemu+unix:///system?socket=" + p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		cut := p.cut
		p.mu.Unlock()
		if cut {
			_, _ = client.Close(), server.Close()
			continue
		}
		answers := make(chan uint32, 1)
		go p.up(client, server, answers)
		go p.down(server, client, answers)
	}
}

// up carries calls. At the chosen effect it cuts the wire, or passes the message on and lets down cut at its answer.
func (p *proxy) up(from, to net.Conn, answers chan<- uint32) {
	defer func() { _, _ = from.Close(), to.Close() }()
	for {
		message, err := readMessage(from)
		if err != nil {
			return
		}
		p.waitThawed()
		kind, procedure, serial := header(message)
		if kind == typeCall && procedure == procShutdown {
			p.mu.Lock()
			p.asks = append(p.asks, message)
			p.mu.Unlock()
		}
		hit := ((kind == typeCall && isEffect(procedure)) || kind == typeStream) && p.count()
		if hit && !p.lost {
			p.sever(true)
			return
		}
		if hit && kind == typeCall {
			answers <- serial
		}
		if _, err := to.Write(message); err != nil {
			return
		}
		if hit && kind == typeStream {
			p.sever(true)
			return
		}
	}
}

// down carries answers.
func (p *proxy) down(from, to net.Conn, answers <-chan uint32) {
	defer func() { _, _ = from.Close(), to.Close() }()
	var doomed uint32
	for {
		message, err := readMessage(from)
		if err != nil {
			return
		}
		p.waitThawed()
		select {
		case doomed = <-answers:
		default:
		}
		if kind, _, serial := header(message); doomed != 0 && kind == typeReply && serial == doomed {
			p.sever(true)
			return
		}
		if _, err := to.Write(message); err != nil {
			return
		}
	}
}

// count counts an effect and tells whether it is the chosen one.
func (p *proxy) count() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	hit := p.seen == p.cutAt
	p.seen++
	p.fired = p.fired || hit
	return hit
}

// asked counts how often the guest with this uuid was asked to shut down.
func (p *proxy) asked(id uuid.UUID) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, call := range p.asks {
		if bytes.Contains(call, id[:]) {
			n++
		}
	}
	return n
}

func (p *proxy) hasFired() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fired
}

// sever cuts all connections and refuses new ones, or accepts them again.
func (p *proxy) sever(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	if !cut {
		return
	}
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// freeze lets nothing through any more and keeps every connection open.
func (p *proxy) freeze(frozen bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen && !frozen {
		close(p.thaw)
		p.thaw = make(chan struct{})
	}
	p.frozen = frozen
}

func (p *proxy) waitThawed() {
	p.mu.Lock()
	frozen, thaw := p.frozen, p.thaw
	p.mu.Unlock()
	if frozen {
		<-thaw
	}
}

// readMessage reads one message with its length.
func readMessage(from io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, max(binary.BigEndian.Uint32(length[:]), headerLen))
	copy(message, length[:])
	_, err := io.ReadFull(from, message[4:])
	return message, err
}

func header(message []byte) (kind, procedure, serial uint32) {
	return binary.BigEndian.Uint32(message[16:]), binary.BigEndian.Uint32(message[12:]), binary.BigEndian.Uint32(message[20:])
}
