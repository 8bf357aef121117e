// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// An image that never comes up must not be tried for ever, and one bad night must not count against a Machine that ran for
// months.
func TestRemediationRow(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	limits := controlplanev1.RemediationSpec{MaxRetry: new(int32(1)), RetryPeriodSeconds: new(int32(600))}
	record := func(retries int32, ago time.Duration) *plan.Remediated {
		return &plan.Remediated{Machine: "cp-before", Time: metav1.NewTime(start.Add(-ago)), Retries: retries}
	}
	for name, c := range map[string]struct {
		spec        controlplanev1.RemediationSpec
		replaced    *plan.Remediated
		want        plan.Remediation
		wantRetries int32
	}{
		"an original":                              {limits, nil, plan.RemediationAllowed, 0},
		"a replacement, too soon":                  {limits, record(0, 5*time.Minute), plan.RemediationTooSoon, 1},
		"a replacement, after the period":          {limits, record(0, 10*time.Minute), plan.RemediationAllowed, 1},
		"the last of the row":                      {limits, record(1, 10*time.Minute), plan.RemediationExhausted, 2},
		"one that ran for an hour":                 {limits, record(1, time.Hour), plan.RemediationAllowed, 0},
		"no limits":                                {controlplanev1.RemediationSpec{}, record(50, 0), plan.RemediationAllowed, 51},
		"no retry at all":                          {controlplanev1.RemediationSpec{MaxRetry: new(int32(0))}, record(0, time.Minute), plan.RemediationExhausted, 1},
		"a shorter life counts as a success":       {controlplanev1.RemediationSpec{MaxRetry: new(int32(0)), MinHealthyPeriodSeconds: new(int32(30))}, record(0, time.Minute), plan.RemediationAllowed, 0},
		"a clock that went back is not the future": {limits, record(0, -time.Minute), plan.RemediationTooSoon, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := plan.Judge(c.spec, c.replaced, start); got != c.want {
				t.Errorf("Judge = %q, want %q", got, c.want)
			}
			if got := plan.Remediate(c.spec, "cp-now", c.replaced, start); got.Retries != c.wantRetries || got.Machine != "cp-now" || !got.Time.Time.Equal(start) {
				t.Errorf("Remediate = %+v, want %d retries", got, c.wantRetries)
			}
		})
	}
}
