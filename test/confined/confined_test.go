// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package confined_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/test/confined"
)

// attempts are the ways out that a library could take. Each is tried in a process of its own.
func attempts() map[string]func() error {
	return map[string]func() error{
		"openFile":   func() error { _, err := os.ReadFile("/etc/hostname"); return err },
		"makeFile":   func() error { return os.WriteFile(os.DevNull, nil, 0o600) },
		"lookAtFile": func() error { _, err := os.Stat("/etc/hostname"); return err },
		"listFolder": func() error { _, err := os.ReadDir("/etc"); return err },
		"dial": func() error {
			_, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", "127.0.0.1:1")
			return err
		},
		"resolve": func() error {
			_, err := net.DefaultResolver.LookupHost(context.Background(), "hidden.invalid")
			return err
		},
		"listen": func() error {
			_, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
			return err
		},
		"execute": func() error { return exec.CommandContext(context.Background(), "/bin/true").Run() },
		"rawOpen": func() error { _, err := syscall.Open("/etc/hostname", syscall.O_RDONLY, 0); return err },
		"goroutine": func() error {
			done := make(chan error)
			go func() { _, err := os.ReadFile("/etc/hostname"); done <- err }()
			return <-done
		},
	}
}

// attemptVariable names what this process is to try.
const attemptVariable = "INGOT_TEST_ATTEMPT"

func TestMain(m *testing.M) {
	if name, child := os.LookupEnv(attemptVariable); child {
		said, code := attempt(name)
		if _, err := fmt.Fprintln(os.Stdout, said); err != nil {
			code = 1
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func attempt(name string) (said string, code int) {
	if err := confined.Enter(); err != nil {
		return fmt.Sprint("not confined: ", err), 1
	}
	if try, ok := attempts()[name]; ok {
		return fmt.Sprint("let through: ", try()), 1
	}
	sum := 0
	for part := range 4 { // goroutines, memory and output are what is left
		results := make(chan int)
		go func() { results <- len(strings.Repeat("a", part<<20)) }()
		sum += <-results
	}
	return fmt.Sprint("computed ", sum), 0
}

// TestNothingGetsOut: whatever is tried, the kernel ends the process, and the trace says who it was.
func TestNothingGetsOut(t *testing.T) {
	t.Parallel()
	for name := range attempts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := run(t, name)
			if err == nil || !bytes.Contains(out, []byte("SIGSYS")) || !bytes.Contains(out, []byte("confined_test.attempts")) {
				t.Errorf("%v:\n%s", err, out)
			}
		})
	}
}

// TestWorkIsLeft: a process that only computes does not notice.
func TestWorkIsLeft(t *testing.T) {
	t.Parallel()
	if out, err := run(t, "nothing"); err != nil || !bytes.Contains(out, []byte("computed 6291456")) {
		t.Errorf("%v:\n%s", err, out)
	}
}

func run(t *testing.T, name string) ([]byte, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), attemptVariable+"="+name)
	out, err := command.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out, err
}
