// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/preview"
)

// foretold is what ingotctl plan said that would be done, until it is compared with what was done.
type foretold struct {
	suite *suite
	steps []string
	// known are the events that had happened before.
	known map[string]bool
}

// foretell asks ingotctl plan what would be done if manifests were applied, or what is going to be done where there are none.
func (s *suite) foretell(ctx context.Context, manifests string) *foretold {
	GinkgoHelper()
	args := []string{"plan", "quickstart", "--kubeconfig", s.managementKubeconfig(), "-n", "default", "-o", "json"}
	if manifests != "" {
		args = append(args, "-f", "-", "--force-conflicts")
	}
	command := s.command(ctx, args...)
	command.Stdin = strings.NewReader(manifests)
	out, err := command.Output()
	Expect(err).NotTo(HaveOccurred(), string(out))
	var report preview.Report
	Expect(json.Unmarshal(out, &report)).To(Succeed())
	Expect(report.Held).To(BeEmpty(), "it is not going to be done to its end")
	Expect(report.Steps).NotTo(BeEmpty())
	f := &foretold{suite: s, known: map[string]bool{}}
	for _, step := range report.Steps {
		if compared(step.Text) {
			f.steps = append(f.steps, step.Text)
		}
	}
	for _, e := range s.events(ctx) {
		f.known[e.Name] = true
	}
	return f
}

// pause has the control plane left alone, or looked after again. Cluster API goes on meanwhile.
func (s *suite) pause(ctx context.Context, paused bool) {
	GinkgoHelper()
	cp := s.controlPlane(ctx)
	before := cp.DeepCopy()
	delete(cp.Annotations, clusterv1.PausedAnnotation)
	if paused {
		metav1.SetMetaDataAnnotation(&cp.ObjectMeta, clusterv1.PausedAnnotation, "")
	}
	Expect(s.management().Patch(ctx, cp, client.MergeFrom(before))).To(Succeed())
}

// compared is whether a step is the same however it goes: who leads etcd meanwhile is not for us to say, and kubeadm gives a
// learner its vote unless it is interrupted.
func compared(step string) bool {
	return !strings.HasPrefix(step, "move the leadership") && !strings.HasPrefix(step, "promote etcd member")
}

// events are those of the control plane, in their order.
func (s *suite) events(ctx context.Context) []eventsv1.Event {
	GinkgoHelper()
	list := &eventsv1.EventList{}
	Expect(s.management().List(ctx, list, client.InNamespace("default"))).To(Succeed())
	events := slices.DeleteFunc(list.Items, func(e eventsv1.Event) bool { return e.Regarding.Kind != "IngotControlPlane" })
	slices.SortFunc(events, func(a, b eventsv1.Event) int { return a.EventTime.Compare(b.EventTime.Time) })
	return events
}

var placeholder = regexp.MustCompile(`<new-\d+>`)

// unheard is whether a step may have no event: a change of etcd whose answer is lost is not done again where the next look
// finds it done, and only a step that is known to be done has an event. What it brought about, expectWhole has seen.
func unheard(step string) bool { return strings.HasPrefix(step, "remove etcd member") }

// expectFulfilled checks that what was foretold was done, step by step, and nothing else.
func (f *foretold) expectFulfilled(ctx context.Context) {
	GinkgoHelper()
	var last string
	Eventually(func(g Gomega) { // events are sent in the background
		done, want := f.compare(ctx)
		last = strings.Join(done, "\n")
		g.Expect(done).To(Equal(want))
	}).WithContext(ctx).WithTimeout(time.Minute).Should(Succeed())
	AddReportEntry("as foretold", last)
}

// compare returns what was done, and what was foretold in the same words.
func (f *foretold) compare(ctx context.Context) (done, want []string) {
	GinkgoHelper()
	for _, e := range f.suite.events(ctx) {
		if !f.known[e.Name] && compared(e.Note) {
			done = append(done, e.Note)
		}
	}
	names := map[string]string{}
	for _, step := range f.steps {
		at := len(want)
		if at >= len(done) {
			if !unheard(step) {
				want = append(want, step)
			}
			continue
		}
		named := f.named(step, done[at], names)
		if !strings.HasPrefix(done[at], named) && unheard(step) {
			continue
		}
		want = append(want, named)
		done[at] = done[at][:min(len(done[at]), len(named))] // the rest says why
	}
	return done, want
}

// named is a foretold step with the names that Machines got meanwhile. A Machine gets its name where it is first spoken of.
func (*foretold) named(step, done string, names map[string]string) string {
	return placeholder.ReplaceAllStringFunc(step, func(which string) string {
		if names[which] == "" {
			before, _, _ := strings.Cut(step, which)
			if rest, is := strings.CutPrefix(done, before); is {
				name, _, _ := strings.Cut(rest, " ")
				names[which] = strings.TrimSuffix(name, ":")
			}
		}
		return names[which]
	})
}
