// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package managementplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
)

// readyWithin is how long a program may take to be ready. It needs seconds; the rest is for a machine under load.
const readyWithin = 2 * time.Minute

// run starts a program or adopts the one that runs, and returns when it is ready.
func (p *Plane) run(ctx context.Context, prog program) error {
	running, err := process.Find(prog.name, p.layout.pidFile(prog.name), p.layout.log(prog.name))
	if err != nil {
		return err
	}
	if running != nil {
		err := p.awaitReady(ctx, running, prog.ready)
		if err == nil || running.Running() {
			return err
		}
		// It was found while it was ending.
	}
	started, err := p.start(ctx, prog)
	if err != nil {
		return err
	}
	return p.awaitReady(ctx, started, prog.ready)
}

func (p *Plane) start(ctx context.Context, prog program) (*process.Process, error) {
	for _, name := range prog.ports {
		if err := portTaken(ctx, p.ports[name]); err != nil {
			return nil, fmt.Errorf("port %d of 127.0.0.1, which %s keeps, is taken by another process (%w); end that process, "+
				"or remove %s to begin anew with other ports", p.ports[name], prog.name, err, p.layout.dir)
		}
	}
	paths, err := p.builder.Build(ctx, prog.name)
	if err != nil {
		return nil, err
	}
	spec := process.Spec{
		Name: prog.name, Path: paths[prog.name], Args: prog.args,
		Dir: p.layout.dir, Log: p.layout.log(prog.name), PIDFile: p.layout.pidFile(prog.name),
	}
	if p.options.Child {
		return process.StartChild(ctx, spec)
	}
	return process.Start(spec)
}

// awaitReady waits until the program answers 200 at url. An error shows the last lines of its log.
func (p *Plane) awaitReady(ctx context.Context, proc *process.Process, url string) error {
	client, err := p.probeClient()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin, fmt.Errorf("not ready within %s", readyWithin))
	defer cancel()
	last := errors.New("not asked yet")
	err = process.Poll(ctx, func() (bool, error) {
		if !proc.Running() {
			return false, errors.New(proc.Ending())
		}
		last = probe(ctx, client, url)
		return last == nil, nil
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%s: %w: %w; the last lines of its log %s are:\n%s",
			proc.Name, err, last, proc.Log(), process.Tail(proc.Log(), 12))
	}
	return err
}

// probeClient trusts the plane's authority and is its administrator.
func (p *Plane) probeClient() (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(p.layout.pki("admin.crt"), p.layout.pki("admin.key"))
	if err != nil {
		return nil, fmt.Errorf("administrator's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.CABundle)
	return &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair},
		}},
	}, nil
}

func probe(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", url, response.Status, strings.TrimSpace(string(body)))
	}
	return nil
}
