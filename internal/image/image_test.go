// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/image"
)

func now() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

func needs() image.Needs {
	return image.Needs{KubernetesVersion: "v1.36.3", Platform: ingotv1.ArtefactPlatformLibvirt, Firmware: ingotv1.FirmwareUEFI}
}

// node is a usable image that fits needs; change makes it something else.
func node(name, osVersion string, change ...func(*ingotv1.NodeImage)) ingotv1.NodeImage {
	i := ingotv1.NodeImage{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"ring": "stable"}},
		Spec: ingotv1.NodeImageSpec{
			OS:               ingotv1.NodeImageOS{Family: ingotv1.OSFamilyGeneric, Version: osVersion, Channel: "stable"},
			Architecture:     "amd64",
			Kubernetes:       ingotv1.NodeImageKubernetes{Versions: []string{"v1.36.3"}},
			BootstrapFormats: []ingotv1.BootstrapFormat{ingotv1.BootstrapFormatIgnition},
			Firmware:         []ingotv1.Firmware{ingotv1.FirmwareUEFI},
			Artefacts:        []ingotv1.Artefact{{Platform: ingotv1.ArtefactPlatformLibvirt, SHA256: strings.Repeat("a", 64)}},
			Lifecycle:        ingotv1.ImageLifecycle{State: ingotv1.LifecycleSupported},
		},
	}
	for _, c := range change {
		c(&i)
	}
	return i
}

func revoked(i *ingotv1.NodeImage) {
	i.Spec.Lifecycle = ingotv1.ImageLifecycle{State: ingotv1.LifecycleRevoked, Reason: "CVE-2026-0001"}
}

func expires(at time.Time) func(*ingotv1.NodeImage) {
	return func(i *ingotv1.NodeImage) { i.Spec.Lifecycle.ExpiresAt = metav1.NewTime(at) }
}

func kubernetes(k ingotv1.NodeImageKubernetes) func(*ingotv1.NodeImage) {
	return func(i *ingotv1.NodeImage) { i.Spec.Kubernetes = k }
}

func byName(name string) infrav1.ImageReference { return infrav1.ImageReference{Name: name} }

func bySelector(s infrav1.ImageSelector) infrav1.ImageReference {
	return infrav1.ImageReference{Selector: s}
}

func TestResolve(t *testing.T) {
	stable := infrav1.ImageSelector{Channel: "stable"}
	for name, c := range map[string]struct {
		why     string
		ref     infrav1.ImageReference
		images  []ingotv1.NodeImage
		needs   func(*image.Needs)
		want    string   // name of the image, or
		reason  string   // reason of the refusal with
		message []string // what its message must say
	}{
		"a named image that fits is chosen": {
			why: "the plain case", ref: byName("a"), images: []ingotv1.NodeImage{node("b", "v2.0.0"), node("a", "v1.0.0")}, want: "a",
		},
		"a name that does not exist is refused": {
			why: "a typing error must be found before a VM exists", ref: byName("x"), images: []ingotv1.NodeImage{node("a", "v1.0.0")},
			reason: infrav1.ImageNotFoundReason, message: []string{"NodeImage x", "create it"},
		},
		"a revoked image starts no machine": {
			why: "the reason of the revocation is what the person needs", ref: byName("a"), images: []ingotv1.NodeImage{node("a", "v1.0.0", revoked)},
			reason: infrav1.ImageRevokedReason, message: []string{"CVE-2026-0001"},
		},
		"an image that expires this instant has expired": {
			why: "the boundary belongs to the safe side", ref: byName("a"), images: []ingotv1.NodeImage{node("a", "v1.0.0", expires(now()))},
			reason: infrav1.ImageExpiredReason, message: []string{"2026-06-01T12:00:00Z"},
		},
		"an image that expires later is chosen": {
			why: "the other side of the boundary", ref: byName("a"), images: []ingotv1.NodeImage{node("a", "v1.0.0", expires(now().Add(time.Second)))}, want: "a",
		},
		"an image with another Kubernetes version is refused": {
			why:    "it would boot a kubelet that Cluster API does not expect, and the rollout would hang",
			ref:    byName("a"),
			images: []ingotv1.NodeImage{node("a", "v1.0.0", kubernetes(ingotv1.NodeImageKubernetes{Versions: []string{"v1.35.1"}}))},
			reason: infrav1.ImageIncompatibleReason, message: []string{"v1.35.1", "v1.36.3"},
		},
		"a range that holds the version fits": {
			why: "images that fetch Kubernetes themselves", ref: byName("a"), want: "a",
			images: []ingotv1.NodeImage{node("a", "v1.0.0", kubernetes(ingotv1.NodeImageKubernetes{Range: ">=1.35.0 <1.37.0"}))},
		},
		"a range that ends before the version is refused": {
			why: "the upper bound is exclusive as written", ref: byName("a"),
			images: []ingotv1.NodeImage{node("a", "v1.0.0", kubernetes(ingotv1.NodeImageKubernetes{Range: ">=1.35.0 <1.36.3"}))},
			reason: infrav1.ImageIncompatibleReason,
		},
		"a range that cannot be read is refused": {
			why: "bad input must not be taken for a match", ref: byName("a"),
			images: []ingotv1.NodeImage{node("a", "v1.0.0", kubernetes(ingotv1.NodeImageKubernetes{Range: "about 1.36"}))},
			reason: infrav1.ImageIncompatibleReason, message: []string{"spec.kubernetes.range"},
		},
		"a machine without a version takes any image": {
			why: "Machine.spec.version is optional in Cluster API", ref: byName("a"), want: "a",
			needs:  func(n *image.Needs) { n.KubernetesVersion = "" },
			images: []ingotv1.NodeImage{node("a", "v1.0.0", kubernetes(ingotv1.NodeImageKubernetes{Versions: []string{"v1.35.1"}}))},
		},
		"firmware that the image does not boot with is refused": {
			why: "the machine would stop in its firmware", ref: byName("a"), images: []ingotv1.NodeImage{node("a", "v1.0.0")},
			needs:  func(n *image.Needs) { n.Firmware = ingotv1.FirmwareBIOS },
			reason: infrav1.ImageIncompatibleReason, message: []string{"BIOS"},
		},
		"an image without an artefact for the platform is refused": {
			why: "there is nothing to boot", ref: byName("a"), images: []ingotv1.NodeImage{node("a", "v1.0.0")},
			needs:  func(n *image.Needs) { n.Platform = ingotv1.ArtefactPlatformVSphere },
			reason: infrav1.ImageIncompatibleReason, message: []string{"vsphere"},
		},
		"a selector takes the newest usable image": {
			why: "versions are compared as versions: 10 is newer than 9", ref: bySelector(stable), want: "ten",
			images: []ingotv1.NodeImage{node("nine", "v1.9.0"), node("ten", "v1.10.0"), node("twelve", "v1.12.0", revoked)},
		},
		"a selector passes over images of another channel and without the label": {
			why: "all set fields must match", ref: bySelector(infrav1.ImageSelector{Channel: "stable", MatchLabels: map[string]string{"ring": "stable"}}), want: "a",
			images: []ingotv1.NodeImage{
				node("a", "v1.0.0"),
				node("b", "v2.0.0", func(i *ingotv1.NodeImage) { i.Spec.OS.Channel = "edge" }),
				node("c", "v3.0.0", func(i *ingotv1.NodeImage) { i.Labels = nil }),
			},
		},
		"a selector without a match says so": {
			why: "it differs from matches that cannot be used", ref: bySelector(infrav1.ImageSelector{Channel: "edge"}), images: []ingotv1.NodeImage{node("a", "v1.0.0")},
			reason: infrav1.ImageNotFoundReason, message: []string{"no NodeImage matches"},
		},
		"a selector whose matches cannot be used says why": {
			why: "the person must not have to try each", ref: bySelector(stable), images: []ingotv1.NodeImage{node("a", "v1.0.0", revoked)},
			reason: infrav1.ImageNotFoundReason, message: []string{"none of the 1", "CVE-2026-0001"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := needs()
			if c.needs != nil {
				c.needs(&n)
			}
			choice, refusal := image.Resolve(c.ref, c.images, n, now())
			if c.want != "" {
				if refusal != nil {
					t.Fatalf("refused (%s), want %s: %s", refusal.Message, c.want, c.why)
				}
				if choice.Image.Name != c.want {
					t.Fatalf("chose %s, want %s: %s", choice.Image.Name, c.want, c.why)
				}
				return
			}
			if refusal == nil {
				t.Fatalf("chose %s, want a refusal: %s", choice.Image.Name, c.why)
			}
			if refusal.Reason != c.reason {
				t.Errorf("reason %s, want %s: %s", refusal.Reason, c.reason, c.why)
			}
			for _, part := range c.message {
				if !strings.Contains(refusal.Message, part) {
					t.Errorf("message %q does not say %q: %s", refusal.Message, part, c.why)
				}
			}
		})
	}
}

// The API server returns lists in no promised order: two managers, or one manager twice, must choose alike.
func TestResolveDoesNotDependOnTheOrderOfTheList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		versions := rapid.SliceOfN(rapid.SampledFrom([]string{"v1.0.0", "v1.1.0", "v1.10.0", "2026-05", "nightly"}), 1, 8).Draw(t, "versions")
		var images []ingotv1.NodeImage
		for i, v := range versions {
			change := func(*ingotv1.NodeImage) {}
			if rapid.Bool().Draw(t, "revoked") {
				change = revoked
			}
			images = append(images, node(string(rune('a'+i)), v, change))
		}
		ref := bySelector(infrav1.ImageSelector{Family: ingotv1.OSFamilyGeneric})
		want, wantRefusal := image.Resolve(ref, images, needs(), now())
		shuffled := rapid.Permutation(images).Draw(t, "shuffled")
		got, gotRefusal := image.Resolve(ref, shuffled, needs(), now())
		if (wantRefusal == nil) != (gotRefusal == nil) {
			t.Fatalf("refused in one order only")
		}
		if wantRefusal != nil {
			if *wantRefusal != *gotRefusal {
				t.Fatalf("refusals differ: %v and %v", *wantRefusal, *gotRefusal)
			}
			return
		}
		if want.Image.Name != got.Image.Name {
			t.Fatalf("chose %s and %s", want.Image.Name, got.Image.Name)
		}
		if got.Image.Spec.Lifecycle.State == ingotv1.LifecycleRevoked {
			t.Fatal("chose a revoked image")
		}
	})
}

// Kairos and cloud-init read one format, and not each other's.
func TestAcceptsFamily(t *testing.T) {
	i := node("a", "v1.0.0")
	for _, family := range []ingotv1.OSFamily{"", i.Spec.OS.Family} {
		if refusal := image.AcceptsFamily(&i, family); refusal != nil {
			t.Errorf("refused data for family %q: %s", family, refusal.Message)
		}
	}
	for _, other := range []ingotv1.OSFamily{ingotv1.OSFamilyKairos, ingotv1.OSFamilyCloudInit} {
		refusal := image.AcceptsFamily(&i, other)
		if refusal == nil || refusal.Reason != infrav1.BootstrapFormatMismatchReason || !strings.Contains(refusal.Message, string(other)) {
			t.Errorf("data for family %s: %+v", other, refusal)
		}
	}
}

func TestAcceptsFormat(t *testing.T) {
	i := node("a", "v1.0.0")
	if refusal := image.AcceptsFormat(&i, ingotv1.BootstrapFormatIgnition); refusal != nil {
		t.Errorf("refused a format that the image reads: %s", refusal.Message)
	}
	refusal := image.AcceptsFormat(&i, ingotv1.BootstrapFormatTalos)
	if refusal == nil || refusal.Reason != infrav1.BootstrapFormatMismatchReason {
		t.Fatalf("accepted a format that the image does not read: it would boot and never join")
	}
	if !slices.ContainsFunc([]string{"talos", "ignition"}, func(s string) bool { return strings.Contains(refusal.Message, s) }) {
		t.Errorf("message %q names neither format", refusal.Message)
	}
}
