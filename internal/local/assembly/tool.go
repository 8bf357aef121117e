// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Tool is one run of a program of the host.
type Tool struct {
	// Name is the program, Args follow it.
	Name string
	Args []string
	// Dir is the working directory; empty is that of the caller.
	Dir string
	// Env is added to the environment of the caller.
	Env []string
	// Stdin is what the program can read.
	Stdin string
}

// Output runs the tool and returns its standard output. An error carries the last lines that the tool wrote. When ctx
// ends, the tool and everything it started are killed; when this process dies, the tool dies too.
func (t Tool) Output(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, t.Name, t.Args...)
	cmd.Dir = t.Dir
	cmd.Env = append(os.Environ(), append([]string{"LC_ALL=C", "TZ=UTC"}, t.Env...)...)
	cmd.Stdin = strings.NewReader(t.Stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	switch {
	case err == nil:
		return stdout.String(), nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s: stopped: %w", t.Name, context.Cause(ctx))
	default:
		return "", fmt.Errorf("%s: %w\n%s", t.Name, err, LastLines(stdout.String()+stderr.String(), 15))
	}
}

// Run is Output for a tool whose output does not matter.
func (t Tool) Run(ctx context.Context) error {
	_, err := t.Output(ctx)
	return err
}

// LastLines is the end of a text: at most n lines.
func LastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
