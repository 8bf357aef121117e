// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// contentRange says which bytes of a file an answer holds.
type contentRange struct {
	// first and last are positions in the file. Both are -1 when the answer holds none (416).
	first, last int64
	// size is that of the whole file, -1 if the server does not tell.
	size int64
}

// parseContentRange reads a Content-Range header. It reports false for everything that is not exactly one possible
// range of bytes, or the size of the file alone.
func parseContentRange(header string) (contentRange, bool) {
	none := contentRange{first: -1, last: -1, size: -1}
	unit, value, _ := strings.Cut(header, " ")
	span, total, ok := strings.Cut(value, "/")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return none, false
	}
	r := none
	if total != "*" {
		if r.size, ok = position(total); !ok {
			return none, false
		}
	}
	if span == "*" {
		return r, r.size >= 0
	}
	first, last, _ := strings.Cut(span, "-")
	var known bool
	r.first, ok = position(first)
	r.last, known = position(last)
	if !ok || !known || r.last < r.first || (r.size >= 0 && r.last >= r.size) {
		return none, false
	}
	return r, true
}

// position reads a number of bytes: digits and nothing else, and small enough to be counted on from.
func position(digits string) (int64, bool) {
	if strings.ContainsFunc(digits, func(c rune) bool { return c < '0' || c > '9' }) {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil && n < 1<<62
}

// retryAfter reads a Retry-After header: seconds or a date. It is 0 when there is none, or none that makes sense.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, ok := position(header); ok {
		return time.Duration(min(seconds, 1<<30)) * time.Second
	}
	if date, err := http.ParseTime(header); err == nil {
		return max(date.Sub(now), 0)
	}
	return 0
}

// version is what a server tells to distinguish versions of a file.
type version struct {
	tag, modified string
	// settled says that modified was long past when the file was sent, so that a second change would have another date.
	settled bool
}

func versionOf(h http.Header) version {
	v := version{tag: h.Get("Etag"), modified: h.Get("Last-Modified")}
	modified, err := http.ParseTime(v.modified)
	if err != nil {
		v.modified = ""
		return v
	}
	sent, err := http.ParseTime(h.Get("Date"))
	v.settled = err == nil && sent.Sub(modified) >= time.Minute
	return v
}

// condition is the value for If-Range. It is empty when nothing that the server told may be used there: weak tags may
// not, nor a date beside a tag, nor a date that is too young.
func (v version) condition() string {
	switch {
	case isStrong(v.tag):
		return v.tag
	case v.tag == "" && v.settled:
		return v.modified
	default:
		return ""
	}
}

// differs says that two answers are certainly about different versions.
func (v version) differs(other version) bool {
	if v.tag != "" && other.tag != "" {
		return strings.TrimPrefix(v.tag, "W/") != strings.TrimPrefix(other.tag, "W/")
	}
	return v.tag == "" && other.tag == "" && v.modified != "" && other.modified != "" && v.modified != other.modified
}

// proves says that part, the answer to a request with v's condition, is of the same version. A date is not repeated in
// such an answer, a tag is.
func (v version) proves(part version) bool {
	if isStrong(v.tag) {
		return v.tag == part.tag
	}
	return v.condition() != "" && !v.differs(part)
}

// isStrong says whether a tag identifies bytes. One that is malformed identifies nothing.
func isStrong(tag string) bool {
	if len(tag) < 2 || tag[0] != '"' || tag[len(tag)-1] != '"' {
		return false
	}
	for _, c := range []byte(tag[1 : len(tag)-1]) {
		if c < 0x21 || c == '"' || c == 0x7f {
			return false
		}
	}
	return true
}
