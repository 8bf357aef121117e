// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"bytes"
	"cmp"
	"context"
	"encoding/pem"
	"encoding/xml"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Verdict is what a door does with a call.
type Verdict int

const (
	// Pass hands the call on, and its answer back.
	Pass Verdict = iota
	// Drop ends the connection: the call never happens.
	Drop
	// Lose hands the call on, waits until whatever it began has ended, and ends the connection.
	Lose
	// Expire ends all sessions before it hands the call on.
	Expire
	// Hang takes the call and never answers. It lasts until the caller has hung up.
	Hang
	// Refuse answers that the caller may not do that, as vCenter does where a privilege is missing.
	Refuse
)

// String is what a verdict does.
func (v Verdict) String() string {
	return [...]string{"pass", "drop", "lose", "expire", "hang", "refuse"}[v]
}

// Door is one way to a vCenter.
type Door struct {
	vcenter *VCenter
	server  *httptest.Server
	proxy   *httputil.ReverseProxy

	mu     sync.Mutex
	judge  func(method string) Verdict
	saw    func(method string, call []byte) (answered func(answer []byte))
	calls  map[string]int
	hidden *hidden // nil while everything may be seen
	denied []string
	unfit  map[string]bool // the datastores that are compatible with no storage policy, by their references; "" means all
}

// Door opens a way to the vCenter.
func (v *VCenter) Door() *Door {
	d := &Door{vcenter: v, calls: map[string]int{}}
	d.Judge(nil)
	d.proxy = httputil.NewSingleHostReverseProxy(&url.URL{Scheme: v.server.URL.Scheme, Host: v.server.URL.Host})
	d.proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { hangUp(w) }
	d.server = httptest.NewTLSServer(d)
	return d
}

// Close closes the door. Whoever came through it must have gone.
func (d *Door) Close() {
	d.server.CloseClientConnections()
	d.server.Close()
}

// Address is host and port.
func (d *Door) Address() string { return d.server.Listener.Addr().String() }

// CA is the certificate of the door's authority in PEM.
func (d *Door) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.server.Certificate().Raw})
}

// Thumbprint is the SHA-256 fingerprint of the door's certificate.
func (d *Door) Thumbprint() string { return soap.ThumbprintSHA256(d.server.Certificate()) }

// Judge has every call judged by the name of its method from now on; nil lets every call pass.
func (d *Door) Judge(judge func(method string) Verdict) {
	if judge == nil {
		judge = func(string) Verdict { return Pass }
	}
	d.mu.Lock()
	d.judge = judge
	d.mu.Unlock()
}

// Witness has every call shown that comes from now on, before it waits for anything.
func (d *Door) Witness(saw func(method string, call []byte)) {
	d.WitnessAnswers(func(method string, call []byte) (answered func(answer []byte)) {
		saw(method, call)
		return nil
	})
}

// WitnessAnswers has every call shown that comes from now on, before it waits for anything, and then its answer, when that has gone
// out, to what the witness returned, unless that is nil.
func (d *Door) WitnessAnswers(saw func(method string, call []byte) (answered func(answer []byte))) {
	d.mu.Lock()
	d.saw = saw
	d.mu.Unlock()
}

// Shut drops every call until open is called.
func (d *Door) Shut() (open func()) {
	d.mu.Lock()
	before := d.judge
	d.judge = func(string) Verdict { return Drop }
	d.mu.Unlock()
	d.server.CloseClientConnections()
	return func() { d.Judge(before) }
}

// Calls are how many calls of each method came.
func (d *Door) Calls() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.calls)
}

// ServeHTTP implements http.Handler.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/nfc/") {
		d.upload(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		hangUp(w)
		return
	}
	inSOAP := methodOf(body)
	method := cmp.Or(restMethod(r), inSOAP)
	w, answered := d.shown(w, method, body)
	defer answered()
	verdict := d.judged(method)
	if verdict == Expire && restMethod(r) != "" {
		w.WriteHeader(http.StatusUnauthorized) // as for a session that has ended
		return
	}
	if verdict == Expire {
		_ = d.vcenter.EndSessions(r.Context())
	}
	if verdict == Pass && d.hides(w, inSOAP, body) {
		return
	}
	switch {
	case verdict == Drop:
		hangUp(w)
	case verdict == Hang:
		<-r.Context().Done()
	case verdict == Refuse:
		refuse(w, "ManagedEntity", "-")
	case verdict == Pass && method == "PbmCheckCompatibility" && d.someUnfit():
		d.tellFit(w, body)
	case verdict == Lose && !Effects(method):
		d.hand(httptest.NewRecorder(), r, body, method, verdict)
		hangUp(w)
	default:
		d.hand(w, r, body, method, verdict)
	}
}

// hand hands a call on that is to happen.
func (d *Door) hand(w http.ResponseWriter, r *http.Request, body []byte, method string, verdict Verdict) {
	switch {
	case method == "FetchUserPrivilegeOnEntities":
		d.tellPrivileges(w, r, body)
	case method == "WaitForUpdatesEx":
		d.waitForUpdates(w, r, body)
	case method == "ShutdownGuest" && d.vcenter.hears(body):
		if verdict == Lose {
			hangUp(w)
			return
		}
		answerSOAP(w, http.StatusOK, `<ShutdownGuestResponse xmlns="urn:vim25"/>`)
	case Effects(method):
		d.change(r.Context(), w, r, body, method, verdict)
	case method == "HttpNfcLeaseProgress":
		d.progress(w, r, body)
	case bytes.Contains(body, []byte(`type="HttpNfcLease"`)):
		d.lease(w, r, body)
	case method == "Logout":
		// The simulator takes the locks of a session's objects in another order than the wait for changes does.
		d.vcenter.gate.Lock()
		defer d.vcenter.gate.Unlock()
		d.pass(w, r, body)
	case bytes.Contains(body, []byte(`type="ContainerView"`)):
		d.vcenter.gate.RLock()
		defer d.vcenter.gate.RUnlock()
		d.pass(w, r, body)
	default:
		d.pass(w, r, body)
	}
}

// judged counts a call, and returns what is to be done with it.
func (d *Door) judged(method string) Verdict {
	d.mu.Lock()
	d.calls[method]++
	judge := d.judge
	d.mu.Unlock()
	return judge(method)
}

// shown shows a call to the witness. The writer that it returns keeps what is answered, where the witness wants to see it.
func (d *Door) shown(w http.ResponseWriter, method string, body []byte) (kept http.ResponseWriter, answered func()) {
	d.mu.Lock()
	saw := d.saw
	d.mu.Unlock()
	if saw == nil {
		return w, func() {}
	}
	tell := saw(method, body)
	if tell == nil {
		return w, func() {}
	}
	k := &keeper{ResponseWriter: w}
	return k, func() { tell(k.answer.Bytes()) }
}

// keeper keeps a copy of what is answered.
type keeper struct {
	http.ResponseWriter

	answer bytes.Buffer
}

func (k *keeper) Write(p []byte) (int, error) {
	k.answer.Write(p)
	return k.ResponseWriter.Write(p)
}

// Unwrap lets the connection be hung up.
func (k *keeper) Unwrap() http.ResponseWriter { return k.ResponseWriter }

var thisPattern = regexp.MustCompile(`<_this[^>]*>([^<]+)<`)

// hears lets the guest of a running virtual machine hear that it is to shut down. It does not obey: the simulator's would, at
// once.
func (v *VCenter) hears(body []byte) bool {
	m := thisPattern.FindSubmatch(body)
	if m == nil {
		return false
	}
	vm, is := v.model.Map().Get(types.ManagedObjectReference{Type: "VirtualMachine", Value: string(m[1])}).(*simulator.VirtualMachine)
	v.gate.Lock()
	defer v.gate.Unlock()
	if !is || vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked[vm.Config.InstanceUuid]++
	return true
}

// pass hands a call on, and waits for its answer also when nobody does any more: the simulator would work on beside what comes
// next.
func (d *Door) pass(w http.ResponseWriter, r *http.Request, body []byte) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	r = r.Clone(ctx)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	d.proxy.ServeHTTP(w, r)
}

// change hands a call on that changes something, and keeps everything else out until that has ended. The answer comes
// before.
func (d *Door) change(ctx context.Context, w http.ResponseWriter, r *http.Request, body []byte, method string, verdict Verdict) {
	d.vcenter.gate.Lock()
	body, failing := d.vcenter.withoutStart(method, body)
	answer := httptest.NewRecorder()
	if snapshot := d.vcenter.lostSnapshot(method, body); snapshot != "" {
		notFound(answer, "VirtualMachineSnapshot", snapshot)
	} else {
		d.pass(answer, r, body)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer d.vcenter.gate.Unlock()
		made := d.await(ctx, answer.Body.Bytes())
		defer func() {
			if failing {
				d.vcenter.failStart(taskOf(answer.Body.Bytes()))
			}
		}()
		if method == "CloneVM_Task" {
			if err := d.vcenter.fulfil(context.WithoutCancel(ctx), body, made); err != nil {
				d.vcenter.unfulfilled(err)
			}
		}
		d.vcenter.leased(context.WithoutCancel(ctx), method, body)
		d.vcenter.forgetTasks()
	}()
	if verdict == Lose || failing {
		<-ended
	}
	if verdict == Lose {
		hangUp(w)
		return
	}
	copyAnswer(w, answer)
}

var (
	waitPattern    = regexp.MustCompile(`<maxWaitSeconds>(\d+)</maxWaitSeconds>`)
	versionPattern = regexp.MustCompile(`<returnval`)
)

// waitForUpdates asks again and again until there is an answer, or the caller's time is over.
func (d *Door) waitForUpdates(w http.ResponseWriter, r *http.Request, body []byte) {
	seconds := 0
	if m := waitPattern.FindSubmatch(body); m != nil {
		seconds, _ = strconv.Atoi(string(m[1]))
	}
	body = waitPattern.ReplaceAll(body, []byte(`<maxWaitSeconds>0</maxWaitSeconds>`))
	for end := time.Now().Add(time.Duration(seconds) * time.Second); ; {
		answer := httptest.NewRecorder()
		d.vcenter.gate.RLock()
		d.pass(answer, r, body)
		d.vcenter.gate.RUnlock()
		if d.hides(w, "WaitForUpdatesEx", body) {
			return
		}
		if answer.Code != http.StatusOK || versionPattern.Match(answer.Body.Bytes()) || !time.Now().Before(end) {
			copyAnswer(w, answer)
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func copyAnswer(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// hangUp ends the connection without an answer.
func hangUp(w http.ResponseWriter) {
	if connection, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = connection.Close()
	}
}

var taskPattern = regexp.MustCompile(`<returnval[^>]*type="Task"[^>]*>([^<]+)<`)

// await waits for the end of the task in an answer, if there is one, and returns what it has made.
func (d *Door) await(ctx context.Context, answer []byte) (made any) {
	if ref := taskOf(answer); ref.Value != "" {
		if info, err := object.NewTask(d.vcenter.Admin.Client, ref).WaitForResult(context.WithoutCancel(ctx)); err == nil {
			return info.Result
		}
	}
	return nil
}

// taskOf is the task in an answer; the zero reference when there is none.
func taskOf(answer []byte) (task types.ManagedObjectReference) {
	if m := taskPattern.FindSubmatch(answer); m != nil {
		task = types.ManagedObjectReference{Type: "Task", Value: string(m[1])}
	}
	return task
}

// methodOf is the name of the method that a call names.
func methodOf(body []byte) string {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	inside := false
	for {
		token, err := decoder.Token()
		if err != nil {
			return ""
		}
		if start, is := token.(xml.StartElement); is {
			if inside {
				return start.Name.Local
			}
			inside = strings.EqualFold(start.Name.Local, "Body")
		}
	}
}

// Effects are the methods that change something.
func Effects(method string) bool {
	switch method {
	case "CloneVM_Task", "PowerOnVM_Task", "PowerOffVM_Task", "Destroy_Task", "ReconfigVM_Task", "CreateSnapshot_Task", "MarkAsTemplate", "ShutdownGuest",
		"MarkAsVirtualMachine", "RemoveAllSnapshots_Task",
		"ReconfigureComputeResource_Task", "UpgradeVM_Task", "REST POST tag-association attach-multiple-tags-to-object",
		"ImportVApp", Upload, "HttpNfcLeaseComplete", "HttpNfcLeaseAbort", "Rename_Task":
		return true
	default:
		return false
	}
}
