// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package confined takes away from a process what it could reach the outside with. Tests run code in a process of its own that
// must open nothing and talk to nobody: the kernel stops it where it tries, however it goes about it, and Go prints who it
// was. It holds no expectation about the code that runs.
package confined

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Enter takes from this process, for ever and for all its threads, every system call but those that Go needs to compute and
// to write to what is open already. A call that is not left ends the process with SIGSYS; the trace that Go prints then has
// the caller. What is left names no file, no address and no other process.
func Enter() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up privileges: %w", err)
	}
	filter := program()
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog))) //nolint:gosec // the kernel takes no other
	if errno != 0 {
		return fmt.Errorf("installing the filter of system calls: %w", errno)
	}
	if thread != 0 {
		return fmt.Errorf("thread %d did not take the filter of system calls", thread)
	}
	return nil
}

// left are the calls that stay. Those that read and write are for what is open: the pipes to the test, and what Go asks of the
// limits of its CPUs.
func left() []uint32 {
	return []uint32{
		unix.SYS_READ, unix.SYS_PREAD64, unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_CLOSE, unix.SYS_FCNTL,
		unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MPROTECT, unix.SYS_MREMAP, unix.SYS_MINCORE, unix.SYS_BRK,
		unix.SYS_FUTEX, unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ,
		unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_TGKILL,
		unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_GETRANDOM, unix.SYS_PRCTL, unix.SYS_MEMBARRIER,
		unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY,
		unix.SYS_RESTART_SYSCALL, unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_GETRUSAGE,
	}
}

// program allows what is left on the processor that this is compiled for, and traps the rest.
func program() []unix.SockFilter {
	const numberAt, processorAt = 0, 4 // in struct seccomp_data
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	answer := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	skipIfEqual := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jt: skip}
	}
	processor := uint32(unix.AUDIT_ARCH_X86_64)
	if runtime.GOARCH == "arm64" {
		processor = unix.AUDIT_ARCH_AARCH64
	}
	filter := []unix.SockFilter{load(processorAt), skipIfEqual(processor, 1), answer(unix.SECCOMP_RET_KILL_PROCESS), load(numberAt)}
	for i, number := range left() {
		filter = append(filter, skipIfEqual(number, uint8(len(left())-i)))
	}
	return append(filter, answer(unix.SECCOMP_RET_TRAP), answer(unix.SECCOMP_RET_ALLOW))
}
