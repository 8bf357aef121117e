// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/test/managers"
)

// manager is our manager: beside everything else in this process, or in a process of its own.
type manager interface {
	// used is what it has asked for and taken so far.
	used() (used, error)
	stop() error
}

// used is what a manager has asked for and taken so far.
type used struct {
	Requests              map[string]int
	LastWrite             time.Time
	CPU                   time.Duration
	MemoryNow, MemoryPeak int // MiB
}

// inside is a manager in this process. What it takes is told with all that this process does.
type inside struct {
	requests requests
	halt     func() error
}

func startInside(ctx context.Context, config *rest.Config, opener func(context.Context) session.Opener) (*inside, error) {
	m := &inside{}
	var err error
	m.halt, err = managers.Start(ctx, m.requests.counted(config), opener)
	return m, err
}

func (m *inside) used() (used, error) {
	now, peak := memory()
	return used{Requests: m.requests.snapshot(), LastWrite: m.requests.lastWrite(), CPU: cpu(), MemoryNow: now, MemoryPeak: peak}, nil
}

func (m *inside) stop() error { return m.halt() }

// apart is a manager in a process of its own, with the platforms that a release has.
type apart struct {
	process *child
	answers *json.Decoder
}

func startApart(ctx context.Context, kubeconfig string) (*apart, error) {
	process, err := spawn(ctx, "-manager", kubeconfig)
	if err != nil {
		return nil, err
	}
	return &apart{process, json.NewDecoder(process.output)}, nil
}

func (m *apart) used() (now used, err error) {
	if _, err := m.process.input.Write([]byte("\n")); err != nil {
		return now, err
	}
	return now, m.answers.Decode(&now)
}

func (m *apart) stop() error {
	return errors.Join(m.process.input.Close(), m.process.command.Wait())
}

// serveManager is the process of a manager. It says what it has used for every line that it is given, and ends with its input.
func serveManager(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	m, err := startInside(ctx, config, func(ctx context.Context) session.Opener { return registry.Opener(ctx, logr.Discard()) })
	if err != nil {
		return err
	}
	answers := json.NewEncoder(os.Stdout)
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		now, err := m.used()
		if err = errors.Join(err, answers.Encode(now)); err != nil {
			return errors.Join(err, m.stop())
		}
	}
	return m.stop()
}
