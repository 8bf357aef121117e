// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package verification

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// Declared is what a Node should be.
type Declared struct {
	// Image is the pinned NodeImage.
	Image ingotv1.NodeImageSpec
	// KubernetesVersion is Machine.spec.version. Empty means any version that the image carries.
	KubernetesVersion string
}

// Observed is what a Node says of itself. A field that is empty was not said.
type Observed struct {
	// OSImage, KernelVersion, KubeletVersion and BootID are those of Node.status.nodeInfo: the kubelet reports them.
	OSImage, KernelVersion, KubeletVersion, BootID string
	// Report is the annotation ingotv1.NodeIdentityAnnotation: the machine reports it.
	Report string
}

// Verdict is a condition about a Node.
type Verdict struct {
	// Status is True, False or Unknown.
	Status metav1.ConditionStatus
	// Reason is one of those that belong to infrav1.ImageVerifiedCondition. A verdict that is True has its level for a reason.
	Reason string
	// Message has what was declared and what runs, or what would help to tell.
	Message string
}

// remark is one thing to say about a Node.
type remark struct{ reason, message string }

// judge collects what there is to say.
type judge struct {
	mismatches []remark
	unknown    []remark
	matches    []string
}

// Judge compares a Node with what was declared. One mismatch that is certain is enough for False; it needs everything that
// was declared to be told for True.
func Judge(declared Declared, observed Observed) Verdict {
	j := &judge{}
	j.system(declared.Image, observed)
	j.reported(declared.Image, observed)
	j.kernel(declared.Image, observed)
	j.kubelet(declared, observed)
	switch {
	case len(j.mismatches) > 0:
		return verdict(metav1.ConditionFalse, j.mismatches)
	case len(j.unknown) > 0:
		return verdict(metav1.ConditionUnknown, j.unknown)
	}
	level := infrav1.ImageParsedReason
	if len(declared.Image.NodeIdentity.OSRelease) > 0 {
		level = infrav1.ImageReportedReason
	}
	return Verdict{Status: metav1.ConditionTrue, Reason: level, Message: strings.Join(j.matches, ", ")}
}

// verdict gives the first remark the word, and tells them all.
func verdict(status metav1.ConditionStatus, remarks []remark) Verdict {
	var messages []string
	for _, r := range remarks {
		messages = append(messages, r.message)
	}
	return Verdict{Status: status, Reason: remarks[0].reason, Message: strings.Join(messages, "; ")}
}

// compare compares one value that was declared.
func (j *judge) compare(reason, what, declared, observed string) {
	switch {
	case observed == "":
		j.cannotTell(infrav1.ImageVersionNotToldReason, "the Node does not tell its %s, and %q is declared: see whether its kubelet runs", what, declared)
	case observed != declared:
		j.differs(reason, what, declared, observed)
	default:
		j.matches = append(j.matches, what+" "+observed)
	}
}

func (j *judge) differs(reason, what, declared, observed string) {
	j.mismatches = append(j.mismatches, remark{reason, fmt.Sprintf("%s: declared %q, running %q", what, declared, observed)})
}

func (j *judge) cannotTell(reason, format string, args ...any) {
	j.unknown = append(j.unknown, remark{reason, fmt.Sprintf(format, args...)})
}

// system compares operating system and version, as far as osImage tells them.
func (j *judge) system(image ingotv1.NodeImageSpec, observed Observed) {
	const what = "osImage"
	declared := image.NodeIdentity.OSImage
	identity, known := Identify(observed.OSImage)
	switch {
	case observed.OSImage == "":
		j.cannotTell(infrav1.ImageVersionNotToldReason, "the Node does not tell its osImage: see whether its kubelet runs")
	case known && !sameFamily(image.OS.Family, identity.Family):
		j.differs(infrav1.OSMismatchReason, "operating system", string(image.OS.Family), observed.OSImage)
	case known && !sameVersion(identity.Version, image.OS.Version):
		j.differs(infrav1.OSVersionMismatchReason, "version of the operating system", image.OS.Version, identity.Version)
	case declared != "" && firstWord(declared) != firstWord(observed.OSImage):
		j.differs(infrav1.OSMismatchReason, what, declared, observed.OSImage)
	case declared != "" && declared != observed.OSImage:
		j.differs(infrav1.OSVersionMismatchReason, what, declared, observed.OSImage)
	case declared == "" && !known && identifiable(image.OS.Family):
		j.cannotTell(infrav1.ImageVersionNotToldReason,
			"osImage %q is not what %s calls itself: if the image is a rebuild, declare spec.nodeIdentity.osImage in its NodeImage", observed.OSImage, image.OS.Family)
	case !known && !names(observed.OSImage, image.OS.Version) && len(image.NodeIdentity.OSRelease) == 0:
		j.cannotTell(infrav1.ImageVersionNotToldReason,
			"osImage %q does not name the version %s, so it is not known which version runs: put it into PRETTY_NAME of the image, "+
				"or declare spec.nodeIdentity.osRelease in its NodeImage", observed.OSImage, image.OS.Version)
	default:
		j.matches = append(j.matches, what+" "+observed.OSImage)
	}
}

func firstWord(text string) string {
	word, _, _ := strings.Cut(text, " ")
	return word
}

// sameFamily is whether an image of a family may call itself that. Families that are named by how they are set up have
// images of any operating system.
func sameFamily(declared, observed ingotv1.OSFamily) bool {
	return declared == observed || !identifiable(declared)
}

// reported compares what the machine itself reports, where the image declares it.
func (j *judge) reported(image ingotv1.NodeImageSpec, observed Observed) {
	declared := image.NodeIdentity.OSRelease
	if len(declared) == 0 {
		return
	}
	report := ParseReport(observed.Report)
	if report.Boot == "" || report.Boot != observed.BootID {
		j.cannotTell(infrav1.IdentityNotReportedReason,
			"the machine has not reported its os-release since it booted, in the annotation %s of its Node: "+
				"its IngotConfig must have spec.node.identityReport: OSRelease; if it has, see unit ingot-identity.service on the machine", ingotv1.NodeIdentityAnnotation)
		return
	}
	for _, field := range slices.Sorted(maps.Keys(declared)) {
		j.compareField(field, string(declared[field]), report.Fields)
	}
}

// compareField compares one field of os-release. An os-release without it is another one.
func (j *judge) compareField(field, declared string, fields map[string]string) {
	reason := infrav1.OSVersionMismatchReason
	if field == "ID" || field == "VARIANT_ID" || field == "IMAGE_ID" || field == "KAIROS_FLAVOR" {
		reason = infrav1.OSMismatchReason
	}
	file := "os-release"
	if strings.HasPrefix(field, "KAIROS_") {
		file = "kairos-release"
	}
	if observed := fields[field]; observed != declared {
		j.differs(reason, field+" of "+file, declared, observed)
		return
	}
	j.matches = append(j.matches, field+" "+declared)
}

func (j *judge) kernel(image ingotv1.NodeImageSpec, observed Observed) {
	if declared := image.NodeIdentity.KernelVersion; declared != "" {
		j.compare(infrav1.KernelMismatchReason, "kernelVersion", declared, observed.KernelVersion)
	}
}

// kubelet compares the kubelet with the version of the Machine, or, where it has none, with those that the image carries.
func (j *judge) kubelet(declared Declared, observed Observed) {
	wanted := []string{declared.KubernetesVersion}
	if declared.KubernetesVersion == "" {
		wanted = declared.Image.Kubernetes.Versions
	}
	switch {
	case len(wanted) == 0:
	case observed.KubeletVersion != "" && slices.ContainsFunc(wanted, func(v string) bool { return sameKubelet(v, observed.KubeletVersion) }):
		j.matches = append(j.matches, "kubelet "+observed.KubeletVersion)
	default:
		j.compare(infrav1.KubeletMismatchReason, "kubeletVersion", strings.Join(wanted, " or "), observed.KubeletVersion)
	}
}

// sameKubelet lets a distribution of Kubernetes add its own mark to a version that was declared without one: v1.33.1-eks-1a2b3c4
// is v1.33.1, and so is v1.33.1+k3s1. A release candidate is another version.
func sameKubelet(declared, observed string) bool {
	mark, is := strings.CutPrefix(observed, declared)
	marked := strings.HasPrefix(mark, "+") || strings.HasPrefix(mark, "-eks-")
	return is && (mark == "" || marked && !strings.Contains(declared, "+"))
}
