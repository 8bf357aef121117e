// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machinetemplate_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"
	testclock "k8s.io/utils/clock/testing"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/machinetemplate"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

var (
	apiServer client.WithWatch
	apiConfig *rest.Config
)

func TestMain(m *testing.M) {
	os.Exit(builder.RunWithConfig(m.Run, func(config *rest.Config, c client.WithWatch) { apiConfig, apiServer = config, c }))
}

// TestWhatANodeWillHave: the autoscaler believes what is written here, and makes machines for Pods that then must fit.
func TestWhatANodeWillHave(t *testing.T) {
	t.Parallel()
	other := func(change func(*ingotv1.NodeImage)) func(string) *ingotv1.NodeImage {
		return func(story string) *ingotv1.NodeImage {
			return builder.NodeImage(story+"-other", labelled(story), func(i *ingotv1.NodeImage) { i.Spec.Architecture = "arm64" }, change)
		}
	}
	unchanged := func(*ingotv1.NodeImage) {}
	for name, c := range map[string]struct {
		why          string
		spec         func(story string, spec *infrav1.IngotMachineSpec)
		image        func(*ingotv1.NodeImage)
		other        func(story string) *ingotv1.NodeImage
		architecture string
		capacity     corev1.ResourceList
	}{
		"CPUs and memory are those of the machine": {
			why: "the plain case", architecture: "amd64", capacity: has("2", "4Gi"),
		},
		"the root disk is the ephemeral storage where its size is known": {
			why:          "without a size it is the image's, which a Node may use in another way",
			spec:         func(_ string, spec *infrav1.IngotMachineSpec) { spec.RootDisk.Size = new(resource.MustParse("20Gi")) },
			architecture: "amd64", capacity: with(has("2", "4Gi"), corev1.ResourceEphemeralStorage, "20Gi"),
		},
		"huge pages of the host are not the Node's": {
			why:          "the guest's memory lies on them, and no Pod can ask for them: a Node that promised them would be made in vain",
			spec:         func(_ string, spec *infrav1.IngotMachineSpec) { spec.Resources.HugePages = infrav1.HugePages1Gi },
			architecture: "amd64", capacity: has("2", "4Gi"),
		},
		"the architecture is that of the named image, whatever others there are": {
			why: "the machine gets that one", other: other(unchanged), architecture: "amd64", capacity: has("2", "4Gi"),
		},
		"a named image that starts no machine any more still has its architecture": {
			why: "it tells what Nodes of the group are",
			image: func(i *ingotv1.NodeImage) {
				i.Spec.Lifecycle = ingotv1.ImageLifecycle{State: ingotv1.LifecycleRevoked, Reason: "CVE-2026-0001"}
			},
			architecture: "amd64", capacity: has("2", "4Gi"),
		},
		"an image that does not exist has no architecture": {
			why:      "nothing is made up",
			spec:     func(_ string, spec *infrav1.IngotMachineSpec) { spec.Image.Name = "does-not-exist" },
			capacity: has("2", "4Gi"),
		},
		"images that are selected and agree tell the architecture": {
			why: "whichever is chosen", spec: selects, architecture: "amd64", capacity: has("2", "4Gi"),
		},
		"images that are selected and do not agree tell none": {
			why: "it depends on the Machine's version and on the day", spec: selects, other: other(unchanged), capacity: has("2", "4Gi"),
		},
		"an image that is selected and starts no machine has no say": {
			why: "no machine gets it", spec: selects,
			other: other(func(i *ingotv1.NodeImage) {
				i.Spec.Lifecycle = ingotv1.ImageLifecycle{State: ingotv1.LifecycleRevoked, Reason: "CVE-2026-0001"}
			}),
			architecture: "amd64", capacity: has("2", "4Gi"),
		},
		"an image that is selected and does not fit has no say": {
			why: "no machine gets it", spec: selects,
			other:        other(func(i *ingotv1.NodeImage) { i.Spec.Firmware = []ingotv1.Firmware{ingotv1.FirmwareBIOS} }),
			architecture: "amd64", capacity: has("2", "4Gi"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			image := builder.NodeImage(s.name, labelled(s.name))
			if c.image != nil {
				c.image(image)
			}
			s.create(image)
			if c.other != nil {
				s.create(c.other(s.name))
			}
			template := s.template(func(spec *infrav1.IngotMachineSpec) {
				if c.spec != nil {
					c.spec(s.name, spec)
				}
			})
			s.pass(template)
			want := infrav1.IngotMachineTemplateStatus{
				Capacity: c.capacity,
				NodeInfo: infrav1.NodeInfo{Architecture: c.architecture, OperatingSystem: "linux"},
			}
			if !equality.Semantic.DeepEqual(template.Status, want) {
				t.Errorf("a Node will have %+v, want %+v: %s", template.Status, want, c.why)
			}
			written := s.writes.Count()
			s.pass(template)
			if s.writes.Count() != written {
				t.Errorf("nothing changed, and it was written again: %v", s.writes.Done())
			}
		})
	}
}

// A template that was just applied often comes before its image, and a manager that dies must not leave half a report.
func TestATemplateIsCompletedLater(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	template := s.template(func(*infrav1.IngotMachineSpec) {})
	s.writes.KillAt, s.writes.Lost = 1, true
	if err := s.reconcile(template); err == nil {
		t.Fatal("the manager did not die, so the test is about nothing")
	}
	s.writes = &builder.Writes{}
	s.pass(template)
	if got := template.Status.NodeInfo.Architecture; got != "" || template.Status.Capacity.Cpu().Value() != 2 {
		t.Errorf("a Node will have %+v", template.Status)
	}
	s.create(builder.NodeImage(s.name))
	s.pass(template)
	if got := template.Status.NodeInfo.Architecture; got != "amd64" {
		t.Errorf("the architecture is %q", got)
	}
	s.delete(template)
	if err := s.reconcile(template); err != nil {
		t.Errorf("a template that is gone is an error: %v", err)
	}
}

// A template of another manager is that manager's, whoever woke this one.
func TestAnotherManagersTemplate(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	template := s.template(func(*infrav1.IngotMachineSpec) {})
	s.filter = "ours"
	s.pass(template)
	if s.writes.Count() != 0 {
		t.Errorf("it was written: %v", s.writes.Done())
	}
}

// Images appear and are revoked while templates stay as they are: only a watch can tell.
func TestImagesWakeTemplates(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	named := s.template(func(*infrav1.IngotMachineSpec) {}, ours(s.name))
	selecting := s.template(func(spec *infrav1.IngotMachineSpec) { selects(s.name, spec) }, ours(s.name))
	s.running()
	s.eventually("both are reported on", func() bool {
		return s.refresh(named).Status.NodeInfo.OperatingSystem == "linux" && s.refresh(selecting).Status.NodeInfo.OperatingSystem == "linux"
	})
	image := builder.NodeImage(s.name, labelled(s.name))
	s.create(image)
	s.eventually("both have the architecture", func() bool {
		return s.refresh(named).Status.NodeInfo.Architecture == "amd64" && s.refresh(selecting).Status.NodeInfo.Architecture == "amd64"
	})
	s.delete(image)
	s.eventually("neither has it", func() bool {
		return s.refresh(named).Status.NodeInfo.Architecture == "" && s.refresh(selecting).Status.NodeInfo.Architecture == ""
	})
}

// story is a namespace with templates, and a manager.
type story struct {
	*testing.T

	name, filter string
	writes       *builder.Writes
}

func newStory(t *testing.T) *story {
	t.Helper()
	s := &story{T: t, name: "story-" + rand.String(8), writes: &builder.Writes{}}
	s.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}})
	return s
}

func (s *story) create(object client.Object) {
	s.Helper()
	if err := apiServer.Create(s.Context(), object); err != nil {
		s.Fatalf("creating %T: %v", object, err)
	}
}

func (s *story) delete(object client.Object) {
	s.Helper()
	if err := apiServer.Delete(s.Context(), object); err != nil {
		s.Fatalf("deleting %T: %v", object, err)
	}
}

// template creates a template of machines from the image that is called like the story. It has no owner.
func (s *story) template(spec func(*infrav1.IngotMachineSpec), change ...func(*infrav1.IngotMachineTemplate)) *infrav1.IngotMachineTemplate {
	s.Helper()
	template := builder.IngotMachineTemplate("template-"+rand.String(8), s.name, s.name, change...)
	template.Namespace = s.name
	spec(&template.Spec.Template.Spec)
	s.create(template)
	return template
}

func (s *story) reconcile(template *infrav1.IngotMachineTemplate) error {
	r := &machinetemplate.Reconciler{
		Client: s.writes.Through(apiServer), Clock: testclock.NewFakePassiveClock(time.Now()), WatchFilterValue: s.filter,
	}
	_, err := r.Reconcile(s.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(template)})
	return err
}

func (s *story) pass(template *infrav1.IngotMachineTemplate) {
	s.Helper()
	if err := s.reconcile(template); err != nil {
		s.Fatal(err)
	}
	s.refresh(template)
}

func (s *story) refresh(template *infrav1.IngotMachineTemplate) *infrav1.IngotMachineTemplate {
	s.Helper()
	if err := apiServer.Get(s.Context(), client.ObjectKeyFromObject(template), template); err != nil {
		s.Fatal(err)
	}
	return template
}

// running starts a manager that reconciles the story's templates, and no other ones: the stories share an API server.
func (s *story) running() {
	s.Helper()
	mgr, err := ctrl.NewManager(apiConfig, ctrl.Options{
		Scheme:     apiServer.Scheme(),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Logger:     logr.Discard(),
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		s.Fatal(err)
	}
	r := &machinetemplate.Reconciler{Client: mgr.GetClient(), Clock: testclock.NewFakePassiveClock(time.Now()), WatchFilterValue: s.name}
	if err := r.SetupWithManager(mgr); err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	s.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("the manager ended: %v", err)
		}
	})
}

func (s *story) eventually(what string, is func() bool) {
	s.Helper()
	const patience = 2 * time.Minute
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(50 * time.Millisecond) {
		if is() {
			s.Logf("%s after %s", what, time.Since(begin).Round(time.Millisecond))
			return
		}
	}
	s.Fatalf("waited %s in vain until %s", patience, what)
}

// labelled makes an image one that only the story's selector selects.
func labelled(story string) func(*ingotv1.NodeImage) {
	return func(i *ingotv1.NodeImage) { i.Labels = map[string]string{"story": story} }
}

func selects(story string, spec *infrav1.IngotMachineSpec) {
	spec.Image = infrav1.ImageReference{Selector: infrav1.ImageSelector{MatchLabels: map[string]string{"story": story}}}
}

func ours(story string) func(*infrav1.IngotMachineTemplate) {
	return func(t *infrav1.IngotMachineTemplate) { t.Labels = map[string]string{clusterv1.WatchLabel: story} }
}

func has(cpus, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpus), corev1.ResourceMemory: resource.MustParse(memory)}
}

func with(list corev1.ResourceList, name corev1.ResourceName, quantity string) corev1.ResourceList {
	list[name] = resource.MustParse(quantity)
	return list
}
