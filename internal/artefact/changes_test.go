// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/artefact"
)

// A server that does not know Range is read from the beginning, and what was handed on is not handed on again.
func TestServerWithoutRanges(t *testing.T) {
	for _, compression := range []string{"None", "gzip", "zstd", "xz", "bzip2"} {
		file := compress(t, compression, plain())
		for _, cut := range []int{1, len(file) / 2, len(file) - 1} {
			server := &flaky{file: file, cuts: []int{cut}, noRanges: true}
			got, err := forward(t, artefact.Opener{Clock: &hurried{}}, server.serve(t, compression))
			if err != nil || !bytes.Equal(got, plain()) {
				t.Errorf("%s cut at %d: %d bytes, %v", compression, cut, len(got), err)
			}
			if _, sent := server.seen(); sent != cut+len(file) {
				t.Errorf("%s cut at %d: %d bytes crossed the wire, want %d", compression, cut, sent, cut+len(file))
			}
		}
	}
}

// Reading again is bounded: once the size of the file was read twice, the copy ends. That a connection breaks while
// the old part is read again is no progress.
func TestServerWithoutRangesIsBounded(t *testing.T) {
	server := &flaky{file: noise(1000), cuts: []int{600, 300, 300, 300, 300}, noRanges: true}
	_, err := forward(t, artefact.Opener{Clock: &hurried{}}, server.serve(t, ""))
	if !errors.Is(err, artefact.ErrSource) || !strings.Contains(err.Error(), "after 600 of 1000 bytes") || !strings.Contains(err.Error(), "read twice") {
		t.Errorf("got %v, want %q that says why", err, artefact.ErrSource)
	}
	if requests, sent := server.seen(); len(requests) != 4 || sent > 3000 {
		t.Errorf("%d requests and %d bytes, want an end with the fourth", len(requests), sent)
	}
}

// A source that is read again is not silent, however long it takes to come to something new.
func TestReadingAgainIsNoSilence(t *testing.T) {
	server := &flaky{file: noise(1000), cuts: []int{900}, noRanges: true}
	server.answer = func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n != 1 {
			return false
		}
		w.Header().Set("Content-Length", "1000")
		for i := range 10 {
			server.send(w, server.file[100*i:100*(i+1)])
			time.Sleep(300 * time.Millisecond)
		}
		return true
	}
	if _, err := forward(t, artefact.Opener{Clock: &hurried{}, Stall: 2 * time.Second}, server.serve(t, "")); err != nil {
		t.Error(err)
	}
}

// Answers to a request for a part that are not that part. The server is then asked for the whole; it is the server that
// is strange, not the file.
func TestStrangeParts(t *testing.T) {
	for name, headers := range map[string]http.Header{
		"another part":      {"Content-Range": {"bytes 500-999/1000"}},
		"from zero":         {"Content-Range": {"bytes 0-599/1000"}},
		"no range":          {},
		"not bytes":         {"Content-Range": {"lines 400-999/1000"}},
		"impossible":        {"Content-Range": {"bytes 400-1000/1000"}},
		"backwards":         {"Content-Range": {"bytes 400-399/1000"}},
		"overflow":          {"Content-Range": {"bytes 400-99999999999999999999/1000"}},
		"several parts":     {"Content-Type": {"multipart/byteranges; boundary=x"}},
		"no such part":      {"Content-Range": {"bytes */1000"}},
		"no part, no range": nil,
	} {
		t.Run(name, func(t *testing.T) {
			server := &flaky{file: noise(1000), cuts: []int{400}}
			server.answer = func(n int, w http.ResponseWriter, _ *http.Request) bool {
				if n != 1 {
					return false
				}
				maps.Copy(w.Header(), headers)
				if headers == nil || name == "no such part" {
					w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
					return true
				}
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(bytes.Repeat([]byte("wrong "), 100))
				return true
			}
			got, err := forward(t, artefact.Opener{Clock: &hurried{}}, server.serve(t, ""))
			if err != nil || !bytes.Equal(got, server.file) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if requests, _ := server.seen(); len(requests) != 3 || requests[2].Get("Range") != "" {
				t.Errorf("%d requests, want a third one without Range", len(requests))
			}
		})
	}
}

// A server may send less than was asked for. What it says that it sends counts, not what follows.
func TestSmallParts(t *testing.T) {
	server := &flaky{file: noise(1000), cuts: []int{100}}
	server.answer = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 0 {
			return false
		}
		first, _ := server.wanted(r)
		last := min(first+99, 999)
		total := "1000"
		if n%2 == 0 {
			total = "*"
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%s", first, last, total))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(append(bytes.Clone(server.file[first:last+1]), "beyond"...))
		return true
	}
	got, err := forward(t, artefact.Opener{Clock: &hurried{}}, server.serve(t, ""))
	if err != nil || !bytes.Equal(got, server.file) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if requests, _ := server.seen(); len(requests) != 10 {
		t.Errorf("%d requests, want 10", len(requests))
	}
}

// A file that is replaced at the source while it is read never becomes part of the copy, and is only called other
// bytes than declared if it is certain that the file as it is now cannot be the declared one.
func TestFileChanges(t *testing.T) {
	old, other := noise(1000), bytes.Repeat([]byte("other "), 200)[:1000]
	sameStart := append(bytes.Clone(old[:400]), other[400:]...)
	long := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Format(http.TimeFormat)
	later := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC).Format(http.TimeFormat)
	now := time.Now().UTC().Format(http.TimeFormat)
	tag := func(s string) http.Header { return http.Header{"Etag": {s}} }
	date := func(s string) http.Header { return http.Header{"Last-Modified": {s}} }
	for name, c := range map[string]struct {
		before, after http.Header
		file          []byte
		// ignorant servers answer with the part that was asked for, whatever If-Range says.
		ignorant  bool
		condition string
		want      error
		says      string
	}{
		"other tag":                         {tag(`"1"`), tag(`"2"`), other, false, `"1"`, artefact.ErrSource, "changed while"},
		"other tag, ignorant":               {tag(`"1"`), tag(`"2"`), other, true, `"1"`, artefact.ErrSource, "changed while"},
		"other tag, other size":             {tag(`"1"`), tag(`"2"`), other[:999], false, `"1"`, artefact.ErrMismatch, "it has 999 bytes, declared are 1000"},
		"other tag, other size, ignorant":   {tag(`"1"`), tag(`"2"`), append(other, 0), true, `"1"`, artefact.ErrMismatch, "it has 1001 bytes, declared are 1000"},
		"shorter than what was read":        {tag(`"1"`), tag(`"2"`), other[:300], true, `"1"`, artefact.ErrMismatch, "it has 300 bytes, declared are 1000"},
		"other tag, same file":              {tag(`"1"`), tag(`"2"`), old, false, `"1"`, nil, ""},
		"weak tag":                          {tag(`W/"1"`), tag(`W/"2"`), other, false, "", artefact.ErrSource, "changed while"},
		"weak tag, same file":               {tag(`W/"1"`), tag(`W/"1"`), old, false, "", nil, ""},
		"same weak tag":                     {tag(`W/"1"`), tag(`W/"1"`), other, false, "", artefact.ErrSource, "different versions"},
		"malformed tag":                     {tag("1"), tag("1"), other, false, "", artefact.ErrSource, "different versions"},
		"date":                              {date(long), date(later), other, false, long, artefact.ErrSource, "changed while"},
		"date, ignorant":                    {date(long), date(later), other, true, long, artefact.ErrSource, "changed while"},
		"date, same file":                   {date(long), date(long), old, false, long, nil, ""},
		"date that is too young":            {date(now), date(now), other, false, "", artefact.ErrSource, "different versions"},
		"nothing told":                      {nil, nil, other, false, "", artefact.ErrSource, "different versions"},
		"nothing told, same file":           {nil, nil, old, false, "", nil, ""},
		"no tag any more":                   {tag(`"1"`), nil, other, true, `"1"`, artefact.ErrSource, "different versions"},
		"the same tag for other bytes":      {tag(`"1"`), tag(`"1"`), other, false, `"1"`, artefact.ErrMismatch, "its sha256 is"},
		"the same date for other bytes":     {date(long), date(long), other, false, long, artefact.ErrMismatch, "its sha256 is"},
		"other tag, a part that is as read": {tag(`"1"`), tag(`"2"`), sameStart, false, `"1"`, artefact.ErrMismatch, "its sha256 is"},
	} {
		t.Run(name, func(t *testing.T) {
			server := &flaky{file: old, cuts: []int{400}, version: c.before}
			source := server.serve(t, "")
			server.answer = func(n int, _ http.ResponseWriter, r *http.Request) bool {
				if n == 1 {
					server.file, server.version = c.file, c.after
					if got := r.Header.Get("If-Range"); got != c.condition {
						t.Errorf("If-Range is %q, want %q", got, c.condition)
					}
					if c.ignorant {
						r.Header.Del("If-Range")
					}
				}
				return false
			}
			got, err := forward(t, artefact.Opener{Clock: &hurried{}}, source)
			switch {
			case !errors.Is(err, c.want) || (err != nil && !strings.Contains(err.Error(), c.says)):
				t.Errorf("got %v, want %v that says %q", err, c.want, c.says)
			case c.want == nil && !bytes.Equal(got, old):
				t.Errorf("%d bytes, want those of the file", len(got))
			}
			if requests, _ := server.seen(); len(requests) != 2 {
				t.Errorf("%d requests, want 2: the second one tells", len(requests))
			}
		})
	}
}

// Whoever reads a file again and finds it as it was has read one file, whatever was joined before. What it is not, it
// is not.
func TestReadingAgainProves(t *testing.T) {
	server := &flaky{file: noise(1000), cuts: []int{400, 200}}
	server.answer = func(n int, _ http.ResponseWriter, _ *http.Request) bool {
		server.noRanges = n == 2
		return false
	}
	source := server.serve(t, "")
	source.SHA256 = digest([]byte("another file"))
	if _, err := forward(t, artefact.Opener{Clock: &hurried{}}, source); !errors.Is(err, artefact.ErrMismatch) {
		t.Errorf("got %v, want %q", err, artefact.ErrMismatch)
	}
}

// A file that became shorter than what was read of it has changed, also if its size is not told.
func TestFileShrinks(t *testing.T) {
	server := &flaky{file: noise(1000), cuts: []int{400}}
	server.answer = func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n > 0 {
			server.send(w, server.file[:300])
		}
		return n > 0
	}
	_, err := forward(t, artefact.Opener{Clock: &hurried{}}, server.serve(t, ""))
	if !errors.Is(err, artefact.ErrSource) || !strings.Contains(err.Error(), "changed while") {
		t.Errorf("got %v, want %q that says so", err, artefact.ErrSource)
	}
	if requests, _ := server.seen(); len(requests) != 2 {
		t.Errorf("%d requests, want 2", len(requests))
	}
}

// A source that does not tell the size of its file is believed to have sent all of it only if it marked the end.
func TestEndThatIsNotTold(t *testing.T) {
	file := noise(1000)
	for name, c := range map[string]struct {
		first   string
		want    error
		sent    int
		request string
	}{
		"closed in the middle": {"HTTP/1.0 200 OK\r\n\r\n" + string(file[:400]), nil, 600, "bytes=400-"},
		"closed at the end":    {"HTTP/1.0 200 OK\r\n\r\n" + string(file), nil, 0, ""},
		"marked in the middle": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n190\r\n" + string(file[:400]) + "\r\n0\r\n\r\n", artefact.ErrMismatch, 0, ""},
		"broken in the middle": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n190\r\n" + string(file[:400]) + "\r\n", nil, 600, "bytes=400-"},
		"broken at the end":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + string(file) + "\r\n", nil, 0, "bytes=1000-"},
	} {
		t.Run(name, func(t *testing.T) {
			server := &flaky{file: file}
			server.answer = func(n int, w http.ResponseWriter, _ *http.Request) bool {
				if n > 0 {
					return false
				}
				conn, out, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return true
				}
				_, _ = out.WriteString(c.first)
				_ = out.Flush()
				_ = conn.Close()
				return true
			}
			got, err := forward(t, artefact.Opener{Clock: &hurried{}}, server.serve(t, ""))
			if !errors.Is(err, c.want) || (c.want == nil && !bytes.Equal(got, file)) {
				t.Errorf("%d bytes, %v, want %v", len(got), err, c.want)
			}
			requests, sent := server.seen()
			if last := requests[len(requests)-1].Get("Range"); sent != c.sent || last != c.request {
				t.Errorf("%d bytes more, the last request was for %q; want %d and %q", sent, last, c.sent, c.request)
			}
		})
	}
}
