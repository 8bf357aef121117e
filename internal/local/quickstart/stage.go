// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// stage is one step of the story.
type stage struct {
	// title is what a person reads while it runs.
	title string
	// do does what is missing of it.
	do func(ctx context.Context) error
}

// teller tells a person what happens, each line with the time since the start. It is safe for concurrent use.
type teller struct {
	out   io.Writer
	clock clock.PassiveClock
	start time.Time

	mu   sync.Mutex
	took []timing
}

type timing struct {
	title string
	took  time.Duration
}

func newTeller(out io.Writer, c clock.PassiveClock) *teller {
	return &teller{out: out, clock: c, start: c.Now()}
}

// say tells one line.
func (t *teller) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = fmt.Fprintf(t.out, "%7s  %s\n", short(t.clock.Since(t.start)), fmt.Sprintf(format, args...))
}

// print writes text without the time.
func (t *teller) print(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = fmt.Fprint(t.out, text)
}

// run runs stages in order and notes how long each took.
func (t *teller) run(ctx context.Context, stages []stage) error {
	for i, s := range stages {
		began := t.clock.Now()
		t.say("[%d/%d] %s", i+1, len(stages), s.title)
		if err := s.do(ctx); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("interrupted during %q: run the same command again to continue, or make quickstart-down to remove everything", s.title)
			}
			return fmt.Errorf("%s: %w", s.title, err)
		}
		t.took = append(t.took, timing{title: s.title, took: t.clock.Since(began)})
	}
	return nil
}

// summary lists how long each stage took.
func (t *teller) summary() string {
	var text strings.Builder
	text.WriteString("Time of each stage:\n")
	for _, s := range t.took {
		_, _ = fmt.Fprintf(&text, "  %7s  %s\n", short(s.took), s.title)
	}
	_, _ = fmt.Fprintf(&text, "  %7s  in total\n", short(t.clock.Since(t.start)))
	return text.String()
}

// short formats a duration for a person, to the second.
func short(d time.Duration) string {
	d = d.Round(time.Second)
	if d < time.Minute {
		return fmt.Sprintf("%ds", int(d.Seconds()))
	}
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}
