// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// file is one on a server, and how to ask for it.
type file struct {
	client   *http.Client
	address  string
	declared int64
	// addressed says that the address itself names the bytes, so that there are no versions to be told apart.
	addressed bool
}

// get asks for the file from a byte on. The condition is for If-Range.
func (f *file) get(ctx context.Context, from int64, condition string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.address, nil)
	if err != nil {
		return nil, lasting(fmt.Errorf("%w: %w", ErrFormat, withoutURL(err)))
	}
	// The digest is over the bytes as published: no encoding on the way.
	req.Header.Set("Accept-Encoding", "identity")
	if from > 0 {
		req.Header.Set("Range", f.from(from))
		if condition != "" && !f.addressed {
			req.Header.Set("If-Range", condition)
		}
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	return resp, nil
}

// from is the value for Range. Usually it has no end, so that a file that is longer than declared shows. There are
// registries that want one; their address is proof enough of what the file is.
func (f *file) from(first int64) string {
	if f.addressed && first < f.declared {
		return fmt.Sprintf("bytes=%d-%d", first, f.declared-1)
	}
	return fmt.Sprintf("bytes=%d-", first)
}

// connection is one answer of a server while it is being read.
type connection struct {
	ctx   context.Context //nolint:containedctx // the connection is an open stream; its context ends with it
	end   context.CancelCauseFunc
	guard *guard
	body  io.Closer
	from  io.Reader
	// first is the position of the first byte in the file.
	first int64
	// whole says that the end of the answer is the end of the file: it is all of it, and its length is told or marked.
	whole   bool
	version version
	err     error
}

// Read implements io.Reader. After the first error it keeps returning that error.
func (c *connection) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	c.guard.arm()
	n, err := c.from.Read(p)
	c.guard.disarm()
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(c.ctx); cause != nil {
			err = cause
		}
	}
	c.err = err
	if n > 0 {
		err = nil
	}
	return n, err
}

// Close implements io.Closer.
func (c *connection) Close() error {
	c.guard.disarm()
	c.end(nil)
	return c.body.Close()
}

// lastingError is one that another attempt cannot mend.
type lastingError struct{ error }

// Unwrap gives access to the error.
func (e lastingError) Unwrap() error { return e.error }

func lasting(err error) error {
	if err == nil {
		return nil
	}
	return lastingError{err}
}

func changed() error {
	return lasting(fmt.Errorf("%w: the file changed while it was being read", ErrSource))
}

// busyError is a server that cannot answer now.
type busyError struct {
	status int
	// after is how long it asks to be left alone.
	after time.Duration
}

// Error implements error.
func (e busyError) Error() string { return answered(e.status) }

// answered names an answer without the words of the server, which may be anything.
func answered(status int) string {
	return strings.TrimSpace(fmt.Sprintf("the server answered %d %s", status, http.StatusText(status)))
}

// place finds out what an answer to a request for the bytes from wanted on holds, and marks the connection with it.
func (s *stream) place(c *connection, resp *http.Response, wanted int64) error {
	part, ok := parseContentRange(resp.Header.Get("Content-Range"))
	switch status := resp.StatusCode; {
	case status == http.StatusOK:
		c.first = 0
		c.whole = resp.ContentLength >= 0 || len(resp.TransferEncoding) > 0 || resp.ProtoMajor > 1
		if resp.ContentLength >= 0 {
			return lasting(checkSize(resp.ContentLength, s.file.declared))
		}
		return nil
	case status == http.StatusPartialContent && ok && part.first == wanted:
		c.first = wanted
		c.from = io.LimitReader(resp.Body, part.last-part.first+1)
		return s.placePart(c, part)
	case status == http.StatusPartialContent:
		s.noRanges = true
		return fmt.Errorf("the server was asked for the bytes from %d on and sent others", wanted)
	case status == http.StatusRequestedRangeNotSatisfiable && wanted > 0:
		if ok {
			if err := checkSize(part.size, s.file.declared); err != nil {
				return lasting(err)
			}
		}
		if wanted >= s.file.declared {
			// There is nothing beyond the last byte. That was to be found out.
			c.first, c.whole, c.from = wanted, true, strings.NewReader("")
			return nil
		}
		s.noRanges = true
		return errors.New(answered(status))
	case status >= http.StatusInternalServerError, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return busyError{status: status, after: retryAfter(resp.Header.Get("Retry-After"), s.clock.Now())}
	default:
		return lasting(fmt.Errorf("%w: %s", ErrSource, answered(status)))
	}
}

// placePart checks that a part is one of the file that was being read.
func (s *stream) placePart(c *connection, part contentRange) error {
	if part.size >= 0 {
		if err := checkSize(part.size, s.file.declared); err != nil {
			return lasting(err)
		}
	}
	if s.file.addressed || c.first == 0 {
		return nil
	}
	if s.version.differs(c.version) {
		return changed()
	}
	s.joined = s.joined || !s.version.proves(c.version)
	return nil
}

// withoutURL takes URLs out of an error of net/http: they may hold secrets, and the caller names the source anyway.
func withoutURL(err error) error {
	for {
		located, ok := errors.AsType[*url.Error](err)
		if !ok {
			break
		}
		err = located.Err
	}
	switch {
	case errors.Is(err, io.EOF):
		// Nobody may take it for the end of the file.
		return errors.New("the connection was closed without an answer")
	case strings.Contains(err.Error(), "Location header"):
		return errors.New("the server redirects to something that is not a URL")
	default:
		return err
	}
}
