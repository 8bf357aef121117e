// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// clientPort is where kubeadm has members listen for clients.
const clientPort = "2379"

// PortForward reaches members that run as static Pods, as kubeadm makes them, through the API server of their cluster. The
// kubelet of the member's node carries the bytes, so a member whose kubelet is dead is not reached.
func PortForward(config *rest.Config) (Dial, error) {
	config = rest.CopyConfig(config)
	config.Timeout = 0 // connections last longer than requests
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for port forwarding: %w", err)
	}
	return func(ctx context.Context, node string) (net.Conn, error) {
		pod := clients.CoreV1().RESTClient().Post().Resource("pods").Namespace(metav1.NamespaceSystem).Name("etcd-" + node).SubResource("portforward")
		overWebsocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(pod.URL(), config)
		if err != nil {
			return nil, err
		}
		transport, upgrader, err := spdy.RoundTripperFor(config)
		if err != nil {
			return nil, err
		}
		overSPDY := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, pod.URL())
		dialer := portforward.NewFallbackDialerForStreaming(overWebsocket, overSPDY, func(err error) bool {
			return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
		})
		return dialWithin(ctx, dialer)
	}, nil
}

// dialWithin dials and returns when the context ends at the latest. What comes later is closed.
func dialWithin(ctx context.Context, dialer httpstream.Dialer) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		conn, err := forward(dialer)
		done <- result{conn, err}
		if ctx.Err() != nil && err == nil {
			_ = conn.Close()
		}
	}()
	select {
	case r := <-done:
		return r.conn, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// forward opens the two streams of a forwarded connection: data, and what the kubelet says when it fails.
func forward(dialer httpstream.Dialer) (net.Conn, error) {
	connection, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	headers := http.Header{}
	headers.Set(corev1.PortHeader, clientPort)
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	failures, err := connection.CreateStream(headers)
	if err != nil {
		return nil, errors.Join(err, connection.Close())
	}
	_ = failures.Close() // for writing
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := connection.CreateStream(headers)
	if err != nil {
		return nil, errors.Join(err, connection.Close())
	}
	c := &forwarded{Stream: data, connection: connection}
	go c.listen(failures)
	return c, nil
}

// forwarded is a connection through an API server.
type forwarded struct {
	httpstream.Stream

	connection httpstream.Connection
	once       sync.Once
}

// listen ends the connection when the kubelet says that it failed.
func (c *forwarded) listen(failures io.Reader) {
	if said, err := io.ReadAll(failures); err != nil || len(said) > 0 {
		_ = c.Close()
	}
}

// Close implements net.Conn.
func (c *forwarded) Close() (err error) {
	c.once.Do(func() { err = errors.Join(c.Stream.Reset(), c.connection.Close()) })
	return err
}

// LocalAddr implements net.Conn.
func (*forwarded) LocalAddr() net.Addr { return forwardedAddr{} }

// RemoteAddr implements net.Conn.
func (*forwarded) RemoteAddr() net.Addr { return forwardedAddr{} }

// SetDeadline implements net.Conn. Streams have no deadlines: whoever uses the connection closes it in time.
func (*forwarded) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (*forwarded) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (*forwarded) SetWriteDeadline(time.Time) error { return nil }

type forwardedAddr struct{}

func (forwardedAddr) Network() string { return "portforward" }

func (forwardedAddr) String() string { return "etcd:" + clientPort }
