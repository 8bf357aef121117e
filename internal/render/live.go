// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/bootstrap/controller"
)

// Notes on what is shown of a Machine.
const (
	noteHidden    = "rendered anew by this version; placeholders stand for tokens, pins, certificates and keys, which were not read"
	notePublished = "as it was published for the machine, with every secret"
)

// FromMachine renders for a Machine of a cluster, without reading a Secret. With secrets it shows what was published instead.
func FromMachine(ctx context.Context, preview controller.Preview, key client.ObjectKey, secrets Secrets) (Report, error) {
	subject, missing, err := preview.Look(ctx, key)
	if err != nil {
		return Report{}, err
	}
	notes := []string{noteHidden}
	if missing != "" {
		notes = append(notes, missing)
	}
	rendering := preview.Render(subject)
	m := newMachine("Machine/"+key.Name, key.Namespace, rendering, notes)
	if secrets == Shown {
		published, err := preview.Published(ctx, subject)
		if err != nil {
			return Report{}, err
		}
		m.Notes = []string{notePublished}
		if rendering.Family != nil {
			m = m.with(rendering.Family, published)
		}
	}
	return Report{FormatVersion: FormatVersion, Machines: []Machine{m}}, nil
}

// Secrets says whether secrets are shown.
type Secrets bool

const (
	// Hidden has placeholders in their place.
	Hidden Secrets = false
	// Shown shows them.
	Shown Secrets = true
)
