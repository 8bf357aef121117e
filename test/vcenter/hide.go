// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"net/http"
)

// hidden is what whoever comes through a door may not see any more: a folder with a virtual machine in it.
type hidden struct {
	vm, folder, path string
	// told is whether the stream of changes has told that the virtual machine left what is seen.
	told bool
}

// Hide takes the permission to see a folder with a virtual machine from those who come through the door, until show is
// called. The simulator knows no permissions: the door answers in its place, as vCenter is documented to. What is looked for is
// not found, what is named is refused, and what was seen is told to have left.
func (d *Door) Hide(ctx context.Context, uuid, path string) (show func(), err error) {
	vm, err := d.vcenter.vm(ctx, uuid)
	if err != nil {
		return nil, err
	}
	folder, err := d.vcenter.find(ctx, path)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hidden = &hidden{vm: vm.Reference().Value, folder: folder.Value, path: path}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.hidden = nil
	}, nil
}

// hides answers a call that is about what may not be seen, and tells whether it was one.
func (d *Door) hides(w http.ResponseWriter, method string, body []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hidden
	switch {
	case h == nil:
		return false
	case method == "FindAllByUuid", method == "FindByInventoryPath" && bytes.Contains(body, []byte(">"+h.path+"<")):
		answerSOAP(w, http.StatusOK, `<`+method+`Response xmlns="urn:vim25"/>`)
	case method == "WaitForUpdatesEx" && !h.told:
		h.told = true
		answerSOAP(w, http.StatusOK, `<WaitForUpdatesExResponse xmlns="urn:vim25"><returnval><version>-</version><filterSet><filter type="PropertyFilter">hidden</filter>`+
			`<objectSet><kind>leave</kind><obj type="VirtualMachine">`+h.vm+`</obj></objectSet></filterSet></returnval></WaitForUpdatesExResponse>`)
	case bytes.Contains(body, []byte(">"+h.vm+"</")):
		refuse(w, "VirtualMachine", h.vm)
	case bytes.Contains(body, []byte(">"+h.folder+"</")):
		refuse(w, "Folder", h.folder)
	default:
		return false
	}
	return true
}

func refuse(w http.ResponseWriter, kind, value string) {
	answerSOAP(w, http.StatusInternalServerError, `<Fault xmlns="http://schemas.xmlsoap.org/soap/envelope/"><faultcode xmlns="">ServerFaultCode</faultcode>`+
		`<faultstring xmlns="">Permission to perform this operation was denied.</faultstring><detail xmlns="">`+
		`<NoPermissionFault xmlns="urn:vim25" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="NoPermission">`+
		`<object type="`+kind+`">`+value+`</object><privilegeId>System.View</privilegeId></NoPermissionFault></detail></Fault>`)
}

func answerSOAP(w http.ResponseWriter, status int, content string) {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, xml.Header+`<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>`+content+`</Body></Envelope>`)
}
