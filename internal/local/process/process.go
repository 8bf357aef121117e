// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Spec is a program to run.
type Spec struct {
	// Name is what a person calls the program; it appears in errors.
	Name string
	// Path is the program; Args follow it.
	Path string
	Args []string
	// Env is the whole environment; nil inherits that of the caller.
	Env []string
	// Dir is the working directory; empty is that of the caller.
	Dir string
	// Through is a command that is put in front of Path and must end by executing its arguments in place, such as
	// "ip netns exec NAME".
	Through []string
	// Log is the file that standard output and standard error are appended to.
	Log string
	// PIDFile is where the process is recorded; its folder exists.
	PIDFile string
}

// Process is a program that was started or found again.
type Process struct {
	// Name is that of the Spec.
	Name string
	// PID is the process id. It may belong to someone else as soon as Running is false.
	PID int
	// Adopted says that the program was already running.
	Adopted bool

	id      identity
	pidFile string
	log     string
	exit    *exit // nil when the program is not a child of the caller
}

// exit is how a child of the caller ended.
type exit struct {
	done  chan struct{} // closed when it has ended and is reaped
	state string        // such as "exit status 1"; set before done is closed
}

func (e *exit) reaped() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// Start runs the program detached: it has its own session and goes on after the caller has ended. If the program that
// the pidfile records still runs, it is adopted as it is and nothing is started. Two callers must not start the same
// pidfile at the same moment.
func Start(spec Spec) (*Process, error) {
	return start(spec, &syscall.SysProcAttr{Setsid: true})
}

// StartChild is Start for tests: the kernel kills the program when the caller dies, however it dies, and it is stopped
// when ctx ends. Programs that it starts itself are not covered.
func StartChild(ctx context.Context, spec Spec) (*Process, error) {
	p, err := start(spec, &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL})
	if err == nil {
		context.AfterFunc(ctx, func() { _ = p.kill() })
	}
	return p, err
}

// Find returns the running program that the pidfile records, or nil if there is none.
func Find(name, pidFile, log string) (*Process, error) {
	id, err := readPIDFile(pidFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if !id.running() {
		return nil, nil
	}
	return &Process{Name: name, PID: id.pid, Adopted: true, id: id, pidFile: pidFile, log: log}, nil
}

// Running says whether the program still runs. A zombie does not.
func (p *Process) Running() bool { return p.id.running() }

// Log is the file that the program writes to.
func (p *Process) Log() string { return p.log }

// Ending says in words how a program ended that no longer runs, as far as that can be known, with the last lines of
// its log.
func (p *Process) Ending() string {
	how := "ended"
	if p.exit != nil && !p.Running() {
		<-p.exit.done
		how = "ended with " + p.exit.state
	}
	return fmt.Sprintf("%s %s; the last lines of its log %s are:\n%s", p.Name, how, p.log, Tail(p.log, tailLines))
}

// Stop ends the program: SIGTERM, after grace SIGKILL. When it returns nil the program is gone and the pidfile
// removed. Stopping what has already stopped is no error.
func (p *Process) Stop(ctx context.Context, grace time.Duration) error {
	for _, step := range []struct {
		signal syscall.Signal
		within time.Duration
	}{{syscall.SIGTERM, grace}, {syscall.SIGKILL, 10 * time.Second}} {
		if err := p.id.signal(step.signal); err != nil {
			return fmt.Errorf("stopping %s (pid %d): %w", p.Name, p.PID, err)
		}
		gone, err := p.waitGone(ctx, step.within)
		if err != nil {
			return fmt.Errorf("stopping %s (pid %d): %w", p.Name, p.PID, err)
		}
		if gone {
			return removeIfExists(p.pidFile)
		}
	}
	return fmt.Errorf("%s (pid %d) is still there 10 s after SIGKILL; it probably hangs in the kernel, look at /proc/%d/stack", p.Name, p.PID, p.PID)
}

// Stop ends the program that the pidfile records, if it runs, and removes the pidfile.
func Stop(ctx context.Context, name, pidFile string, grace time.Duration) error {
	p, err := Find(name, pidFile, "")
	if err != nil {
		return err
	}
	if p == nil {
		return removeIfExists(pidFile)
	}
	return p.Stop(ctx, grace)
}

func (p *Process) kill() error { return p.id.signal(syscall.SIGKILL) }

// waitGone says whether the program has ended within the given time.
func (p *Process) waitGone(ctx context.Context, within time.Duration) (bool, error) {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := Poll(limited, func() (bool, error) { return !p.id.running(), nil }); err != nil {
		return false, context.Cause(ctx) // nil when it was only the time that ran out
	}
	if p.exit != nil {
		<-p.exit.done // reaped, so not even a zombie is left
	}
	return true, nil
}

func start(spec Spec, attr *syscall.SysProcAttr) (*Process, error) {
	found, err := Find(spec.Name, spec.PIDFile, spec.Log)
	if err != nil || found != nil {
		return found, err
	}
	if spec.PIDFile, err = filepath.Abs(spec.PIDFile); err != nil {
		return nil, fmt.Errorf("pidfile of %s: %w", spec.Name, err)
	}
	if err := removeIfExists(spec.PIDFile); err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(spec.Path); err != nil && len(spec.Through) == 0 {
		return nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", spec.Name, err)
	}
	defer func() { _ = log.Close() }()

	cmd := command(spec, log, attr)
	end, err := run(cmd)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	id, err := awaitPIDFile(spec.PIDFile, cmd.Process.Pid, end)
	if err != nil {
		_ = cmd.Process.Kill() // a program that nobody could find again must not stay
		return nil, fmt.Errorf("starting %s: %w\n%s", spec.Name, err, Tail(spec.Log, tailLines))
	}
	return &Process{Name: spec.Name, PID: id.pid, id: id, pidFile: spec.PIDFile, log: spec.Log, exit: end}, nil
}

// recordSelf is run by a shell as the new process: it writes the pidfile and becomes the program.
const recordSelf = `read -r boot </proc/sys/kernel/random/boot_id && read -r stat </proc/$$/stat &&
printf '%s\n%s\n' "$boot" "$stat" >"$0" || exit 126
exec "$@"`

// command has no context, because what is started detached outlives all of the caller's.
func command(spec Spec, log *os.File, attr *syscall.SysProcAttr) *exec.Cmd {
	args := []string{"sh", "-c", recordSelf, spec.PIDFile}
	args = append(args, spec.Through...)
	args = append(args, spec.Path)
	return &exec.Cmd{
		Path: "/bin/sh", Args: append(args, spec.Args...),
		Env: spec.Env, Dir: spec.Dir, SysProcAttr: attr, Stdout: log, Stderr: log,
	}
}

// run starts cmd and reaps it when it ends. The kernel sends a parent-death signal when the *thread* that started the
// process ends, so one thread is held as long as the process lives.
func run(cmd *exec.Cmd) (*exit, error) {
	end := &exit{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // the state below says it better
			end.state = cmd.ProcessState.String()
			close(end.done)
		}
	}()
	return end, <-started
}

// awaitPIDFile waits until the process has recorded itself, which it does first of all. A program that ran and has ended
// since is no error: that is for the caller to judge.
func awaitPIDFile(path string, pid int, end *exit) (identity, error) {
	tick, limit := time.NewTicker(2*time.Millisecond), time.NewTimer(10*time.Second)
	defer tick.Stop()
	defer limit.Stop()
	for {
		ended := end.reaped() // asked first: what it wrote before it ended is then seen below
		if id, err := readPIDFile(path); err == nil && id.pid == pid {
			return id, nil
		}
		if ended {
			return identity{}, errors.New("it ended before it could record itself")
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return identity{}, fmt.Errorf("it has not recorded itself in %s within 10 s", path)
		}
	}
}

func removeIfExists(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", filepath.Base(path), err)
	}
	return nil
}
