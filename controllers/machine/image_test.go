// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

func TestImages(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"an image is pinned once and for ever":                             pinsOnce,
		"an image that was revoked after it was pinned starts nothing":     revokedBeforeStart,
		"an image that is revoked while the guest boots stops nothing":     revokedWhileBooting,
		"an image of the same name and other content is not the same":      madeAgainUnderSameName,
		"the machine tells how far its image is":                           tellsProgress,
		"an artefact that is not what was declared reaches no disk":        digestMismatch,
		"a replica that goes away before the start is made again":          replicaComesBack,
		"the content of a pinned image cannot be edited under the machine": contentIsImmutable,
	})
}

// pinsOnce: which image a node runs is an answer that must not depend on when one asks. A newer image that the selector
// would choose now is for machines to come.
func pinsOnce(s *story) {
	label := map[string]string{"story": s.namespace}
	s.image.Labels = label
	s.infra.Spec.Image = infrav1.ImageReference{Selector: infrav1.ImageSelector{MatchLabels: label}}
	s.begin()
	s.settle()
	s.create(builder.NodeImage(s.namespace+"-2", func(i *ingotv1.NodeImage) {
		i.Labels = label
		i.Spec.OS.Version = "v2.0.0"
	}))
	s.restart()
	s.boot()
	s.settle()
	want := infrav1.PinnedImage{Name: s.namespace, SHA256: builder.Digest(s.namespace)}
	if got := s.now().Spec.PinnedImage; got != want {
		s.Errorf("pinned is %v, want %v", got, want)
	}
	infra := s.now()
	infra.Spec.PinnedImage.Name += "-2"
	if err := s.client.Update(s.Context(), infra); err == nil {
		s.Error("the API let the pinned image be changed")
	}
}

// revokedBeforeStart: a revocation is worth nothing if machines that are in the queue still start from the image.
func revokedBeforeStart(s *story) {
	s.data = nil
	s.machine.Spec.Bootstrap.DataSecretName = nil
	s.machine.Spec.Bootstrap.ConfigRef = clusterv1.ContractVersionedObjectReference{
		APIGroup: "bootstrap.cluster.x-k8s.io", Kind: "IngotConfig", Name: machineName,
	}
	s.begin()
	s.settle()
	s.expect(infrav1.BootstrapAvailableCondition, metav1.ConditionFalse, infrav1.WaitingForBootstrapDataReason)
	s.revoke()
	s.create(builder.BootstrapData(machineName))
	patch(s, s.machineNow(), func(m *clusterv1.Machine) { m.Spec.Bootstrap.DataSecretName = new(machineName) })
	s.platform.ForgetCalls()
	s.settle()
	s.expectMessage(s.expect(infrav1.ImageResolvedCondition, metav1.ConditionFalse, infrav1.ImageRevokedReason), "CVE-2026-0001")
	s.expectCalls("Observe") // it looks whether something runs already, and makes nothing
}

// revokedWhileBooting: between start and first address the instance exists; stopping the story there would leave a
// running node that nobody counts.
func revokedWhileBooting(s *story) {
	s.begin()
	s.settle()
	s.expect(infrav1.InstanceReadyCondition, metav1.ConditionFalse, infrav1.InstanceWaitingForAddressReason)
	s.revoke()
	s.settle()
	s.boot()
	s.settle()
	s.expect(infrav1.InstanceReadyCondition, metav1.ConditionTrue, infrav1.InstanceRunningReason)
	s.expectRunning()
}

func (s *story) revoke() {
	s.Helper()
	patch(s, s.image, func(i *ingotv1.NodeImage) {
		i.Spec.Lifecycle.State, i.Spec.Lifecycle.Reason = ingotv1.LifecycleRevoked, "CVE-2026-0001"
	})
}

// madeAgainUnderSameName: a name is no proof of content. The digest is what the machine was promised.
func madeAgainUnderSameName(s *story) {
	s.platform.HoldCopy(s.copy(), 0)
	s.begin()
	s.settle()
	s.delete(s.image)
	s.create(builder.NodeImage(s.namespace, func(i *ingotv1.NodeImage) { i.Spec.Artefacts[0].SHA256 = builder.Digest("other") }))
	s.platform.LetCopy(s.copy())
	s.settle()
	s.expectMessage(s.expect(infrav1.ImageResolvedCondition, metav1.ConditionFalse, infrav1.ImageIncompatibleReason), builder.Digest("other"))
	s.expectCalls("EnsureImage")
}

// copy names the copy of the story's image on its endpoint.
func (s *story) copy() platform.ImageIdentity {
	return platform.ImageIdentity{SHA256: builder.Digest(s.namespace), Storage: "default"}
}

// tellsProgress: a copy takes minutes on a slow link, and a machine that says nothing for minutes looks broken. The
// progress itself is told by the replica.
func tellsProgress(s *story) {
	s.platform.HoldCopy(s.copy(), builder.ArtefactBytes/2)
	s.begin()
	s.settle()
	s.expectMessage(s.expect(infrav1.ImageReplicatedCondition, metav1.ConditionFalse, infrav1.ImageReplicatingReason), "ImageReplica "+s.replicas()[0].Name)
	s.expect(infrav1.ReadyCondition, metav1.ConditionFalse, infrav1.ImageReplicatingReason)
	s.expectCalls("EnsureImage")
	s.platform.LetCopy(s.copy())
	s.settle()
	s.expect(infrav1.ImageReplicatedCondition, metav1.ConditionTrue, infrav1.ImageReplicaReadyReason)
	if n := len(s.replicas()); n != 1 {
		s.Errorf("there are %d replicas of one image on one storage", n)
	}
}

// digestMismatch: what arrives is compared with what was declared before anything boots from it, and the machine says so
// itself: nobody looks at replicas first.
func digestMismatch(s *story) {
	s.platform.FailCopy(s.copy(), platform.ErrDigestMismatch)
	s.begin()
	for range 10 { // the next try would succeed, so stop at the failure
		if _, err := s.pass(); err != nil {
			s.Fatal(err)
		}
		if replicas := s.replicas(); len(replicas) == 1 &&
			conditions.GetReason(&replicas[0], ingotv1.ImageReplicaReadyCondition) == ingotv1.ImageReplicaDigestMismatchReason {
			break
		}
		s.replicate()
	}
	s.expectMessage(s.expect(infrav1.ImageReplicatedCondition, metav1.ConditionFalse, infrav1.ImageReplicaFailedReason), "DigestMismatch")
	s.expectCalls("EnsureImage")
}

// replicaComesBack: whoever cleans replicas up must not be able to leave a machine without one.
func replicaComesBack(s *story) {
	s.machine.Spec.Bootstrap.DataSecretName = new("later")
	s.begin()
	for range 8 {
		_, _ = s.pass() // ends at the missing Secret
		s.replicate()
	}
	replica := s.replicas()[0]
	s.delete(&replica)
	s.replicate()
	if len(s.replicas()) != 0 || s.platform.HasImage(s.copy()) {
		s.Fatal("the replica was not removed")
	}
	s.create(builder.BootstrapData("later"))
	s.settle()
	s.expect(infrav1.InstanceReadyCondition, metav1.ConditionFalse, infrav1.InstanceWaitingForAddressReason)
	s.expectRunning()
}

// contentIsImmutable: pinning a digest would be worth little if the catalogue entry behind it could change.
func contentIsImmutable(s *story) {
	s.begin()
	s.settle()
	s.refresh(s.image)
	s.image.Spec.Artefacts[0].SHA256 = builder.Digest("other")
	if err := s.client.Update(s.Context(), s.image); err == nil {
		s.Error("the API let the content of a NodeImage be changed")
	}
}

// TestRefusals: a wrong combination is refused before anything exists, with a reason that says what to change.
func TestRefusals(t *testing.T) {
	t.Parallel()
	refusals := map[string]struct {
		why       string
		given     func(*story)
		condition string
		reason    string
		says      string
		calls     []string // all that the platform may have been asked
	}{
		"revoked image": {
			why: "a revoked image has a hole that somebody found",
			given: func(s *story) {
				s.image.Spec.Lifecycle = ingotv1.ImageLifecycle{State: ingotv1.LifecycleRevoked, Reason: "CVE-2026-0001"}
			},
			condition: infrav1.ImageResolvedCondition, reason: infrav1.ImageRevokedReason, says: "CVE-2026-0001",
		},
		"expired image": {
			why:       "an expiry is a promise that nobody has to remember",
			given:     func(s *story) { s.image.Spec.Lifecycle.ExpiresAt = metav1.NewTime(s.clock.Now().Add(-time.Minute)) },
			condition: infrav1.ImageResolvedCondition, reason: infrav1.ImageExpiredReason, says: "expiresAt",
		},
		"image that does not exist": {
			why:       "a misspelt name must not wait in silence",
			given:     func(s *story) { s.image = nil },
			condition: infrav1.ImageResolvedCondition, reason: infrav1.ImageNotFoundReason, says: "does not exist",
		},
		"wrong Kubernetes version": {
			why:       "a kubelet of the wrong version would join, and break skew rules where nobody looks",
			given:     func(s *story) { s.machine.Spec.Version = "v1.35.0" },
			condition: infrav1.ImageResolvedCondition, reason: infrav1.ImageIncompatibleReason, says: "v1.35.0",
		},
		"firmware that the image cannot boot with": {
			why:       "such an instance would run and stay silent for ever",
			given:     func(s *story) { s.infra.Spec.Firmware = ingotv1.FirmwareBIOS },
			condition: infrav1.ImageResolvedCondition, reason: infrav1.ImageIncompatibleReason, says: "BIOS",
		},
		"no artefact for the platform": {
			why:       "an image for another platform does not boot here",
			given:     func(s *story) { s.image.Spec.Artefacts[0].Platform = ingotv1.ArtefactPlatformBareMetal },
			condition: infrav1.ImageResolvedCondition, reason: infrav1.ImageIncompatibleReason, says: "libvirt",
		},
		"endpoint that does not exist": {
			why:       "the remedy is to create it, and only the message can say so",
			given:     func(s *story) { s.endpoint = nil },
			condition: infrav1.PlacedCondition, reason: infrav1.EndpointNotFoundReason, says: "create it",
		},
		"namespace that is not named": {
			why:       "one tenant must not place machines on another's host",
			given:     func(s *story) { s.endpoint.Spec.AllowedNamespaces.Names = []string{"somebody-else"} },
			condition: infrav1.PlacedCondition, reason: infrav1.EndpointNotAllowedReason, says: "allowedNamespaces",
		},
		"namespace that is not selected": {
			why: "the same, by label",
			given: func(s *story) {
				s.endpoint.Spec.AllowedNamespaces.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"tenant": "other"}}
			},
			condition: infrav1.PlacedCondition, reason: infrav1.EndpointNotAllowedReason, says: "allowedNamespaces",
		},
		"bootstrap data that the image cannot read": {
			why:       "the guest would boot, ignore the data and never join, and nobody would know why",
			given:     func(s *story) { s.data.Data["format"] = []byte("talos") },
			condition: infrav1.BootstrapAvailableCondition, reason: infrav1.BootstrapFormatMismatchReason, says: "talos",
			calls: []string{"EnsureImage"},
		},
		"bootstrap data for another operating system": {
			why: "two read the same format, and the guest would do half of what the other's says",
			given: func(s *story) {
				s.image.Spec.OS.Family, s.image.Spec.BootstrapFormats = ingotv1.OSFamilyCloudInit, []ingotv1.BootstrapFormat{ingotv1.BootstrapFormatCloudConfig}
				s.data.Data["format"], s.data.Data["os-family"] = []byte("cloud-config"), []byte("Kairos")
			},
			condition: infrav1.BootstrapAvailableCondition, reason: infrav1.BootstrapFormatMismatchReason, says: "is rendered for OS family Kairos",
			calls: []string{"EnsureImage"},
		},
		"bootstrap data without a format": {
			why:       "Cluster API's contract says that it is cloud-config then, which this image does not read",
			given:     func(s *story) { delete(s.data.Data, "format") },
			condition: infrav1.BootstrapAvailableCondition, reason: infrav1.BootstrapFormatMismatchReason, says: "cloud-config",
			calls: []string{"EnsureImage"},
		},
	}
	for name, refusal := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			refusal.given(s)
			s.begin()
			s.settle()
			s.expectMessage(s.expect(refusal.condition, metav1.ConditionFalse, refusal.reason), refusal.says)
			s.expectCalls(refusal.calls...)
			if made := s.platform.Instances(); len(made) != 0 {
				s.Errorf("instances exist although %s: %v", refusal.why, made)
			}
			if infra := s.now(); infra.Spec.ProviderID == "" || infra.Status.ObservedGeneration != infra.Generation {
				s.Errorf("a refused machine has its identity and says what it has seen: %q, %d of %d",
					infra.Spec.ProviderID, infra.Status.ObservedGeneration, infra.Generation)
			}
		})
	}
}
