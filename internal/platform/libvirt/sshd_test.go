// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshd is an SSH server that does nothing but forward connections to one Unix socket, as OpenSSH does for libvirt.
type sshd struct {
	listener net.Listener
	config   *ssh.ServerConfig
	socket   string
	hostKey  ssh.PublicKey
	// forwarded is how many connections were forwarded, open is how many clients there are now.
	forwarded, open atomic.Int32
}

// sshUser is whom the server lets in.
const sshUser = "ingot"

// newSSHD serves until the test ends, whoever has the key.
func newSSHD(t *testing.T, socket string, allowed ssh.PublicKey) *sshd {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &sshd{listener: l, socket: socket}
	s.config = &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if c.User() != sshUser || !bytes.Equal(key.Marshal(), allowed.Marshal()) {
			return nil, errors.New("not you")
		}
		return &ssh.Permissions{}, nil
	}}
	// A host has several kinds of keys; the file of known hosts has one.
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, short, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []any{short, strong} {
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			t.Fatal(err)
		}
		s.config.AddHostKey(signer)
		s.hostKey = signer.PublicKey()
	}
	go s.serve()
	return s
}

func (s *sshd) serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		go s.serveConn(conn)
	}
}

func (s *sshd) serveConn(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	s.open.Add(1)
	defer s.open.Add(-1)
	go ssh.DiscardRequests(requests)
	for c := range channels {
		var to struct {
			Socket   string
			Reserved string
			Zero     uint32
		}
		if c.ChannelType() != "direct-streamlocal@openssh.com" || ssh.Unmarshal(c.ExtraData(), &to) != nil || to.Socket != s.socket {
			_ = c.Reject(ssh.ConnectionFailed, "no")
			continue
		}
		go s.forward(c)
	}
}

func (s *sshd) forward(c ssh.NewChannel) {
	server, err := net.Dial("unix", s.socket)
	if err != nil {
		_ = c.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	client, requests, err := c.Accept()
	if err != nil {
		_ = server.Close()
		return
	}
	s.forwarded.Add(1)
	go ssh.DiscardRequests(requests)
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
	_, _ = client.Close(), server.Close()
}

func (s *sshd) uri() string {
	return "qemu+libssh://" + sshUser + "@" + s.listener.Addr().String() + "/system?socket=" + s.socket
}

// knownHosts is the file of known hosts with the server in it.
func (s *sshd) knownHosts() []byte { return knownHosts(s.listener.Addr().String(), s.hostKey) }

func knownHosts(address string, key ssh.PublicKey) []byte {
	return []byte("# by ssh-keyscan\n" + knownhosts.Line([]string{address}, key) + "\n")
}

// newSSHKey returns a key in the format of OpenSSH.
func newSSHKey(t *testing.T) (private []byte, public ssh.PublicKey) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf(block), signer.PublicKey()
}

func pemOf(block *pem.Block) []byte { return pem.EncodeToMemory(block) }
