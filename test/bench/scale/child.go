// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// child is another process that does one thing and ends with its input.
type child struct {
	command *exec.Cmd
	input   io.WriteCloser
	output  io.Reader
}

// itself is this program.
const itself = "/proc/self/exe"

func spawn(ctx context.Context, program string, arguments ...string) (*child, error) {
	c := &child{command: exec.CommandContext(ctx, program, arguments...)}
	c.command.Stderr = os.Stderr
	c.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if c.input, err = c.command.StdinPipe(); err != nil {
		return nil, err
	}
	if c.output, err = c.command.StdoutPipe(); err != nil {
		return nil, err
	}
	return c, c.command.Start()
}

// kill ends it without asking.
func (c *child) kill() {
	_ = c.input.Close()
	_ = c.command.Process.Kill()
	_ = c.command.Wait()
}
