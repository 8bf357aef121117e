// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package managementplane

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
)

// layout is where everything of one plane is.
type layout struct{ dir string }

func newLayout(stateDir string) (layout, error) {
	dir, err := filepath.Abs(stateDir)
	if err != nil || stateDir == "" {
		return layout{}, fmt.Errorf("state directory %q is no usable path: %w", stateDir, err)
	}
	return layout{dir: dir}, nil
}

func (l layout) pki(elem ...string) string {
	return filepath.Join(append([]string{l.dir, "pki"}, elem...)...)
}
func (l layout) data() string               { return filepath.Join(l.dir, "etcd") }
func (l layout) log(program string) string  { return filepath.Join(l.dir, program+".log") }
func (l layout) portsFile() string          { return filepath.Join(l.dir, "ports.json") }
func (l layout) pidFile(prog string) string { return filepath.Join(l.dir, prog+".pid") }

func (l layout) kubeconfigFile() string { return filepath.Join(l.dir, "kubeconfig") }
func (l layout) lockFile() string       { return filepath.Join(l.dir, "lock") }

// forget removes everything that this package put into the state directory, and the directory if it is empty then.
func (l layout) forget() error {
	paths := []string{l.data(), l.pki(), scratchOf(l.pki()), l.lockFile()}
	for _, file := range []string{l.kubeconfigFile(), l.portsFile()} {
		paths = append(paths, file, scratchOf(file))
	}
	for _, name := range programs() {
		paths = append(paths, l.log(name), l.pidFile(name))
	}
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	_ = os.Remove(l.dir) // fails when someone else keeps something in it, which then is theirs
	return nil
}

// lock makes sure that one caller at a time starts or stops processes.
func (l layout) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return process.Lock(ctx, l.lockFile(), nil)
}

// keepPorts returns all ports that were chosen so far, and chooses one for each name that has none.
func (l layout) keepPorts(ctx context.Context, names ...string) (map[string]int, error) {
	ports := map[string]int{}
	content, err := os.ReadFile(l.portsFile())
	switch {
	case err == nil:
		if err := json.Unmarshal(content, &ports); err != nil {
			return nil, fmt.Errorf("%s is damaged: %w; remove the state directory to begin anew", l.portsFile(), err)
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("ports: %w", err)
	}
	used := map[int]bool{}
	for _, port := range ports {
		used[port] = true
	}
	for _, name := range names {
		if ports[name] != 0 {
			continue
		}
		port, err := freePort(ctx, used)
		if err != nil {
			return nil, err
		}
		ports[name], used[port] = port, true
	}
	if content, err = json.MarshalIndent(ports, "", "  "); err != nil {
		return nil, fmt.Errorf("ports: %w", err)
	}
	return ports, replaceFile(l.portsFile(), append(content, '\n'))
}

// freePort picks a port that nobody listens on, at random and below those that the kernel gives to outgoing
// connections, so that a port which is kept for days stays free while the plane is stopped.
func freePort(ctx context.Context, used map[int]bool) (int, error) {
	const first, last, attempts = 20_000, 32_000, 200
	for range attempts {
		offset, err := rand.Int(rand.Reader, big.NewInt(last-first))
		if err != nil {
			return 0, fmt.Errorf("choosing a port: %w", err)
		}
		port := first + int(offset.Int64())
		if !used[port] && portTaken(ctx, port) == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port of 127.0.0.1 between %d and %d", first, last)
}

// portTaken returns nil if the port of loopback is free.
func portTaken(ctx context.Context, port int) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	return listener.Close()
}

// replaceFile writes the file in one step.
func replaceFile(path string, content []byte) error {
	scratch := scratchOf(path)
	if err := os.WriteFile(scratch, content, 0o600); err != nil {
		return err
	}
	return os.Rename(scratch, path)
}

// scratchOf is where something is made before it is moved to path.
func scratchOf(path string) string { return path + ".new" }
