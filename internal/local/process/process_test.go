// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
)

// helperEnv turns this test binary into a caller that starts a program and is then killed.
const helperEnv = "PROCESS_TEST_HELPER"

func TestMain(m *testing.M) {
	if mode := os.Getenv(helperEnv); mode != "" {
		startAndWaitToBeKilled(mode, os.Getenv("PROCESS_TEST_DIR"))
	}
	os.Exit(m.Run())
}

func startAndWaitToBeKilled(mode, dir string) {
	spec := sleeper(dir)
	var err error
	if mode == "child" {
		_, err = process.StartChild(context.Background(), spec)
	} else {
		_, err = process.Start(spec)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = fmt.Fprintln(os.Stdout, "started")
	select {}
}

func sleeper(dir string) process.Spec {
	return process.Spec{
		Name: "sleeper", Path: "sleep", Args: []string{"600"},
		Log: filepath.Join(dir, "log"), PIDFile: filepath.Join(dir, "pid"),
	}
}

// shell runs a script. The file "ready" in its folder says that its traps are set.
func shell(dir, script string) process.Spec {
	spec := sleeper(dir)
	spec.Path, spec.Args, spec.Dir = "/bin/sh", []string{"-c", script}, dir
	return spec
}

func start(t *testing.T, spec process.Spec) *process.Process {
	t.Helper()
	p, err := process.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(context.Background(), time.Second) })
	return p
}

func TestSecondStartAdopts(t *testing.T) {
	spec := sleeper(t.TempDir())
	first := start(t, spec)
	second := start(t, spec)
	if second.PID != first.PID || !second.Adopted || first.Adopted {
		t.Errorf("first %+v, second %+v: want one process", first, second)
	}
	if err := second.Stop(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	if first.Running() || alive(first.PID) {
		t.Error("the adopted program was not stopped")
	}
}

func TestProgramThatCrashedIsStartedAgain(t *testing.T) {
	spec := sleeper(t.TempDir())
	first := start(t, spec)
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the crash is noticed", func() bool { return !first.Running() })
	if second := start(t, spec); second.PID == first.PID || !second.Running() {
		t.Errorf("not started anew: %+v", second)
	}
}

func TestProgramThatEndsAtOnceTellsWhy(t *testing.T) {
	p := start(t, shell(t.TempDir(), "echo the port is taken; exit 3"))
	eventually(t, "the end is noticed", func() bool { return !p.Running() })
	if got := p.Ending(); !strings.Contains(got, "exit status 3") || !strings.Contains(got, "the port is taken") {
		t.Errorf("a person would not know what to do: %q", got)
	}
}

func TestMissingProgramIsAnErrorBeforeAnythingStarts(t *testing.T) {
	spec := sleeper(t.TempDir())
	spec.Path = "/does/not/exist"
	if _, err := process.Start(spec); err == nil || !strings.Contains(err.Error(), "sleeper") {
		t.Errorf("got %v", err)
	}
}

// A pidfile outlives its process: by a reboot, or because the id was given to another program. Whoever has the id now
// must be neither adopted nor killed.
func TestForeignProcessIsLeftAlone(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(pidFile string) string
		why    string
	}{
		{"other start time", changeStartTime, "the kernel uses process ids again"},
		{"other boot", func(s string) string { return "00000000-0000-0000-0000-000000000000" + s[36:] }, "start times count from the boot"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			victim := start(t, sleeper(t.TempDir()))
			spec := sleeper(t.TempDir())
			forge(t, victim, spec.PIDFile, tc.change)

			if err := process.Stop(t.Context(), "sleeper", spec.PIDFile, time.Second); err != nil {
				t.Fatal(err)
			}
			if !victim.Running() {
				t.Fatalf("a foreign process was killed: %s", tc.why)
			}
			forge(t, victim, spec.PIDFile, tc.change)
			if own := start(t, spec); own.Adopted || own.PID == victim.PID {
				t.Errorf("a foreign process was adopted: %s", tc.why)
			}
		})
	}
}

func TestDamagedPidfileIsAnErrorAndNotAnInvitation(t *testing.T) {
	spec := sleeper(t.TempDir())
	if err := os.WriteFile(spec.PIDFile, []byte("boot\n123"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := process.Start(spec); err == nil || !strings.Contains(err.Error(), "delete the file") {
		t.Errorf("started although nobody knows whether it runs: %v", err)
	}
}

func TestStopKillsWhatIgnoresTheRequest(t *testing.T) {
	dir := t.TempDir()
	p := start(t, shell(dir, "trap '' TERM; : >ready; while :; do sleep 0.05; done"))
	eventually(t, "traps are set", func() bool { return exists(filepath.Join(dir, "ready")) })
	if err := p.Stop(t.Context(), 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if alive(p.PID) {
		t.Error("still there")
	}
}

func TestStopGivesTimeToEndInOrder(t *testing.T) {
	dir := t.TempDir()
	p := start(t, shell(dir, "trap 'sleep 0.3; : >orderly; exit' TERM; : >ready; while :; do sleep 0.05; done"))
	eventually(t, "traps are set", func() bool { return exists(filepath.Join(dir, "ready")) })
	if err := p.Stop(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if !exists(filepath.Join(dir, "orderly")) {
		t.Error("killed before its time was over")
	}
}

func TestStopTwiceAndStopOfNothing(t *testing.T) {
	spec := sleeper(t.TempDir())
	start(t, spec)
	for range 2 {
		if err := process.Stop(t.Context(), "sleeper", spec.PIDFile, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if exists(spec.PIDFile) {
		t.Error("the pidfile is left")
	}
}

// kill -9 of the quickstart must leave its programs running and findable.
func TestDetachedProgramSurvivesItsCaller(t *testing.T) {
	dir := t.TempDir()
	startInCallerThatIsKilled(t, "detached", dir)
	found, err := process.Find("sleeper", filepath.Join(dir, "pid"), "")
	if err != nil || found == nil {
		t.Fatalf("lost after its caller was killed: %v", err)
	}
	if err := found.Stop(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
}

// kill -9 of a test must not leave any program.
func TestChildDiesWithItsCaller(t *testing.T) {
	dir := t.TempDir()
	startInCallerThatIsKilled(t, "child", dir)
	eventually(t, "the child dies with its caller", func() bool {
		found, err := process.Find("sleeper", filepath.Join(dir, "pid"), "")
		return err == nil && found == nil
	})
}

func startInCallerThatIsKilled(t *testing.T, mode, dir string) {
	t.Helper()
	caller := exec.CommandContext(t.Context(), os.Args[0])
	caller.Env = append(os.Environ(), helperEnv+"="+mode, "PROCESS_TEST_DIR="+dir)
	out, err := caller.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := caller.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	_ = caller.Process.Kill()
	_ = caller.Wait()
}

func TestChildEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := process.StartChild(ctx, sleeper(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	eventually(t, "the child ends", func() bool { return !p.Running() })
}

func TestThroughRunsInPlace(t *testing.T) {
	dir := t.TempDir()
	spec := sleeper(dir)
	spec.Through = []string{"env", "MARK=through"}
	p := start(t, spec)
	eventually(t, "the wrapped program replaces its wrapper", func() bool {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID))
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.PID))
		return err == nil && strings.Contains(string(environ), "MARK=through") && strings.TrimSpace(string(comm)) == "sleep"
	})
}

func TestTailOfALongLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(strings.Repeat("noise\n", 100_000)+"a\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := process.Tail(path, 2); got != "a\nb" {
		t.Errorf("got %q", got)
	}
	if got := process.Tail(path+".none", 2); !strings.Contains(got, "no log") {
		t.Errorf("got %q", got)
	}
}

// forge writes the pidfile of victim with a change.
func forge(t *testing.T, victim *process.Process, pidFile string, change func(string) string) {
	t.Helper()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", victim.PID))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pidFile, []byte(change(string(boot)+string(stat))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// changeStartTime alters field 22 of the line.
func changeStartTime(pidFile string) string {
	boot, stat, _ := strings.Cut(pidFile, "\n")
	fields := strings.Fields(stat)
	fields[21] += "0"
	return boot + "\n" + strings.Join(fields, " ")
}

func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("did not happen within 10 s: %s", what)
}

func TestLockIsExclusiveAndEndsWithItsHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := process.Lock(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	waited := false
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := process.Lock(ctx, path, func() { waited = true }); !errors.Is(err, context.DeadlineExceeded) || !waited {
		t.Fatalf("two hold the lock, or nobody is told of the wait: %v, waited %t", err, waited)
	}
	unlock()
	again, err := process.Lock(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	again()
}
