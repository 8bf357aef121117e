// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
)

// Remediation is whether a Machine may be replaced should it be unhealthy.
type Remediation string

const (
	// RemediationAllowed says that it may.
	RemediationAllowed Remediation = ""
	// RemediationTooSoon says that it replaces an unhealthy Machine that was deleted so recently that it waits.
	RemediationTooSoon Remediation = "TooSoon"
	// RemediationExhausted says that it is the last of as many replacements in a row as the spec allows.
	RemediationExhausted Remediation = "Exhausted"
)

// Remediated is the record of an unhealthy Machine that was replaced. It travels to the replacement.
type Remediated struct {
	Machine string      `json:"machine"`
	Time    metav1.Time `json:"time"`
	// Retries is how many unhealthy replacements came before in the same row.
	Retries int32 `json:"retries,omitempty"`
}

// defaultMinHealthy is how long a replacement must have lasted to end a row, unless the spec says otherwise.
const defaultMinHealthy = time.Hour

// Judge says whether a Machine may be replaced that was made in the place of another; for is nil where it was not.
func Judge(spec controlplanev1.RemediationSpec, replaced *Remediated, now time.Time) Remediation {
	switch {
	case endsRow(spec, replaced, now):
		return RemediationAllowed
	case spec.MaxRetry != nil && replaced.Retries >= *spec.MaxRetry:
		return RemediationExhausted
	case now.Sub(replaced.Time.Time) < seconds(spec.RetryPeriodSeconds):
		return RemediationTooSoon
	default:
		return RemediationAllowed
	}
}

// Remediate returns the record of replacing a Machine that was itself made in the place of another, or of none.
func Remediate(spec controlplanev1.RemediationSpec, machine string, replaced *Remediated, now time.Time) Remediated {
	record := Remediated{Machine: machine, Time: metav1.NewTime(now.Truncate(time.Second))}
	if !endsRow(spec, replaced, now) {
		record.Retries = replaced.Retries + 1
	}
	return record
}

// endsRow is whether a Machine was made in the place of none, or has lasted long enough to count as a success.
func endsRow(spec controlplanev1.RemediationSpec, replaced *Remediated, now time.Time) bool {
	minHealthy := defaultMinHealthy
	if spec.MinHealthyPeriodSeconds != nil {
		minHealthy = seconds(spec.MinHealthyPeriodSeconds)
	}
	return replaced == nil || now.Sub(replaced.Time.Time) >= minHealthy
}

func seconds(n *int32) time.Duration { return time.Duration(ptr.Deref(n, 0)) * time.Second }
