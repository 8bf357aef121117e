// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Upload is what a door calls the way of a disk to a host, which is no call of vCenter.
const Upload = "upload"

// leases are the leases of imports that went through a door. The simulator keeps a lease until it is completed and what was
// imported for ever: the doors end leases of which nobody says that they are needed, and remove what belonged to those that
// were aborted or ended, as vCenter is documented to.
type leases struct {
	mu sync.Mutex
	of map[string]*lease
	// timeout is in the place of the simulator's; 0 leaves it.
	timeout time.Duration
}

type lease struct {
	vm    types.ManagedObjectReference
	timer *time.Timer // nil while leases do not end
	ended chan struct{}
}

// ShortLeases has leases end when nobody has said for a while that they are needed, from now on. It is in whole seconds.
func (v *VCenter) ShortLeases(timeout time.Duration) {
	v.leases.mu.Lock()
	defer v.leases.mu.Unlock()
	v.leases.timeout = timeout
}

var (
	leasePattern   = regexp.MustCompile(`<_this[^>]*type="HttpNfcLease"[^>]*>([^<]+)<`)
	readPattern    = regexp.MustCompile(`<obj [^>]*type="HttpNfcLease"[^>]*>([^<]+)<`)
	entityPattern  = regexp.MustCompile(`<entity [^>]*type="VirtualMachine"[^>]*>([^<]+)<`)
	uploadPattern  = regexp.MustCompile(`<url>https?://[^<]*?/nfc/`)
	timeoutPattern = regexp.MustCompile(`<leaseTimeout>\d+</leaseTimeout>`)
)

// lease hands a question about a lease on. What it says of the host's address leads through the door.
func (d *Door) lease(w http.ResponseWriter, r *http.Request, body []byte) {
	id := ""
	if m := readPattern.FindSubmatch(body); m != nil {
		id = string(m[1])
	}
	if d.vcenter.leases.over(id) {
		gone(w, id)
		return
	}
	answer := httptest.NewRecorder()
	d.pass(answer, r, body)
	text := uploadPattern.ReplaceAll(answer.Body.Bytes(), []byte(`<url>https://`+d.Address()+`/nfc/`))
	if m := entityPattern.FindSubmatch(text); m != nil {
		timeout := d.vcenter.begin(r.Context(), id, string(m[1]))
		if timeout > 0 {
			text = timeoutPattern.ReplaceAll(text, fmt.Appendf(nil, `<leaseTimeout>%d</leaseTimeout>`, int(timeout.Seconds())))
		}
	}
	answer.Body = bytes.NewBuffer(text)
	answer.Header().Del("Content-Length")
	copyAnswer(w, answer)
}

// begin notes a lease that is ready, and returns how long it lives without a word.
func (v *VCenter) begin(ctx context.Context, id, vm string) time.Duration {
	ctx = context.WithoutCancel(ctx)
	v.leases.mu.Lock()
	defer v.leases.mu.Unlock()
	if v.leases.of == nil {
		v.leases.of = map[string]*lease{}
	}
	if v.leases.of[id] == nil {
		l := &lease{vm: types.ManagedObjectReference{Type: "VirtualMachine", Value: vm}, ended: make(chan struct{})}
		if v.leases.timeout > 0 {
			l.timer = time.AfterFunc(v.leases.timeout, func() {
				v.gate.Lock()
				defer v.gate.Unlock()
				v.undo(ctx, id)
			})
		}
		v.leases.of[id] = l
	}
	return v.leases.timeout
}

// over tells whether a lease has ended.
func (l *leases) over(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.of[id]
	return known != nil && known.over()
}

func (l *lease) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// renew notes that a lease is still needed.
func (l *leases) renew(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.of[id]; known != nil && known.timer != nil {
		known.timer.Reset(l.timeout)
	}
}

// end ends a lease. It returns nil when it had ended before.
func (l *leases) end(id string) *lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.of[id]
	if known == nil || known.over() {
		return nil
	}
	close(known.ended)
	if known.timer != nil {
		known.timer.Stop()
	}
	return known
}

// undo ends a lease with what was made for it. The gate is held by the caller.
func (v *VCenter) undo(ctx context.Context, id string) {
	if l := v.leases.end(id); l != nil {
		_ = wait(ctx)(object.NewVirtualMachine(v.Admin.Client, l.vm).Destroy(ctx))
	}
}

// leased does what a call is about that names a lease, after it was answered. The gate is held by the caller.
func (v *VCenter) leased(ctx context.Context, method string, body []byte) {
	m := leasePattern.FindSubmatch(body)
	switch {
	case method == "ImportVApp":
		v.awaitImport(ctx)
	case m == nil:
	case method == "HttpNfcLeaseComplete":
		v.leases.end(string(m[1]))
	case method == "HttpNfcLeaseAbort":
		v.undo(ctx, string(m[1]))
	}
}

// awaitImport waits until no import is being begun any more.
func (v *VCenter) awaitImport(ctx context.Context) {
	for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		var manager mo.TaskManager
		if err := v.Admin.RetrieveOne(ctx, *v.Admin.ServiceContent.TaskManager, []string{"recentTask"}, &manager); err != nil || len(manager.RecentTask) == 0 {
			return
		}
		var tasks []mo.Task
		if err := v.Admin.Retrieve(ctx, manager.RecentTask, []string{"info.state", "info.descriptionId"}, &tasks); err != nil {
			return
		}
		busy := false
		for i := range tasks {
			state := tasks[i].Info.State
			busy = busy || strings.HasSuffix(tasks[i].Info.DescriptionId, "ImportVAppLRO") &&
				(state == types.TaskInfoStateQueued || state == types.TaskInfoStateRunning)
		}
		if !busy {
			return
		}
	}
}

// progress hands on that a lease is still needed, if it is there.
func (d *Door) progress(w http.ResponseWriter, r *http.Request, body []byte) {
	id := ""
	if m := leasePattern.FindSubmatch(body); m != nil {
		id = string(m[1])
	}
	if d.vcenter.leases.over(id) {
		gone(w, id)
		return
	}
	d.vcenter.leases.renew(id)
	d.pass(w, r, body)
}

// upload hands a disk on, as long as its lease lives. It is judged as a call is.
func (d *Door) upload(w http.ResponseWriter, r *http.Request) {
	verdict := d.judged(Upload)
	parts := strings.Split(r.URL.Path, "/")
	id := parts[max(len(parts)-2, 0)]
	d.vcenter.leases.mu.Lock()
	l := d.vcenter.leases.of[id]
	d.vcenter.leases.mu.Unlock()
	if l == nil {
		http.NotFound(w, r)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-l.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	switch verdict {
	case Drop:
		hangUp(w)
	case Hang:
		// Only while a request is read is it noticed that the caller has hung up.
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			<-ctx.Done()
		}
	case Lose:
		d.proxy.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
		hangUp(w)
	case Expire:
		_ = d.vcenter.EndSessions(ctx)
		d.proxy.ServeHTTP(w, r.WithContext(ctx))
	case Refuse:
		w.WriteHeader(http.StatusForbidden)
	case Pass:
		d.proxy.ServeHTTP(w, r.WithContext(ctx))
	}
}

func gone(w http.ResponseWriter, id string) {
	answerSOAP(w, http.StatusInternalServerError, `<Fault xmlns="http://schemas.xmlsoap.org/soap/envelope/"><faultcode xmlns="">ServerFaultCode</faultcode>`+
		`<faultstring xmlns="">The lease has timed out.</faultstring><detail xmlns="">`+
		`<ManagedObjectNotFoundFault xmlns="urn:vim25" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="ManagedObjectNotFound">`+
		`<obj type="HttpNfcLease">`+id+`</obj></ManagedObjectNotFoundFault></detail></Fault>`)
}
