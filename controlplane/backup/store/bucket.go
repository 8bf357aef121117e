// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

const (
	// partBytes is how much of a file is held in memory to send it, and the size of a file that is sent in parts.
	partBytes = 8 << 20
	// headerBound is how long a server may take to answer a request that it has all of. What a whole transfer may take is
	// its caller's.
	headerBound = time.Minute
)

// bucket keeps objects in a bucket of a cloud, below a prefix.
type bucket struct {
	*blob.Bucket

	// connections are closed with it.
	connections *http.Transport
}

// openBucket opens a bucket without asking anybody.
func openBucket(ctx context.Context, l Location, a address) (objects, error) {
	transport, err := l.transport()
	if err != nil {
		return nil, err
	}
	open := map[string]func(context.Context, Location, address, *http.Transport) (*blob.Bucket, error){
		"s3": openS3, "gs": openGS, "azblob": openAzure,
	}[a.scheme]
	opened, err := open(ctx, l, a, transport)
	if err != nil {
		return nil, err
	}
	if a.prefix != "" {
		opened = blob.PrefixedBucket(opened, a.prefix+"/")
	}
	return bucket{Bucket: opened, connections: transport}, nil
}

// transport trusts the authority that the credentials name, besides the public ones.
func (l Location) transport() (*http.Transport, error) {
	standard, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("this program talks HTTP in a way of its own")
	}
	transport := standard.Clone()
	transport.ResponseHeaderTimeout = headerBound
	if pem := l.Credentials[CACertificate]; len(pem) > 0 {
		roots, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("reading the public certificate authorities: %w", err)
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the credentials' %s holds no certificate in PEM", CACertificate)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return transport, nil
}

func (b bucket) write(ctx context.Context, key string, from io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := b.NewWriter(ctx, key, &blob.WriterOptions{
		BufferSize: partBytes, MaxConcurrency: 1, ContentType: "application/octet-stream", DisableContentTypeDetection: true,
	})
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, from); err != nil {
		cancel() // so that Close throws away what was sent
		_ = w.Close()
		return err
	}
	return w.Close()
}

func (b bucket) read(ctx context.Context, key string) (io.ReadCloser, error) {
	r, err := b.NewReader(ctx, key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (b bucket) list(ctx context.Context, prefix string) ([]object, error) {
	var found []object
	for each := b.List(&blob.ListOptions{Prefix: prefix}); ; {
		o, err := each.Next(ctx)
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		found = append(found, object{key: o.Key, size: o.Size, modified: o.ModTime})
	}
}

func (b bucket) remove(ctx context.Context, key string) error {
	if err := b.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return err
	}
	return nil
}

// Close implements objects.
func (b bucket) Close() error {
	b.connections.CloseIdleConnections()
	return b.Bucket.Close()
}
