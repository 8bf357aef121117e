// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// argument is what a child is started with.
	argument = "rehearse-etcd-snapshot"
	// bound is how long a rehearsal may take: far more than a database of the size that etcd allows needs.
	bound = 30 * time.Minute
	// patience is how long a child may take to end once it was told to.
	patience = 5 * time.Second
)

// Child rehearses in a process of its own.
type Child struct {
	// Program calls Main where IsChild says so.
	Program string
}

// Itself is a Child that is this program again.
func Itself() (Child, error) {
	program, err := os.Executable()
	if err != nil {
		return Child{}, fmt.Errorf("finding this program, which rehearses snapshots in a process of its own: %w", err)
	}
	return Child{Program: program}, nil
}

// IsChild is whether this process was started as a Child. args are those of the process.
func IsChild(args []string) bool { return len(args) == 2 && args[1] == argument }

// Rehearse rehearses, and tells what the file says of itself before etcd is started on it. Errors wrap ErrUnusable where the
// snapshot is at fault. The child ends with the context, and with this process.
func (c Child) Rehearse(ctx context.Context, r Request, inspected func(Inspection)) (Report, error) {
	report, err := c.rehearse(ctx, r, inspected)
	if err != nil {
		return Report{}, fmt.Errorf("rehearsing the restore: %w", err)
	}
	return report, nil
}

func (c Child) rehearse(ctx context.Context, r Request, inspected func(Inspection)) (Report, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("it was not done after %s", bound))
	defer cancel()
	var log head
	command := exec.CommandContext(ctx, c.Program, argument)
	command.Stderr, command.WaitDelay = &log, patience
	in, err := command.StdinPipe() // the child ends when it is closed, by whatever end of this process
	if err != nil {
		return Report{}, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return Report{}, err
	}
	if err := command.Start(); err != nil {
		return Report{}, err
	}
	answer, err := converse(in, out, r, inspected)
	_ = in.Close()
	waitErr := command.Wait()
	switch {
	case ctx.Err() != nil && answer.Report == nil:
		return Report{}, context.Cause(ctx)
	case err != nil && !answer.Started:
		return Report{}, fmt.Errorf("%s does not rehearse: it must call rehearsal.Main: %w: %s", c.Program, err, log.text())
	case err != nil:
		return Report{}, fmt.Errorf("%w: %s", died(waitErr), log.text())
	case answer.Failure != nil && answer.Failure.Unusable:
		return Report{}, fmt.Errorf("%w: %s", ErrUnusable, answer.Failure.Text)
	case answer.Failure != nil:
		return Report{}, errors.New(answer.Failure.Text)
	default:
		return *answer.Report, nil
	}
}

// died says why a child ended without a result.
func died(waitErr error) error {
	exit := new(exec.ExitError)
	if !errors.As(waitErr, &exit) {
		return fmt.Errorf("it ended without a result: %w", waitErr)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return errors.New("its process was killed, perhaps for want of memory")
	}
	return fmt.Errorf("%w: etcd gave up on it (%w)", ErrUnusable, waitErr)
}

// converse returns the last thing that a child says: a report or a failure, and whether it had started at all.
func converse(in io.Writer, out io.Reader, r Request, inspected func(Inspection)) (message, error) {
	var answer message
	if err := json.NewEncoder(in).Encode(r); err != nil {
		return answer, err
	}
	for lines := json.NewDecoder(out); answer.Report == nil && answer.Failure == nil; {
		var said message
		if err := lines.Decode(&said); err != nil {
			return answer, err
		}
		if said.Inspection != nil {
			inspected(*said.Inspection)
		}
		answer.Started = answer.Started || said.Started
		answer.Report, answer.Failure = said.Report, said.Failure
	}
	return answer, nil
}

// head keeps the beginning of what the child logs, which is errors only: what follows the first are stack traces.
type head struct{ kept bytes.Buffer }

const headBytes = 8 << 10

func (t *head) Write(p []byte) (int, error) {
	if room := headBytes - t.kept.Len(); room > 0 {
		_, _ = t.kept.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// text is the first lines of what the child logged.
func (t *head) text() string {
	lines := strings.Split(strings.TrimSpace(t.kept.String()), "\n")
	if len(lines) > 3 {
		lines = lines[:3]
	}
	return strings.Join(lines, " / ")
}
