// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// identity names one process for ever: process ids are used again, but not with the same start time in the same boot.
type identity struct {
	boot string
	pid  int
	// started is the start time in clock ticks since the boot.
	started uint64
}

// running says whether that very process exists and is no zombie.
func (i identity) running() bool {
	if boot, err := bootID(); err != nil || boot != i.boot {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", i.pid))
	if err != nil {
		return false
	}
	now, ended, err := parseStat(string(stat))
	return err == nil && now.started == i.started && !ended
}

// signal sends sig to that very process, and to nobody if it is gone: the handle pins the process id before the
// identity is compared.
func (i identity) signal(sig syscall.Signal) error {
	handle, err := os.FindProcess(i.pid)
	if err != nil {
		return fmt.Errorf("opening process %d: %w", i.pid, err)
	}
	defer func() { _ = handle.Release() }()
	if !i.running() {
		return nil
	}
	if err := handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending %s: %w", sig, err)
	}
	return nil
}

// readPIDFile reads what the process wrote about itself: the boot id and its line of /proc/PID/stat.
func readPIDFile(path string) (identity, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return identity{}, err //nolint:wrapcheck // the caller tests for a missing file and adds the name
	}
	boot, stat, _ := strings.Cut(string(content), "\n")
	id, _, err := parseStat(stat)
	if err != nil {
		return identity{}, fmt.Errorf("pidfile %s is damaged (%w); make sure that the program does not run, then delete the file", path, err)
	}
	id.boot = boot
	return id, nil
}

// parseStat reads process id and start time from a line of /proc/PID/stat, and whether the process has ended. The
// second field is the name of the program in brackets, and may itself contain blanks and brackets. A zombie has ended
// only when its last thread has: until then it holds its ports.
func parseStat(line string) (id identity, ended bool, err error) {
	const state, threads, startTime = 0, 17, 19 // counted from the field behind the name, which the manual calls (3)
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return identity{}, false, errors.New("no line of /proc/PID/stat")
	}
	fields := strings.Fields(line[end+1:])
	if len(fields) <= startTime {
		return identity{}, false, errors.New("too short for a line of /proc/PID/stat")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line[:open]))
	if err != nil {
		return identity{}, false, fmt.Errorf("process id: %w", err)
	}
	started, err := strconv.ParseUint(fields[startTime], 10, 64)
	if err != nil {
		return identity{}, false, fmt.Errorf("start time: %w", err)
	}
	ended = fields[state] == "X" || (fields[state] == "Z" && fields[threads] == "1")
	return identity{pid: pid, started: started}, ended, nil
}

func bootID() (string, error) {
	content, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(content)), err
}
