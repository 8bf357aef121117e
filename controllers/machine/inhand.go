// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// bundle is the bootstrap data of a machine, as its Secret holds it.
type bundle struct {
	data   []byte
	format ingotv1.BootstrapFormat
	family ingotv1.OSFamily // that it was rendered for; empty when the Secret does not say
}

// inHand are the bundles of machines whose instance is in the making, so that the passes until it has started do not read
// the Secret again: what is being made was given its data. A bundle is dropped when its instance has started, when nothing is
// under way any more, and when something went wrong, so that a Secret that was renewed meanwhile is read. There are no more of
// them than instances in the making. The zero value is ready to use.
type inHand struct {
	mu   sync.Mutex
	held map[client.ObjectKey]held
}

// held is a bundle, and whose it is: the machine by its uid, and the name of the Secret.
type held struct {
	uid    types.UID
	secret string
	bundle bundle
}

// of returns the bundle of a machine; nil when there is none.
func (h *inHand) of(w *world) *bundle {
	h.mu.Lock()
	defer h.mu.Unlock()
	found, has := h.held[w.key()]
	if !has || found.uid != w.infra.UID || found.secret != *w.machine.Spec.Bootstrap.DataSecretName {
		return nil
	}
	return &found.bundle
}

// keep keeps the bundle of a machine.
func (h *inHand) keep(w *world) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held == nil {
		h.held = map[client.ObjectKey]held{}
	}
	h.held[w.key()] = held{uid: w.infra.UID, secret: *w.machine.Spec.Bootstrap.DataSecretName, bundle: *w.bundle}
}

// drop drops the bundle of a machine, if there is one.
func (h *inHand) drop(key client.ObjectKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.held, key)
}
