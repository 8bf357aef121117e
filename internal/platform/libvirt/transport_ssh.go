// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"golang.org/x/crypto/ssh"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// The keys of the Secret for SSH.
const (
	keySSH        = "ssh-privatekey"
	keyKnownHosts = "known_hosts"
)

// sshDialer reaches the socket of libvirtd through sshd, which forwards to it (direct-streamlocal@openssh.com).
type sshDialer struct {
	tcp    tcpDialer
	config *ssh.ClientConfig
	socket string
}

func newSSHDialer(u *url.URL, socket string, credentials map[string][]byte) (dialer, error) {
	private, err := credential(credentials, keySSH, "the private key that the host lets in")
	if err != nil {
		return nil, err
	}
	known, err := credential(credentials, keyKnownHosts, "the host's keys, as ssh-keyscan prints them")
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(private)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return nil, fmt.Errorf("%w: key %s of the Secret of spec.credentialsRef is protected by a passphrase: use a key without one",
			platform.ErrInvalid, keySSH)
	case err != nil: // the error could show what stands there
		return nil, fmt.Errorf("%w: key %s of the Secret of spec.credentialsRef is no private key in OpenSSH or PEM format", platform.ErrInvalid, keySSH)
	}
	at := address(u, sshPort)
	keys, err := readKnownHosts(known, at)
	if err != nil {
		return nil, err
	}
	return sshDialer{
		tcp:    tcpDialer{address: at},
		socket: socket,
		config: &ssh.ClientConfig{
			User:              u.User.Username(),
			Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
			HostKeyCallback:   keys.check,
			HostKeyAlgorithms: keys.algorithms(),
		},
	}, nil
}

func (d sshDialer) dial(ctx context.Context) (net.Conn, error) {
	plain, err := d.tcp.dial(ctx)
	if err != nil {
		return nil, err
	}
	var conn sshConn
	err = during(ctx, plain, func() error {
		transport, channels, requests, err := ssh.NewClientConn(plain, d.tcp.address, d.config)
		if err != nil {
			return fmt.Errorf("as user %s with key %s of the Secret: %w", d.config.User, keySSH, err)
		}
		conn.client = ssh.NewClient(transport, channels, requests)
		if conn.Conn, err = conn.client.Dial("unix", d.socket); err != nil {
			return fmt.Errorf("the host does not let user %s use socket %s (is libvirtd running, and AllowStreamLocalForwarding on?): %w",
				d.config.User, d.socket, err)
		}
		return nil
	})
	if err != nil {
		_ = plain.Close()
		return nil, err
	}
	return conn, nil
}

// sshConn is a forwarded connection that has an SSH connection of its own.
type sshConn struct {
	net.Conn
	client *ssh.Client
}

// Close implements net.Conn. The connection below goes with it: nothing else uses it.
func (c sshConn) Close() error { return c.client.Close() }
