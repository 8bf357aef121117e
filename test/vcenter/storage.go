// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
)

// EditDatastore has something about a datastore be otherwise than the simulator has it: its room, its mounts, its state.
func (v *VCenter) EditDatastore(name string, edit func(*mo.Datastore)) error {
	v.gate.Lock()
	defer v.gate.Unlock()
	for _, e := range v.model.Map().All(kindDatastore) {
		if store, is := e.(*simulator.Datastore); is && store.Name == name {
			edit(&store.Datastore)
			return nil
		}
	}
	return fmt.Errorf("there is no datastore %s", name)
}

const kindDatastore = "Datastore"

// Unfit has vCenter say that datastores are compatible with no storage policy, until fit is called; no name means all. To the
// simulator all are compatible with every one. The last call counts.
func (d *Door) Unfit(datastores ...string) (fit func()) {
	unfit := map[string]bool{"": len(datastores) == 0}
	for _, name := range datastores {
		_ = d.vcenter.EditDatastore(name, func(store *mo.Datastore) { unfit[store.Self.Value] = true })
	}
	d.setUnfit(unfit)
	return d.Fit
}

// Fit has all datastores be compatible again.
func (d *Door) Fit() { d.setUnfit(nil) }

func (d *Door) setUnfit(unfit map[string]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unfit = unfit
}

func (d *Door) someUnfit() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unfit != nil
}

var hubPattern = regexp.MustCompile(`<hubId>([^<]+)</hubId>`)

// tellFit answers which of the datastores that are asked about are compatible: of every other one that is not vCenter says
// why, and leaves the next out, as it may.
func (d *Door) tellFit(w http.ResponseWriter, body []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var told strings.Builder
	for i, hub := range hubPattern.FindAllSubmatch(body, -1) {
		id := string(hub[1])
		unfit := d.unfit[""] || d.unfit[id]
		if unfit && i%2 == 1 {
			continue
		}
		told.WriteString(`<returnval><hub><hubType>Datastore</hubType><hubId>` + id + `</hubId></hub>`)
		if unfit {
			told.WriteString(`<error><fault xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="PbmCompatibilityCheckFault"><hub><hubType>Datastore</hubType>` +
				`<hubId>` + id + `</hubId></hub></fault><localizedMessage>The capability is not there.</localizedMessage></error>`)
		}
		told.WriteString(`</returnval>`)
	}
	answerSOAP(w, http.StatusOK, `<PbmCheckCompatibilityResponse xmlns="urn:pbm">`+told.String()+`</PbmCheckCompatibilityResponse>`)
}
