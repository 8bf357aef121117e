// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// The keys of the Secret for TLS.
const (
	keyCA          = "ca.crt"
	keyCertificate = "tls.crt"
	keyPrivate     = "tls.key"
)

// tlsDialer reaches libvirtd over the network. Both sides show a certificate.
type tlsDialer struct {
	tcp    tcpDialer
	config *tls.Config
}

func newTLSDialer(u *url.URL, credentials map[string][]byte) (dialer, error) {
	ca, err := credential(credentials, keyCA, "the certificate of the authority that signed the host's certificate")
	if err != nil {
		return nil, err
	}
	certificate, err := credential(credentials, keyCertificate, "the client certificate")
	if err != nil {
		return nil, err
	}
	private, err := credential(credentials, keyPrivate, "the private key of the client certificate")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%w: key %s of the Secret of spec.credentialsRef holds no certificate in PEM format", platform.ErrInvalid, keyCA)
	}
	pair, err := tls.X509KeyPair(certificate, private)
	if err != nil { // the error could show what stands in the wrong place
		return nil, fmt.Errorf("%w: keys %s and %s of the Secret of spec.credentialsRef are no certificate with its private key in PEM format",
			platform.ErrInvalid, keyCertificate, keyPrivate)
	}
	return tlsDialer{
		tcp: tcpDialer{address: address(u, tlsPort)},
		config: &tls.Config{
			ServerName: u.Hostname(), RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12,
		},
	}, nil
}

func (d tlsDialer) dial(ctx context.Context) (net.Conn, error) {
	plain, err := d.tcp.dial(ctx)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, d.config)
	if err := d.greet(ctx, conn); err != nil {
		_ = plain.Close() // not conn, which would wait to say goodbye
		return nil, err
	}
	return conn, nil
}

// greet shakes hands and waits for the one byte by which libvirtd says that it takes our certificate. It judges that
// only after the handshake; when it does not like it, it hangs up.
func (d tlsDialer) greet(ctx context.Context, conn *tls.Conn) error {
	err := conn.HandshakeContext(ctx)
	var refused *tls.CertificateVerificationError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("the certificate of the host is not accepted; it must be valid, name %s and be signed by the authority in key %s "+
			"of the Secret: %w", d.config.ServerName, keyCA, refused.Err)
	case err != nil:
		return fmt.Errorf("TLS handshake: %w", err)
	}
	verdict := make([]byte, 1)
	err = during(ctx, conn.NetConn(), func() error {
		_, err := io.ReadFull(conn, verdict)
		return err
	})
	if err != nil {
		return fmt.Errorf("the host does not accept the client certificate in key %s of the Secret, or serves no client at this address: %w",
			keyCertificate, err)
	}
	if verdict[0] != 1 {
		return errors.New("what answers there is no libvirtd")
	}
	return nil
}
