// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage_test

import (
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/nodeimage"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

var apiServer client.WithWatch

func TestMain(m *testing.M) {
	os.Exit(builder.RunWithAPIServer(m.Run, func(c client.WithWatch) { apiServer = c }))
}

// TestJudgement: the condition answers for people what the machine reconciler asks before it starts anything.
func TestJudgement(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		why    string
		given  func(*ingotv1.NodeImage)
		status metav1.ConditionStatus
		reason string
		says   string
	}{
		"supported": {
			why:    "the common case says nothing more",
			given:  func(*ingotv1.NodeImage) {},
			status: metav1.ConditionTrue, reason: ingotv1.NodeImageUsableReason,
		},
		"preview": {
			why:    "trying out is what previews are for",
			given:  func(i *ingotv1.NodeImage) { i.Spec.Lifecycle.State = ingotv1.LifecyclePreview },
			status: metav1.ConditionTrue, reason: ingotv1.NodeImageUsableReason,
		},
		"deprecated": {
			why: "it still starts machines, and whoever looks should see why to leave it",
			given: func(i *ingotv1.NodeImage) {
				i.Spec.Lifecycle.State, i.Spec.Lifecycle.Reason = ingotv1.LifecycleDeprecated, "v2 is out"
			},
			status: metav1.ConditionTrue, reason: ingotv1.NodeImageDeprecatedReason, says: "v2 is out",
		},
		"revoked": {
			why: "the reason is what the owner of a refused machine needs",
			given: func(i *ingotv1.NodeImage) {
				i.Spec.Lifecycle.State, i.Spec.Lifecycle.Reason = ingotv1.LifecycleRevoked, "CVE-2026-0001"
			},
			status: metav1.ConditionFalse, reason: ingotv1.NodeImageRevokedReason, says: "CVE-2026-0001",
		},
		"range that cannot be read": {
			why: "the schema cannot check it, and a machine would only be told that nothing fits",
			given: func(i *ingotv1.NodeImage) {
				i.Spec.Kubernetes = ingotv1.NodeImageKubernetes{Range: "newer than 1.35"}
			},
			status: metav1.ConditionFalse, reason: ingotv1.NodeImageInvalidReason, says: "spec.kubernetes.range",
		},
		"range": {
			why:    "images that fetch Kubernetes themselves name a range",
			given:  func(i *ingotv1.NodeImage) { i.Spec.Kubernetes = ingotv1.NodeImageKubernetes{Range: ">=1.35.0 <1.37.0"} },
			status: metav1.ConditionTrue, reason: ingotv1.NodeImageUsableReason,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image := builder.NodeImage(strings.ReplaceAll("judged-"+name, " ", "-"), c.given)
			create(t, image)
			r := &nodeimage.Reconciler{Client: apiServer, Clock: testclock.NewFakePassiveClock(time.Now())}
			reconcile(t, r, image)
			usable := conditions.Get(image, ingotv1.NodeImageUsableCondition)
			if usable == nil || usable.Status != c.status || usable.Reason != c.reason || !strings.Contains(usable.Message, c.says) {
				t.Errorf("Usable is %v, want %s/%s that says %q, because %s", usable, c.status, c.reason, c.says, c.why)
			}
			before := image.ResourceVersion
			reconcile(t, r, image)
			if image.ResourceVersion != before {
				t.Error("a pass over an image that did not change wrote something")
			}
		})
	}
}

// TestExpiry: nobody writes to an image at the moment at which it expires, so the reconciler has to come back by itself.
func TestExpiry(t *testing.T) {
	t.Parallel()
	clock := testclock.NewFakePassiveClock(time.Now().Truncate(time.Second))
	image := builder.NodeImage("expiring", func(i *ingotv1.NodeImage) {
		i.Spec.Lifecycle.ExpiresAt = metav1.NewTime(clock.Now().Add(time.Hour))
	})
	create(t, image)
	r := &nodeimage.Reconciler{Client: apiServer, Clock: clock}
	if result := reconcile(t, r, image); result.RequeueAfter != time.Hour || !conditions.IsTrue(image, ingotv1.NodeImageUsableCondition) {
		t.Fatalf("an hour before its end it is looked at again after %s: %v", result.RequeueAfter, image.Status.Conditions)
	}
	clock.SetTime(clock.Now().Add(time.Hour))
	result := reconcile(t, r, image)
	if conditions.GetReason(image, ingotv1.NodeImageUsableCondition) != ingotv1.NodeImageExpiredReason || result.RequeueAfter != 0 {
		t.Errorf("at its end it is %v, looked at again after %s", image.Status.Conditions, result.RequeueAfter)
	}
	if image.Status.ObservedGeneration != image.Generation {
		t.Error("it does not say which generation it speaks of")
	}
}

func create(t *testing.T, image *ingotv1.NodeImage) {
	t.Helper()
	if err := apiServer.Create(t.Context(), image); err != nil {
		t.Fatal(err)
	}
}

// reconcile runs one pass and reads the image.
func reconcile(t *testing.T, r *nodeimage.Reconciler, image *ingotv1.NodeImage) ctrl.Result {
	t.Helper()
	key := client.ObjectKeyFromObject(image)
	result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: key})
	if err != nil {
		t.Fatal(err)
	}
	if err := apiServer.Get(t.Context(), key, image); err != nil {
		t.Fatal(err)
	}
	return result
}
