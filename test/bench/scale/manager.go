// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"

	"k8s.io/client-go/rest"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/test/bench/scale/usage"
	"github.com/ingot-project/cluster-api-provider-ingot/test/managers"
)

// manager is our manager: beside everything else in this process, or in a process of its own.
type manager interface {
	// used is what it has asked for and taken so far.
	used() (usage.Used, error)
	stop() error
}

// inside is a manager in this process. What it takes is told with all that this process does.
type inside struct {
	meter *usage.Meter
	halt  func() error
}

func startInside(ctx context.Context, config *rest.Config, opener func(context.Context) session.Opener) (*inside, error) {
	m := &inside{meter: usage.Start(ctx)}
	var err error
	m.halt, err = managers.Start(ctx, m.meter.Counted(config), opener)
	return m, err
}

func (m *inside) used() (usage.Used, error) { return m.meter.Used(), nil }

func (m *inside) stop() error { return m.halt() }

// apart is a manager in a process of its own, with the platforms that a release has and nothing of this program.
type apart struct {
	process *child
	answers *json.Decoder
}

// buildManager builds the manager that is started apart.
func buildManager(ctx context.Context, repo, folder string) (program string, err error) {
	program = filepath.Join(folder, "manager")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./test/bench/scale/manager")
	build.Dir = repo
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the manager: %w: %s", err, said)
	}
	return program, nil
}

func startApart(ctx context.Context, program, kubeconfig string) (*apart, error) {
	process, err := spawn(ctx, program, "-kubeconfig", kubeconfig)
	if err != nil {
		return nil, err
	}
	return &apart{process, json.NewDecoder(process.output)}, nil
}

func (m *apart) used() (now usage.Used, err error) {
	if _, err := m.process.input.Write([]byte("\n")); err != nil {
		return now, err
	}
	return now, m.answers.Decode(&now)
}

func (m *apart) stop() error {
	return errors.Join(m.process.input.Close(), m.process.command.Wait())
}
