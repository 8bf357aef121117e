// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// openFile opens a file of the host that runs this process.
func openFile(u *url.URL, declared int64) (io.ReadCloser, error) {
	if u.Host != "" && u.Host != "localhost" {
		return nil, fmt.Errorf("%w: a file URL names no other host; write file:///path", ErrFormat)
	}
	info, err := os.Stat(u.Path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSource, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: not a regular file", ErrSource)
	}
	if err := checkSize(info.Size(), declared); err != nil {
		return nil, err
	}
	f, err := os.Open(u.Path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSource, err)
	}
	return f, nil
}

func (o Opener) openHTTP(ctx context.Context, u *url.URL, declared int64, reader *meter) (io.ReadCloser, error) {
	return o.start(ctx, &file{client: &http.Client{Transport: o.transport()}, address: u.String(), declared: declared}, reader)
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
