// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// A row of unhealthy replacements is told by records that travel: from the control plane, where one is written before the
// unhealthy Machine is deleted, to the Machine that is made in its place. They are annotations, because status does not
// survive a move to another management cluster.

// recordRemediation writes down that a Machine is replaced because it is unhealthy. A record of it that is there stays, and
// those that have reached their replacement go.
func (r *Reconciler) recordRemediation(ctx context.Context, s *snapshot, step plan.RecordRemediation) error {
	pending := s.pendingRemediations()
	if slices.ContainsFunc(pending, func(p plan.Remediated) bool { return p.Machine == step.Machine }) {
		return nil
	}
	i := slices.IndexFunc(s.machines, func(m *clusterv1.Machine) bool { return m.Name == step.Machine })
	if i < 0 {
		return nil
	}
	now := r.Clock.Now()
	content, err := json.Marshal(append(pending, plan.Remediate(s.cp.Spec.Remediation, step.Machine, remediationFor(s.machines[i]), now)))
	if err != nil {
		return fmt.Errorf("writing down what is remediated: %w", err)
	}
	before := s.cp.DeepCopy()
	metav1.SetMetaDataAnnotation(&s.cp.ObjectMeta, controlplanev1.RemediationsAnnotation, string(content))
	return r.Client.Patch(ctx, s.cp, client.MergeFrom(before))
}

// pendingRemediations are the records of Machines that were replaced and whose replacements are not made yet. A record that
// cannot be read is none: the worst that follows is that a row is not recognised.
func (s *snapshot) pendingRemediations() []plan.Remediated {
	var records []plan.Remediated
	_ = json.Unmarshal([]byte(s.cp.Annotations[controlplanev1.RemediationsAnnotation]), &records)
	return slices.DeleteFunc(records, func(record plan.Remediated) bool {
		return slices.ContainsFunc(s.machines, func(m *clusterv1.Machine) bool {
			replaced := remediationFor(m)
			return replaced != nil && replaced.Machine == record.Machine
		})
	})
}

// remediationFor is the record of the unhealthy Machine in whose place a Machine was made, nil where it was not.
func remediationFor(m *clusterv1.Machine) *plan.Remediated {
	record := &plan.Remediated{}
	if err := json.Unmarshal([]byte(m.Annotations[controlplanev1.RemediationForAnnotation]), record); err != nil {
		return nil
	}
	return record
}

// forNextMachine are the annotations of a Machine that is about to be made: our hook, and the record of the unhealthy Machine
// that it replaces, if there is one.
func (s *snapshot) forNextMachine(now time.Time) (map[string]string, error) {
	annotations := map[string]string{controlplanev1.PreTerminateHookAnnotation: ""}
	pending := slices.DeleteFunc(s.pendingRemediations(), func(record plan.Remediated) bool {
		return now.Sub(record.Time.Time) > longestReplacement
	})
	if len(pending) > 0 {
		content, err := json.Marshal(pending[0])
		if err != nil {
			return nil, fmt.Errorf("writing down what is remediated: %w", err)
		}
		annotations[controlplanev1.RemediationForAnnotation] = string(content)
	}
	return annotations, nil
}

// longestReplacement is how long after an unhealthy Machine was deleted another is taken for its replacement: when fewer
// Machines are wanted meanwhile, none is.
const longestReplacement = 24 * time.Hour
