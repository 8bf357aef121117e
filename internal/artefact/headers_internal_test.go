// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What servers say about ranges decides where bytes go. Whatever is not exactly a range is none.
func TestParseContentRange(t *testing.T) {
	for header, want := range map[string]contentRange{
		"bytes 0-0/1":                           {0, 0, 1},
		"bytes 400-999/1000":                    {400, 999, 1000},
		"BYTES 400-999/*":                       {400, 999, -1},
		"bytes */1000":                          {-1, -1, 1000},
		"bytes 0-4611686018427387902/*":         {0, 1<<62 - 2, -1},
		"":                                      {},
		"bytes":                                 {},
		"bytes 400-999":                         {},
		"bytes=400-999/1000":                    {},
		"bytes  400-999/1000":                   {},
		"bytes 400-999/1000 ":                   {},
		"bytes 400 - 999/1000":                  {},
		"bytes 999-400/1000":                    {},
		"bytes 400-1000/1000":                   {},
		"bytes -400-999/1000":                   {},
		"bytes +400-999/1000":                   {},
		"bytes 400-/1000":                       {},
		"bytes -999/1000":                       {},
		"bytes 0x1-0x2/1000":                    {},
		"bytes 1_0-20/1000":                     {},
		"bytes */*":                             {},
		"bytes */-1":                            {},
		"bytes 400-999/1000/1000":               {},
		"bytes 0-9223372036854775807/*":         {},
		"bytes 0-1/99999999999999999999":        {},
		"bytes \u0660-\u0661/\u0662":            {},
		"items 400-999/1000":                    {},
		"bytes 400-999/1000, bytes 0-9/1000":    {},
		strings.Repeat("9", 1<<16) + " 0-0/1":   {},
		"bytes 0-" + strings.Repeat("9", 1<<16): {},
	} {
		valid := want != contentRange{}
		got, ok := parseContentRange(header)
		if ok != valid || (valid && got != want) {
			t.Errorf("%.60q: got %+v and %t, want %+v and %t", header, got, ok, want, valid)
		}
	}
}

// FuzzContentRange checks that a range that is understood is a possible one, and that it is the one that was written.
func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-0/1", "bytes 400-999/1000", "bytes 400-999/*", "bytes */1000", "bytes 5-4/3", "bytes=1-2/3", "BYTES 01-2/3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r, ok := parseContentRange(header)
		if !ok {
			if r != (contentRange{-1, -1, -1}) {
				t.Errorf("%q is no range, but %+v", header, r)
			}
			return
		}
		span, size := "*", "*"
		switch {
		case r.first == -1 && r.last == -1 && r.size >= 0:
		case r.first < 0 || r.last < r.first || r.last == 1<<63-1 || (r.size >= 0 && r.last >= r.size):
			t.Fatalf("%q is understood as the impossible %+v", header, r)
		default:
			span = fmt.Sprintf("%d-%d", r.first, r.last)
		}
		if r.size >= 0 {
			size = strconv.FormatInt(r.size, 10)
		}
		if again, ok := parseContentRange("bytes " + span + "/" + size); !ok || again != r {
			t.Errorf("%q is understood as %+v, but what that means as %+v", header, r, again)
		}
	})
}

// FuzzRetryAfter checks that no header makes a reader wait into the past, or wait by mistake.
func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, seed := range []string{"", "0", "60", "-1", "1e3", "Fri, 02 Jan 2026 03:05:05 GMT", "Fri, 02 Jan 1026 03:05:05 GMT", "Friday, 02-Jan-26 03:05:05 GMT"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if d := retryAfter(header, now); d < 0 {
			t.Errorf("%q means %s", header, d)
		}
	})
}

// Only what the protocol allows is used to tell versions apart, and a malformed value is never sent back.
func TestCondition(t *testing.T) {
	old, sent := "Thu, 01 Jan 2026 00:00:00 GMT", "Fri, 02 Jan 2026 00:00:00 GMT"
	for name, c := range map[string]struct{ tag, modified, date, want string }{
		"strong tag":                 {`"a"`, old, sent, `"a"`},
		"empty tag":                  {`""`, "", "", `""`},
		"weak tag":                   {`W/"a"`, "", "", ""},
		"weak tag beside a date":     {`W/"a"`, old, sent, ""},
		"no quotes":                  {`a`, "", "", ""},
		"one quote":                  {`"`, "", "", ""},
		"quote in it":                {`"a"b"`, "", "", ""},
		"space in it":                {`"a b"`, "", "", ""},
		"line in it":                 {"\"a\nb\"", "", "", ""},
		"date":                       {"", old, sent, old},
		"date, no clock":             {"", old, "", ""},
		"date, changed just now":     {"", sent, sent, ""},
		"date in the future":         {"", sent, old, ""},
		"date that is none":          {"", "yesterday", sent, ""},
		"date with something behind": {"", old + "\n", sent, ""},
	} {
		v := versionOf(map[string][]string{"Etag": {c.tag}, "Last-Modified": {c.modified}, "Date": {c.date}})
		if got := v.condition(); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
