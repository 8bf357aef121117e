// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// openFile opens a file of the host that runs this process.
func openFile(u *url.URL) (io.ReadCloser, int64, error) {
	if u.Host != "" && u.Host != "localhost" {
		return nil, 0, fmt.Errorf("%w: a file URL names no other host; write file:///path", ErrFormat)
	}
	info, err := os.Stat(u.Path)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrSource, err)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%w: not a regular file", ErrSource)
	}
	f, err := os.Open(u.Path)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrSource, err)
	}
	return f, info.Size(), nil
}

func (o Opener) openHTTP(ctx context.Context, u *url.URL) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrFormat, withoutURL(err))
	}
	// The digest is over the bytes as published: no encoding on the way.
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := (&http.Client{Transport: o.transport()}).Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrSource, withoutURL(err))
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, 0, fmt.Errorf("%w: the server answered %s", ErrSource, resp.Status)
	}
	return resp.Body, resp.ContentLength, nil
}

// openOCI opens the layer of an OCI image or artefact whose digest is the declared one.
func (o Opener) openOCI(ctx context.Context, u *url.URL, digest string) (io.ReadCloser, int64, error) {
	ref, err := name.ParseReference(strings.TrimPrefix(u.String(), "oci://"), name.StrictValidation)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: write oci://registry/repository:tag or @sha256:digest", ErrFormat)
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(o.transport())}
	image, err := remote.Image(ref, options...)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrSource, withoutURL(err))
	}
	manifest, err := image.Manifest()
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrSource, withoutURL(err))
	}
	for _, l := range manifest.Layers {
		if l.Digest.Algorithm == "sha256" && l.Digest.Hex == digest {
			return openLayer(ref, l, options)
		}
	}
	return nil, 0, fmt.Errorf("%w: none of its %d layers has the declared digest sha256:%s", ErrMismatch, len(manifest.Layers), digest)
}

func openLayer(ref name.Reference, layer v1.Descriptor, options []remote.Option) (io.ReadCloser, int64, error) {
	l, err := remote.Layer(ref.Context().Digest(layer.Digest.String()), options...)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrSource, withoutURL(err))
	}
	body, err := l.Compressed()
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrSource, withoutURL(err))
	}
	return body, layer.Size, nil
}

// transport bounds everything but the duration of a download, which only a stall ends.
func (o Opener) transport() http.RoundTripper {
	if o.HTTP != nil {
		return o.HTTP
	}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   30 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		DisableKeepAlives:     true,
		ForceAttemptHTTP2:     true,
	}
}

// withoutURL takes the URL out of an error of net/http: it may hold secrets, and the caller names it anyway.
func withoutURL(err error) error {
	if located, ok := errors.AsType[*url.Error](err); ok {
		return located.Err
	}
	return err
}
