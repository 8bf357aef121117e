// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package components

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// goTool runs the go command for one group, in the folder that pins it.
type goTool struct {
	group group
	dir   string
}

// flags are the arguments of `go build` that decide the bytes of the result.
func (t goTool) flags() []string {
	ldflags := append([]string{"-s", "-w"}, t.group.ldflags...)
	flags := []string{"-trimpath", "-buildvcs=false", "-ldflags", strings.Join(ldflags, " ")}
	if len(t.group.tags) > 0 {
		flags = append(flags, "-tags", strings.Join(t.group.tags, ","))
	}
	return flags
}

// cacheKey names the inputs: pinned modules, flags, and the Go release. A change of any of them builds anew.
func (t goTool) cacheKey(ctx context.Context) (string, error) {
	toolchain, err := t.run(ctx, "env", "GOVERSION", "GOOS", "GOARCH", "GOAMD64", "GOARM64")
	if err != nil {
		return "", fmt.Errorf("asking go for its version: %w; install Go 1.26 or newer", err)
	}
	inputs := []string{toolchain, strings.Join(t.flags(), " "), fmt.Sprintf("cgo=%t", t.group.cgo)}
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(t.dir, name))
		if err != nil {
			return "", fmt.Errorf("reading the pinned modules of %s: %w", t.group.dir, err)
		}
		inputs = append(inputs, string(content))
	}
	key := sha256.Sum256([]byte(strings.Join(inputs, "\x00")))
	return hex.EncodeToString(key[:6]), nil
}

// build compiles the named programs of the group into the folder out, in one run so that they share work.
func (t goTool) build(ctx context.Context, out string, names []string) error {
	args := append([]string{"build", "-o", out + string(filepath.Separator)}, t.flags()...)
	for _, name := range names {
		args = append(args, t.group.programs[name])
	}
	_, err := t.run(ctx, args...)
	return err
}

// moduleDir downloads the module if needed and returns the folder with its source.
func (t goTool) moduleDir(ctx context.Context, module string) (string, error) {
	out, err := t.run(ctx, "mod", "download", "-json", module)
	if err != nil {
		return "", fmt.Errorf("downloading module %s: %w", module, err)
	}
	var info struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &info); err != nil || info.Dir == "" {
		return "", fmt.Errorf("downloading module %s: go reported no folder: %s", module, out)
	}
	return info.Dir, nil
}

// run executes the go command and returns what it printed. An error ends with the last lines of its error output.
// When ctx ends, go and the compilers it started are killed.
func (t goTool) run(ctx context.Context, args ...string) (string, error) {
	cgo := "0"
	if t.group.cgo {
		cgo = "1"
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = t.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo, "GOWORK=off", "GOFLAGS=-mod=readonly")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", fmt.Errorf("stopped: %w", context.Cause(ctx))
		}
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, lastLines(stderr.String(), 20))
	}
	return stdout.String(), nil
}

// outputName is the file name that `go build -o dir/` gives to a main package: the last element of its path that is
// no version suffix.
func outputName(pkg string) string {
	elements := strings.Split(pkg, "/")
	last := len(elements) - 1
	if last > 0 && regexp.MustCompile(`^v[0-9]+$`).MatchString(elements[last]) {
		last--
	}
	return elements[last]
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
