// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
)

// Deny takes privileges from the user who comes through the door, on everything, until allow is called: what the user is asked
// to have is answered without them. The simulator knows no permissions, and does what is asked of it all the same.
func (d *Door) Deny(privileges ...string) (allow func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.denied = append(d.denied, privileges...)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.denied = slices.DeleteFunc(d.denied, func(p string) bool { return slices.Contains(privileges, p) })
	}
}

// tellPrivileges hands the question on which privileges a user has, and takes those that are denied out of the answer.
func (d *Door) tellPrivileges(w http.ResponseWriter, r *http.Request, body []byte) {
	answer := httptest.NewRecorder()
	d.pass(answer, r, body)
	told := answer.Body.String()
	d.mu.Lock()
	for _, privilege := range d.denied {
		told = strings.ReplaceAll(told, "<privileges>"+privilege+"</privileges>", "")
	}
	d.mu.Unlock()
	answer.Header().Del("Content-Length")
	answer.Body.Reset()
	answer.Body.WriteString(told)
	copyAnswer(w, answer)
}
