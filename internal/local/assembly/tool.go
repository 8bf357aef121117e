// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

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

// tool is one run of a program of the host.
type tool struct {
	name  string
	args  []string
	dir   string
	env   []string
	stdin string
}

// output runs the tool and returns its standard output. An error carries the last lines that the tool wrote. When ctx
// ends, the tool and everything it started are killed; when this process dies, the tool dies too.
func (t tool) output(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, t.name, t.args...)
	cmd.Dir = t.dir
	cmd.Env = append(os.Environ(), append([]string{"LC_ALL=C", "TZ=UTC"}, t.env...)...)
	cmd.Stdin = strings.NewReader(t.stdin)
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
		return "", fmt.Errorf("%s: stopped: %w", t.name, context.Cause(ctx))
	default:
		return "", fmt.Errorf("%s: %w\n%s", t.name, err, lastLines(stdout.String()+stderr.String(), 15))
	}
}

// run is output for a tool whose output does not matter.
func (t tool) run(ctx context.Context) error {
	_, err := t.output(ctx)
	return err
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
