// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package verification_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/verification"
)

// draw chooses one of some values.
func draw(r *rand.Rand, values ...string) string { return values[r.IntN(len(values))] }

// somewhere makes a declaration and a Node that says the same, of every kind that there is.
func somewhere(r *rand.Rand) (verification.Declared, verification.Observed) {
	version := draw(r, "v1.14.1", "1.57.0", "43.20260601.3.0", "v5.0-20261101", "418.94")
	family, osImage := ingotv1.OSFamilyGeneric, "Acme Linux "+version
	switch r.IntN(5) {
	case 0:
		family, osImage = ingotv1.OSFamilyTalos, "Talos ("+version+")"
	case 1:
		family, osImage = ingotv1.OSFamilyFlatcar, "Flatcar Container Linux by Kinvolk "+version+" (Oklo)"
	case 2:
		family, osImage = ingotv1.OSFamilyFedoraCoreOS, draw(r, "Fedora CoreOS ", "Red Hat Enterprise Linux CoreOS ")+version
	case 3:
		family, osImage = ingotv1.OSFamilyBottlerocket, "Bottlerocket OS "+version+" (vmware-k8s-1.36)"
	}
	declared := verification.Declared{
		Image:             ingotv1.NodeImageSpec{OS: ingotv1.NodeImageOS{Family: family, Version: version}},
		KubernetesVersion: draw(r, "v1.36.3", "v1.33.1+k3s1", ""),
	}
	observed := verification.Observed{OSImage: osImage, KernelVersion: "6.18.9", KubeletVersion: declared.KubernetesVersion, BootID: "boot"}
	if observed.KubeletVersion == "" {
		observed.KubeletVersion = "v1.36.3"
		declared.Image.Kubernetes.Versions = []string{"v1.35.7", "v1.36.3"}
	}
	identity := &declared.Image.NodeIdentity
	if r.IntN(2) == 0 {
		identity.OSImage = osImage
	}
	if r.IntN(2) == 0 {
		identity.KernelVersion = observed.KernelVersion
	}
	if r.IntN(2) == 0 {
		identity.OSRelease = map[string]ingotv1.OSReleaseValue{"VERSION_ID": "5.0", "BUILD_ID": "abc"}
		observed.Report = "BUILD_ID=abc VERSION_ID=5.0 boot=boot ID=any"
	}
	return declared, observed
}

// TestWhatIsAsDeclaredIsNeverAccused: a Node that says exactly what was declared is verified, whatever was declared of it.
func TestWhatIsAsDeclaredIsNeverAccused(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		declared, observed := somewhere(r)
		if v := verification.Judge(declared, observed); v.Status != metav1.ConditionTrue {
			t.Fatalf("%s %s: %s\ndeclared %+v\nobserved %+v", v.Status, v.Reason, v.Message, declared, observed)
		}
	}
}

// TestOneChangeIsFound: one value that was declared and is another on the Node is a mismatch, and the message has both. One
// that is not told is no mismatch, and never a proof.
func TestOneChangeIsFound(t *testing.T) {
	t.Parallel()
	const other = "99.9-other"
	r := rand.New(rand.NewPCG(2, 2))
	for range 10_000 {
		declared, observed := somewhere(r)
		identity := declared.Image.NodeIdentity
		changes := map[*string]string{}
		if identity.OSImage != "" || declared.Image.OS.Family != ingotv1.OSFamilyGeneric {
			changes[&observed.OSImage] = strings.Replace(observed.OSImage, declared.Image.OS.Version, other, 1)
		}
		if identity.KernelVersion != "" {
			changes[&observed.KernelVersion] = other
		}
		if len(identity.OSRelease) > 0 {
			changes[&observed.Report] = "boot=boot VERSION_ID=" + other + " BUILD_ID=abc"
		}
		changes[&observed.KubeletVersion] = other
		for field, changed := range changes {
			before := *field
			*field = changed
			v := verification.Judge(declared, observed)
			if v.Status != metav1.ConditionFalse || !strings.Contains(v.Message, other) || !strings.Contains(v.Message, "declared") {
				t.Fatalf("%s %s: %s\ndeclared %+v\nobserved %+v", v.Status, v.Reason, v.Message, declared, observed)
			}
			*field = ""
			if v := verification.Judge(declared, observed); v.Status != metav1.ConditionUnknown || v.Message == "" {
				t.Fatalf("what was not told is %s %s: %s\ndeclared %+v\nobserved %+v", v.Status, v.Reason, v.Message, declared, observed)
			}
			*field = before
		}
	}
}

// TestNonsenseIsNoProof: whatever a Node says, the verdict is one of three, has a reason and a message, and is the same each
// time; and True is only said of a Node that says something.
func TestNonsenseIsNoProof(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 3))
	nonsense := func() string {
		return draw(r, "", " ", "=", "boot=", "boot=boot", "Talos ()", "Talos (", "v", "VERSION_ID", "VERSION_ID=5.0 boot=boot boot=", "\x00", "Bottlerocket OS ", strings.Repeat("a ", 300))
	}
	for range 10_000 {
		declared, _ := somewhere(r)
		observed := verification.Observed{OSImage: nonsense(), KernelVersion: nonsense(), KubeletVersion: nonsense(), BootID: nonsense(), Report: nonsense()}
		v := verification.Judge(declared, observed)
		if v.Status == metav1.ConditionTrue || v.Reason == "" || v.Message == "" {
			t.Fatalf("%s %s: %s\ndeclared %+v\nobserved %+v", v.Status, v.Reason, v.Message, declared, observed)
		}
		if again := verification.Judge(declared, observed); again != v {
			t.Fatalf("the same question has two answers: %+v and %+v", v, again)
		}
	}
}
