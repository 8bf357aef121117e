// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
)

// Main is all that a child does. It returns the exit code, which the process must end with at once: what it has started may
// still run. It reads its request from in, and ends when in does.
func Main(in io.Reader, out, log io.Writer) int {
	requests, results := json.NewDecoder(in), json.NewEncoder(out)
	var r Request
	if err := results.Encode(message{Started: true}); err != nil {
		return 1
	}
	if err := requests.Decode(&r); err != nil {
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan message, 1)
	go func() {
		done <- conclude(run(ctx, r, log, func(i Inspection) { _ = results.Encode(message{Inspection: &i}) }))
	}()
	orphaned := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, in)
		close(orphaned)
	}()
	select {
	case result := <-done:
		if err := results.Encode(result); err != nil {
			return 1
		}
		return 0
	case <-orphaned:
		return 3
	}
}

func conclude(report Report, err error) message {
	if err != nil {
		text := strings.TrimPrefix(err.Error(), ErrUnusable.Error()+": ") // the parent says it again
		return message{Failure: &failure{Text: text, Unusable: errors.Is(err, ErrUnusable)}}
	}
	return message{Report: &report}
}

// enter makes a folder the working directory: etcd takes sockets by short names only.
func enter(dir string) error { return os.Chdir(dir) }
