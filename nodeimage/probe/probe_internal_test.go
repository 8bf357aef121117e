// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Tests of whole clusters believe this program: it must not say yes when the network does not work.

func TestGetWaitsForEveryAnswer(t *testing.T) {
	tries := 0
	late := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if tries++; tries == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprint(w, "late")
	}))
	defer late.Close()
	broken := httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()

	if err := run([]string{"get", late.URL}, "", 10*time.Second); err != nil || tries != 2 {
		t.Errorf("a server that answers at the second try: %v after %d tries", err, tries)
	}
	err := run([]string{"get", late.URL, broken.URL}, "", 1500*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("one of two URLs never answers 200, and the result is %v", err)
	}
	if err := run([]string{"get", "http://127.0.0.1:1/"}, "", time.Millisecond); err == nil {
		t.Error("nobody listens, and the result is success")
	}
}

func TestUsageIsRefusedInASentence(t *testing.T) {
	for _, args := range [][]string{nil, {"get"}, {"serve", "more"}, {"put", "http://x"}} {
		if err := run(args, "", time.Second); err == nil || !strings.Contains(err.Error(), "probe get URL") {
			t.Errorf("%q: got %v", args, err)
		}
	}
}
