// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"context"
	"fmt"
	"os"
	"slices"
)

// Verdict is what one finding means for running the image under Ingot.
type Verdict string

const (
	// Has is something the image needs and has.
	Has Verdict = "has"
	// Note is something worth knowing; machines start all the same.
	Note Verdict = "note"
	// Unknown is something that could not be looked at from here.
	Unknown Verdict = "unknown"
	// Lacks is something without which no node would join.
	Lacks Verdict = "LACKS"
)

// Finding is one thing that a check found out.
type Finding struct {
	Verdict Verdict
	// Subject is what was looked at, in a word or two.
	Subject string
	// Message says what was found and, when something is lacking, what to do about it.
	Message string
}

// String is the finding on one line.
func (f Finding) String() string {
	return fmt.Sprintf("%-7s  %-14s  %s", f.Verdict, f.Subject, f.Message)
}

// Lacking reports whether any finding says that the image lacks something.
func Lacking(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Verdict == Lacks })
}

// Check looks into a disk image without booting it and says what it has and lacks to run under Ingot as an image of
// the family Generic or CloudInit: any OS that Ignition or cloud-init configures and that carries containerd, kubelet and
// kubeadm. An error means that the check itself could not be made; an unusable image is a finding.
func Check(ctx context.Context, image string) ([]Finding, error) {
	if _, err := os.Stat(image); err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	scratch, err := os.MkdirTemp("", "ingot-check-")
	if err != nil {
		return nil, fmt.Errorf("scratch folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	facts, err := gather(ctx, image, scratch)
	if err != nil {
		return nil, err
	}
	return judge(facts), nil
}
