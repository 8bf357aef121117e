// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/artefact"
)

// noise is a file that no compression makes smaller, so that a cut is where the test says.
func noise(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// forward reads an artefact and watches that its progress never goes back.
func forward(t *testing.T, o artefact.Opener, source artefact.Source) ([]byte, error) {
	t.Helper()
	r, err := o.Open(t.Context(), source)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var content []byte
	for last := int64(0); ; {
		p := make([]byte, 10_000)
		n, err := r.Read(p)
		content = append(content, p[:n]...)
		if now := r.BytesRead(); now < last || now > source.SizeBytes+1 {
			t.Fatalf("%d bytes were read of %d, after %d", now, source.SizeBytes, last)
		} else {
			last = now
		}
		if errors.Is(err, io.EOF) {
			return content, nil
		}
		if err != nil {
			return content, err
		}
	}
}

// Wherever a connection breaks, the copy goes on where it stopped: the content is whole, and no byte crosses the wire
// twice.
func TestResume(t *testing.T) {
	for _, compression := range []string{"None", "gzip", "zstd", "xz", "bzip2"} {
		content := plain()
		if compression != "bzip2" {
			content = append(noise(200_000), content...)
		}
		file := compress(t, compression, content)
		for name, cuts := range map[string][]int{
			"before the first byte":      {0},
			"after the first byte":       {1},
			"in the middle":              {len(file) / 2},
			"before the last byte":       {len(file) - 1},
			"after the last byte":        {len(file)},
			"several times":              {len(file) / 5, 1, len(file) / 5, 0, 0, 2},
			"at each byte of the header": {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
		} {
			t.Run(compression+"/"+name, func(t *testing.T) {
				server := &flaky{file: file, cuts: cuts, version: http.Header{"Etag": {`"v1"`}}}
				got, err := forward(t, artefact.Opener{Clock: &hurried{}}, server.serve(t, compression))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, content) {
					t.Errorf("%d bytes of content, want %d others", len(got), len(content))
				}
				requests, sent := server.seen()
				if sent != len(file) {
					t.Errorf("%d bytes crossed the wire, the file has %d", sent, len(file))
				}
				at := 0
				for i, r := range requests {
					want, condition := "", ""
					if at > 0 {
						want, condition = fmt.Sprintf("bytes=%d-", at), `"v1"`
					}
					if r.Get("Range") != want || r.Get("If-Range") != condition {
						t.Errorf("request %d: Range %q if %q, want %q if %q", i, r.Get("Range"), r.Get("If-Range"), want, condition)
					}
					if r.Get("Accept-Encoding") != "identity" {
						t.Errorf("request %d would accept other bytes than those published", i)
					}
					if i < len(cuts) {
						at += cuts[i]
					}
				}
			})
		}
	}
}

// Connections that each bring something are progress, however many there are; the pauses start anew each time.
func TestResumeHasNoEndWhileThereIsProgress(t *testing.T) {
	server := &flaky{file: noise(1000), cuts: make([]int, 99)}
	for i := range server.cuts {
		server.cuts[i] = 10 * (i % 2) // every other one brings nothing
	}
	clk := &hurried{}
	if _, err := forward(t, artefact.Opener{Clock: clk}, server.serve(t, "")); err != nil {
		t.Fatal(err)
	}
	for i, d := range clk.seen() {
		if d > 3*time.Second {
			t.Errorf("pause %d is %s, as if nothing had come before", i, d)
		}
	}
}

// A source that stays away ends the copy after a known number of attempts with growing pauses, and the error says how
// far it came. The next copy tries again; this one must not hold its place.
func TestSourceThatStaysAway(t *testing.T) {
	for name, away := range map[string]func(http.ResponseWriter){
		"busy":      func(w http.ResponseWriter) { http.Error(w, "hunter2", http.StatusServiceUnavailable) },
		"no answer": func(w http.ResponseWriter) { hangUp(t, w, false) },
		"reset":     func(w http.ResponseWriter) { hangUp(t, w, true) },
		"no body": func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 400-999/1000")
			w.Header().Set("Content-Length", "600")
			w.WriteHeader(http.StatusPartialContent)
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := &flaky{file: noise(1000), cuts: []int{400}}
			server.answer = func(n int, w http.ResponseWriter, _ *http.Request) bool {
				if n == 0 {
					return false
				}
				away(w)
				return true
			}
			source := server.serve(t, "")
			source.URL = strings.Replace(source.URL, "://", "://me:hunter2@", 1) + "/disk?token=hunter2"
			clk := &hurried{}
			got, err := forward(t, artefact.Opener{Clock: clk}, source)
			for _, want := range []string{"after 400 of 1000 bytes", "gave up after 6 attempts"} {
				if !errors.Is(err, artefact.ErrSource) || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q that says %q", err, artefact.ErrSource, want)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows a secret: %v", err)
			}
			if requests, _ := server.seen(); len(got) != 400 || len(requests) != 7 {
				t.Errorf("%d bytes over %d requests, want 400 over 7", len(got), len(requests))
			}
			pauses, total := clk.seen(), time.Duration(0)
			for i, d := range pauses {
				total += d
				if least := time.Second << i; d <= least || d > least*3/2 {
					t.Errorf("pause %d is %s, want one by chance between %s and half more", i, d, least)
				}
			}
			if len(pauses) != 6 || total > 2*time.Minute {
				t.Errorf("%d pauses of %s, want 6 that fit into the time without news", len(pauses), total)
			}
		})
	}
}

// emptied is a server that is gone after its first answer, in the way in which a transport says so: with the end.
type emptied struct {
	memory
	asked int
}

// RoundTrip implements http.RoundTripper.
func (e *emptied) RoundTrip(r *http.Request) (*http.Response, error) {
	if e.asked++; e.asked > 1 {
		return nil, io.EOF
	}
	resp, err := e.memory.RoundTrip(r)
	resp.ContentLength = -1
	return resp, err
}

// No answer is not the end of the file.
func TestNoAnswerIsNotTheEnd(t *testing.T) {
	source := artefact.Source{URL: "http://emptied.example/", SHA256: digest(nil), SizeBytes: 1000}
	_, err := forward(t, artefact.Opener{HTTP: &emptied{memory: noise(400)}, Clock: &hurried{}}, source)
	if !errors.Is(err, artefact.ErrSource) || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "without an answer") {
		t.Errorf("got %v, want %q", err, artefact.ErrSource)
	}
}

// What is certain to fail again is not tried again.
func TestRefusalsEndTheCopy(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound, http.StatusGone, http.StatusNoContent} {
		server := &flaky{file: noise(1000), cuts: []int{400}}
		server.answer = func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n > 0 {
				w.WriteHeader(status)
			}
			return n > 0
		}
		_, err := forward(t, artefact.Opener{Clock: &hurried{}}, server.serve(t, ""))
		if !errors.Is(err, artefact.ErrSource) || !strings.Contains(err.Error(), strconv.Itoa(status)) {
			t.Errorf("%d: got %v, want %q that tells of it", status, err, artefact.ErrSource)
		}
		if requests, _ := server.seen(); len(requests) != 2 {
			t.Errorf("%d: %d requests, want 2", status, len(requests))
		}
	}
}

// A busy server is left alone for as long as it asks, but a copy does not wait for ever.
func TestRetryAfter(t *testing.T) {
	for _, c := range []struct {
		status      int
		header      string
		least, most time.Duration
	}{
		{http.StatusServiceUnavailable, "", time.Second, 1500 * time.Millisecond},
		{http.StatusServiceUnavailable, "20", 20 * time.Second, 20 * time.Second},
		{http.StatusTooManyRequests, "60", time.Minute, time.Minute},
		{http.StatusTooManyRequests, time.Now().Add(40 * time.Second).UTC().Format(http.TimeFormat), 10 * time.Second, 40 * time.Second},
		{http.StatusServiceUnavailable, "-5", time.Second, 1500 * time.Millisecond},
		{http.StatusServiceUnavailable, "soon", time.Second, 1500 * time.Millisecond},
		{http.StatusServiceUnavailable, "61", 0, 0},
		{http.StatusServiceUnavailable, "99999999999999", 0, 0},
	} {
		server := &flaky{file: noise(1000), cuts: []int{400}}
		server.answer = func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n == 1 {
				w.Header().Set("Retry-After", c.header)
				w.WriteHeader(c.status)
			}
			return n == 1
		}
		clk := &hurried{}
		_, err := forward(t, artefact.Opener{Clock: clk}, server.serve(t, ""))
		pauses := clk.seen()
		switch {
		case c.most == 0:
			if !errors.Is(err, artefact.ErrSource) || !strings.Contains(err.Error(), "left alone") || len(pauses) != 1 {
				t.Errorf("%q: got %v after %v, want %q at once", c.header, err, pauses, artefact.ErrSource)
			}
		case err != nil:
			t.Errorf("%q: %v", c.header, err)
		case len(pauses) != 2 || pauses[1] < c.least || pauses[1] > 2*c.most:
			t.Errorf("%q: the pauses are %v, want the second one between %s and %s", c.header, pauses, c.least, c.most)
		}
	}
}

// A connection that went silent is replaced before the source as a whole counts as silent: most broken connections look
// like this from here.
func TestSilentConnectionIsReplaced(t *testing.T) {
	server := &flaky{file: noise(1000)}
	server.answer = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 0 {
			w.Header().Set("Content-Length", "1000")
			server.send(w, server.file[:300])
			<-r.Context().Done()
		}
		return n == 0
	}
	if _, err := forward(t, artefact.Opener{Clock: &hurried{}, Stall: 2 * time.Second}, server.serve(t, "")); err != nil {
		t.Fatal(err)
	}
	if _, sent := server.seen(); sent != 1000 {
		t.Errorf("%d bytes crossed the wire, the file has 1000", sent)
	}
}

// Pauses and attempts are part of the time that a source has: it is not extended by them.
func TestStallBoundsAttempts(t *testing.T) {
	server := &flaky{file: noise(1000), cuts: []int{400, 0, 0, 0, 0, 0, 0, 0}}
	started := time.Now()
	_, err := forward(t, artefact.Opener{Stall: 300 * time.Millisecond}, server.serve(t, "")) // the first pause is a second
	if !errors.Is(err, artefact.ErrSource) || !strings.Contains(err.Error(), "sent nothing for 300ms; before that: ") {
		t.Errorf("got %v, want %q that tells of the silence and of the connection", err, artefact.ErrSource)
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

// The reader ends with its context and with Close while it pauses.
func TestEndDuringPause(t *testing.T) {
	for name, end := range map[string]func(*artefact.Reader, context.CancelFunc){
		"context": func(_ *artefact.Reader, cancel context.CancelFunc) { cancel() },
		"close":   func(r *artefact.Reader, _ context.CancelFunc) { _ = r.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			server := &flaky{file: noise(1000), cuts: []int{400}}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, err := artefact.Opener{Clock: clocktesting.NewFakeClock(time.Now())}.Open(ctx, server.serve(t, ""))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			time.AfterFunc(50*time.Millisecond, func() { end(r, cancel) })
			if _, err := io.Copy(io.Discard, r); !errors.Is(err, artefact.ErrSource) || r.BytesRead() != 400 {
				t.Errorf("got %v after %d bytes, want %q after 400", err, r.BytesRead(), artefact.ErrSource)
			}
			if requests, _ := server.seen(); len(requests) != 1 {
				t.Errorf("%d requests, want 1", len(requests))
			}
		})
	}
}

// TLS is verified on every connection, also over HTTP/2, and whoever is not the server gets no second chance.
func TestResumeOverTLS(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2=%t", http2), func(t *testing.T) {
			broken := &flaky{file: noise(300_000), cuts: []int{100_000, 0, 50_000}}
			server := quiet(broken)
			server.EnableHTTP2 = http2
			server.StartTLS()
			defer server.Close()
			source := artefact.Source{URL: server.URL, SHA256: digest(broken.file), SizeBytes: int64(len(broken.file))}
			if _, err := forward(t, artefact.Opener{HTTP: server.Client().Transport, Clock: &hurried{}}, source); err != nil {
				t.Error(err)
			}
			if _, sent := broken.seen(); sent != len(broken.file) {
				t.Errorf("%d bytes crossed the wire, the file has %d", sent, len(broken.file))
			}
			before, _ := broken.seen()
			_, err := forward(t, artefact.Opener{Clock: &hurried{}}, source)
			if after, _ := broken.seen(); !errors.Is(err, artefact.ErrSource) || len(after) != len(before) {
				t.Errorf("an unknown authority: got %v after %d requests, want %q after none", err, len(after)-len(before), artefact.ErrSource)
			}
		})
	}
}
