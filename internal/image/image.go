// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package image decides which NodeImage a machine is cast from, and whether it may be. Its functions are pure: they
// take values and return a choice or a refusal that says what to do. Nothing here reads, writes or watches.
package image

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/blang/semver/v4"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// Needs is what a machine needs of its image.
type Needs struct {
	// KubernetesVersion is Machine.spec.version with a leading v. Empty means that any version will do.
	KubernetesVersion string
	// Platform is where the machine lives.
	Platform ingotv1.ArtefactPlatform
	// Firmware is the firmware interface that the machine boots with.
	Firmware ingotv1.Firmware
	// SecureBoot is whether the machine boots only what is signed.
	SecureBoot bool
}

// Refusal says why an image cannot be used. It is an answer, not an error: retrying does not help, a change does.
type Refusal struct {
	// Reason is one of the Image… reasons of IngotMachine's ImageResolved condition.
	Reason string
	// Message names the image and the field, and says what to do.
	Message string
}

// Choice is a resolved image.
type Choice struct {
	// Image is the NodeImage.
	Image *ingotv1.NodeImage
	// Artefact is its artefact for the machine's platform.
	Artefact ingotv1.Artefact
}

// Resolve chooses the image for a machine. images are the NodeImages that exist; their order does not matter.
func Resolve(ref infrav1.ImageReference, images []ingotv1.NodeImage, needs Needs, now time.Time) (Choice, *Refusal) {
	if ref.Name != "" {
		return resolveName(ref.Name, images, needs, now)
	}
	return resolveSelector(ref.Selector, images, needs, now)
}

// Usable returns why no machine may be started from the image at the given time, or nil.
func Usable(image *ingotv1.NodeImage, now time.Time) *Refusal {
	life := image.Spec.Lifecycle
	if life.State == ingotv1.LifecycleRevoked {
		return refuse(infrav1.ImageRevokedReason, "NodeImage %s is revoked: %s. Reference another NodeImage", image.Name, life.Reason)
	}
	if !life.ExpiresAt.IsZero() && !now.Before(life.ExpiresAt.Time) {
		return refuse(infrav1.ImageExpiredReason, "NodeImage %s expired at %s. Reference another NodeImage, or change its spec.lifecycle.expiresAt",
			image.Name, life.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return nil
}

// AcceptsFormat returns why the image cannot read bootstrap data of the format, or nil.
func AcceptsFormat(image *ingotv1.NodeImage, format ingotv1.BootstrapFormat) *Refusal {
	if slices.Contains(image.Spec.BootstrapFormats, format) {
		return nil
	}
	return refuse(infrav1.BootstrapFormatMismatchReason,
		"the bootstrap data has format %q, and NodeImage %s reads only %v: use a bootstrap provider or an OS block that renders one of these, or another image",
		format, image.Name, image.Spec.BootstrapFormats)
}

// AcceptsFamily returns why the image cannot read bootstrap data that was rendered for the OS family, or nil. Data of other
// bootstrap providers names none, and only its format counts.
func AcceptsFamily(image *ingotv1.NodeImage, family ingotv1.OSFamily) *Refusal {
	if family == "" || family == image.Spec.OS.Family {
		return nil
	}
	return refuse(infrav1.BootstrapFormatMismatchReason,
		"the bootstrap data is rendered for OS family %s, and NodeImage %s is of family %s: use the OS block of that family, or another image",
		family, image.Name, image.Spec.OS.Family)
}

// Carries returns nil if the image can run the Kubernetes version, and an error that says why not.
func Carries(image *ingotv1.NodeImage, version string) error {
	k := image.Spec.Kubernetes
	if len(k.Versions) > 0 {
		if slices.Contains(k.Versions, version) {
			return nil
		}
		return fmt.Errorf("it carries Kubernetes %s, not %s", strings.Join(k.Versions, ", "), version)
	}
	in, err := semver.ParseRange(k.Range)
	if err != nil {
		return fmt.Errorf("its spec.kubernetes.range %q cannot be read: %w", k.Range, err)
	}
	v, err := semver.ParseTolerant(version)
	if err != nil {
		return fmt.Errorf("the Machine's version %q cannot be read: %w", version, err)
	}
	if !in(v) {
		return fmt.Errorf("it supports Kubernetes %s, not %s", k.Range, version)
	}
	return nil
}

func resolveName(name string, images []ingotv1.NodeImage, needs Needs, now time.Time) (Choice, *Refusal) {
	i := slices.IndexFunc(images, func(image ingotv1.NodeImage) bool { return image.Name == name })
	if i < 0 {
		return Choice{}, refuse(infrav1.ImageNotFoundReason, "NodeImage %s does not exist: create it, or reference another one", name)
	}
	return fit(&images[i], needs, now)
}

func resolveSelector(selector infrav1.ImageSelector, images []ingotv1.NodeImage, needs Needs, now time.Time) (Choice, *Refusal) {
	var best *Choice
	var refusals []string
	selected := 0
	for i := range images {
		if !matches(selector, &images[i]) {
			continue
		}
		selected++
		choice, refusal := fit(&images[i], needs, now)
		if refusal != nil {
			refusals = append(refusals, refusal.Message)
			continue
		}
		if best == nil || newer(choice.Image, best.Image) {
			best = &choice
		}
	}
	if best != nil {
		return *best, nil
	}
	if selected == 0 {
		return Choice{}, refuse(infrav1.ImageNotFoundReason, "no NodeImage matches spec.image.selector: create one, or change the selector")
	}
	slices.Sort(refusals)
	return Choice{}, refuse(infrav1.ImageNotFoundReason, "none of the %d NodeImages that match spec.image.selector can be used: %s", selected, strings.Join(firstFew(refusals), "; "))
}

// fit checks one image against everything that a machine needs of it.
func fit(image *ingotv1.NodeImage, needs Needs, now time.Time) (Choice, *Refusal) {
	if refusal := Usable(image, now); refusal != nil {
		return Choice{}, refusal
	}
	if needs.KubernetesVersion != "" {
		if err := Carries(image, needs.KubernetesVersion); err != nil {
			return Choice{}, refuse(infrav1.ImageIncompatibleReason, "NodeImage %s does not fit the Machine: %s. Change the image and the version together", image.Name, err)
		}
	}
	if !slices.Contains(image.Spec.Firmware, needs.Firmware) {
		return Choice{}, refuse(infrav1.ImageIncompatibleReason, "NodeImage %s boots with %v, not with %s: change spec.firmware or the image",
			image.Name, image.Spec.Firmware, needs.Firmware)
	}
	if needs.SecureBoot && (image.Spec.SecureBoot == nil || !*image.Spec.SecureBoot) {
		return Choice{}, refuse(infrav1.ImageIncompatibleReason,
			"NodeImage %s does not say spec.secureBoot, so it cannot be expected to boot with it: unset spec.trustedBoot.secureBoot or change the image", image.Name)
	}
	for _, artefact := range image.Spec.Artefacts {
		if artefact.Platform == needs.Platform {
			return Choice{Image: image, Artefact: artefact}, nil
		}
	}
	return Choice{}, refuse(infrav1.ImageIncompatibleReason, "NodeImage %s has no artefact for %s: reference an image that has one", image.Name, needs.Platform)
}

func matches(selector infrav1.ImageSelector, image *ingotv1.NodeImage) bool {
	if selector.Family != "" && selector.Family != image.Spec.OS.Family {
		return false
	}
	if selector.Channel != "" && selector.Channel != image.Spec.OS.Channel {
		return false
	}
	for key, value := range selector.MatchLabels {
		if got, ok := image.Labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// newer orders images by OS version, then by name, so that the choice never depends on the order of a list.
func newer(a, b *ingotv1.NodeImage) bool {
	va, errA := semver.ParseTolerant(a.Spec.OS.Version)
	vb, errB := semver.ParseTolerant(b.Spec.OS.Version)
	if errA == nil && errB == nil {
		if c := va.Compare(vb); c != 0 {
			return c > 0
		}
	}
	if c := cmp.Compare(a.Spec.OS.Version, b.Spec.OS.Version); c != 0 {
		return c > 0
	}
	return a.Name > b.Name
}

func firstFew(messages []string) []string {
	const few = 3
	if len(messages) <= few {
		return messages
	}
	return append(slices.Clone(messages[:few]), fmt.Sprintf("and %d more", len(messages)-few))
}

func refuse(reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
