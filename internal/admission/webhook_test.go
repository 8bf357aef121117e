// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package admission_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "sigs.k8s.io/cluster-api/util/yaml"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/yaml"

	"github.com/ingot-project/cluster-api-provider-ingot/bootstrap/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/admission"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/repository"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

const (
	badSnippet  = `"storage: {files: [{path: etc/motd}]}"`
	goodSnippet = `"storage: {files: [{path: /etc/motd, contents: {inline: hello}}]}"`
)

// world is a real API server with the webhook configurations as they are released, and a manager that serves them.
type world struct {
	*testing.T
	client.Client

	plane *managementplane.Plane
	port  int
	halt  func()
}

// TestWebhooks asks a real API server: what is refused and how, what is let through, and what still works while nobody
// answers.
func TestWebhooks(t *testing.T) {
	w := newWorld(t)
	// Written before there was a rule: such objects must stay alive.
	old := map[string]*unstructured.Unstructured{}
	for kind := range manifests(badSnippet) {
		old[kind] = w.object(kind, badSnippet, "old")
		if err := w.Create(t.Context(), old[kind]); err != nil {
			t.Fatal(err)
		}
	}
	w.installWebhooks()
	w.serve()
	w.awaitRefusal()

	t.Run("what no machine could be made from is refused with its path", w.refuses)
	t.Run("what is good is stored", w.stores)
	t.Run("what was there before stays alive", func(t *testing.T) { w.letsLive(t, old) })
	t.Run("the topology controller may ask", w.answersTopology)
	w.halt()
	t.Run("while the manager is away", w.survivesAlone)
}

func (w *world) refuses(t *testing.T) {
	for kind, path := range map[string]string{
		"IngotConfig":               "spec.ignition.butane[0]",
		"IngotConfigTemplate":       "spec.template.spec.ignition.butane[0]",
		"IngotControlPlane":         "spec.config.ignition.butane[0]",
		"IngotControlPlaneTemplate": "spec.template.spec.config.ignition.butane[0]",
	} {
		object := w.object(kind, badSnippet, "bad")
		for verb, write := range map[string]func() error{
			"create":            func() error { return w.Create(t.Context(), object.DeepCopy()) },
			"server-side apply": func() error { return w.apply(object) },
			"dry run":           func() error { return w.Create(t.Context(), object.DeepCopy(), client.DryRunAll) },
		} {
			err := write()
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), path+": Invalid value: storage.files[0].path: ") {
				t.Errorf("%s of %s: %v", verb, kind, err)
				continue
			}
			t.Log(err) // what a person reads
			if causes := causesOf(err); len(causes) != 1 || causes[0].Field != path {
				t.Errorf("%s of %s has the causes %v", verb, kind, causes)
			}
		}
	}
}

func causesOf(err error) []metav1.StatusCause {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	return status.Status().Details.Causes
}

func (w *world) stores(t *testing.T) {
	for kind := range manifests(goodSnippet) {
		if err := w.Create(t.Context(), w.object(kind, goodSnippet, "good")); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	// A config of a machine that exists comes from another management cluster or a backup.
	moved := w.object("IngotConfig", badSnippet, "moved")
	moved.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "cluster.x-k8s.io/v1beta2", Kind: "Machine", Name: "m", UID: "u"}})
	if err := w.Create(t.Context(), moved); err != nil {
		t.Errorf("moving a config: %v", err)
	}
	worse := w.object("IngotControlPlane", badSnippet, "good")
	if err := w.apply(worse); !apierrors.IsInvalid(err) {
		t.Errorf("a good control plane became a bad one: %v", err)
	}
}

// letsLive does to objects that are refused today all that controllers and people do to objects that they do not change.
func (w *world) letsLive(t *testing.T, old map[string]*unstructured.Unstructured) {
	t.Helper()
	for kind, object := range old {
		w.change(t, kind, object, `{"metadata":{"labels":{"a":"b"},"finalizers":["ingot.dev/test"]}}`)
		if kind == "IngotControlPlane" {
			w.change(t, kind, object, `{"spec":{"replicas":3}}`)
		}
		if kind == "IngotConfig" || kind == "IngotControlPlane" {
			status := client.RawPatch(types.MergePatchType, []byte(`{"status":{"observedGeneration":1}}`))
			if err := w.Status().Patch(t.Context(), object, status); err != nil {
				t.Errorf("status of %s: %v", kind, err)
			}
		}
		if err := w.Delete(t.Context(), object); err != nil {
			t.Errorf("deleting %s: %v", kind, err)
		}
		w.change(t, kind, object, `{"metadata":{"finalizers":null}}`)
		if err := w.Get(t.Context(), client.ObjectKeyFromObject(object), object); !apierrors.IsNotFound(err) {
			t.Errorf("%s is still there: %v", kind, err)
		}
	}
}

func (w *world) change(t *testing.T, kind string, object *unstructured.Unstructured, patch string) {
	t.Helper()
	if err := w.Patch(t.Context(), object, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Errorf("%s of %s: %v", patch, kind, err)
	}
}

func (w *world) answersTopology(t *testing.T) {
	for _, kind := range []string{"IngotConfigTemplate", "IngotControlPlane"} {
		object := w.object(kind, badSnippet, "good")
		object.SetAnnotations(map[string]string{"topology.cluster.x-k8s.io/dry-run": ""})
		if err := w.apply(object, client.DryRunAll); err != nil {
			t.Errorf("a dry run of %s: %v", kind, err)
		}
		if err := w.apply(object); !apierrors.IsInvalid(err) {
			t.Errorf("the annotation alone of %s: %v", kind, err)
		}
	}
}

// survivesAlone: what people write waits for the manager. What keeps clusters alive does not.
func (w *world) survivesAlone(t *testing.T) {
	for _, kind := range []string{"IngotConfigTemplate", "IngotControlPlane", "IngotControlPlaneTemplate"} {
		if err := w.Create(t.Context(), w.object(kind, goodSnippet, "alone")); err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if err := w.Create(t.Context(), w.object("IngotConfig", goodSnippet, "alone")); err != nil {
		t.Errorf("a machine cannot be replaced: %v", err)
	}
	for kind := range manifests(goodSnippet) {
		object := w.object(kind, goodSnippet, "good")
		w.change(t, kind, object, `{"metadata":{"labels":{"a":"b"}}}`)
		if kind == "IngotControlPlane" {
			w.change(t, kind, object, `{"spec":{"replicas":3}}`)
		}
		if err := w.Delete(t.Context(), object); err != nil {
			t.Errorf("deleting %s: %v", kind, err)
		}
	}
}

// manifests are the smallest objects of each kind with a snippet.
func manifests(snippet string) map[string]string {
	config := "{ignition: {variant: Flatcar, butane: [" + snippet + "]}}"
	ref := "{apiGroup: infrastructure.cluster.x-k8s.io, kind: IngotMachineTemplate, name: m}"
	return map[string]string{
		"IngotConfig":               "apiVersion: bootstrap.cluster.x-k8s.io/v1alpha1\nkind: IngotConfig\nspec: " + config,
		"IngotConfigTemplate":       "apiVersion: bootstrap.cluster.x-k8s.io/v1alpha1\nkind: IngotConfigTemplate\nspec: {template: {spec: " + config + "}}",
		"IngotControlPlane":         "apiVersion: controlplane.cluster.x-k8s.io/v1alpha1\nkind: IngotControlPlane\nspec: {version: v1.36.3, machineTemplate: {spec: {infrastructureRef: " + ref + "}}, config: " + config + "}",
		"IngotControlPlaneTemplate": "apiVersion: controlplane.cluster.x-k8s.io/v1alpha1\nkind: IngotControlPlaneTemplate\nspec: {template: {spec: {config: " + config + "}}}",
	}
}

func (w *world) object(kind, snippet, name string) *unstructured.Unstructured {
	w.Helper()
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifests(snippet)[kind]), &object.Object); err != nil {
		w.Fatal(err)
	}
	object.SetNamespace(metav1.NamespaceDefault)
	object.SetName(name)
	return object
}

func (w *world) apply(object *unstructured.Unstructured, options ...client.ApplyOption) error {
	options = append(options, client.FieldOwner("test"), client.ForceOwnership)
	return w.Apply(w.Context(), client.ApplyConfigurationFromUnstructured(object.DeepCopy()), options...)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	programs, err := components.FromEnvironment(func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	plane, stop, err := managementplane.StartForTest(t.Context(), managementplane.Options{Builder: programs})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := builder.InstallCRDs(plane.Config, builder.CRDs(programs.Repo)); err != nil {
		t.Fatal(err)
	}
	c, err := builder.NewClient(plane.Config)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, Client: c, plane: plane}
	if w.port, err = plane.Port(t.Context(), "webhook"); err != nil {
		t.Fatal(err)
	}
	return w
}

// installWebhooks installs the webhook configurations of the release, as a local management plane does.
func (w *world) installWebhooks() {
	w.Helper()
	repo, err := components.FindRepo("")
	if err != nil {
		w.Fatal(err)
	}
	dir := w.TempDir()
	if err := repository.WriteAssets(repo, dir); err != nil {
		w.Fatal(err)
	}
	installed := 0
	for _, role := range []string{"bootstrap", "control-plane"} {
		content, err := os.ReadFile(filepath.Join(dir, role+"-components.yaml"))
		if err != nil {
			w.Fatal(err)
		}
		objects, err := utilyaml.ToUnstructured(content)
		if err != nil {
			w.Fatal(err)
		}
		for _, object := range objects {
			if object.GetKind() != "ValidatingWebhookConfiguration" {
				continue
			}
			if err := w.Create(w.Context(), &object); err != nil {
				w.Fatal(err)
			}
			installed++
		}
	}
	urls := map[types.NamespacedName]string{}
	for _, service := range repository.WebhookServices() {
		urls[service] = fmt.Sprintf("https://127.0.0.1:%d", w.port)
	}
	if err := managementplane.RedirectWebhooks(w.Context(), w.Client, urls, w.plane.CABundle); err != nil {
		w.Fatal(err)
	}
	w.expectRedirected(installed)
}

// expectRedirected checks that the names in the release are those that the local plane looks for.
func (w *world) expectRedirected(installed int) {
	w.Helper()
	list := &admissionv1.ValidatingWebhookConfigurationList{}
	if err := w.List(w.Context(), list); err != nil {
		w.Fatal(err)
	}
	if installed != 2 || len(list.Items) != 2 {
		w.Fatalf("%d webhook configurations are released, want 2", installed)
	}
	for _, configuration := range list.Items {
		for _, hook := range configuration.Webhooks {
			if hook.ClientConfig.URL == nil {
				w.Errorf("%s calls the Service %v", hook.Name, hook.ClientConfig.Service)
			}
		}
	}
}

// serve runs a manager that serves the webhooks and nothing else.
func (w *world) serve() {
	w.Helper()
	mgr, err := ctrl.NewManager(w.plane.Config, ctrl.Options{
		Scheme:        w.Scheme(),
		Metrics:       metricsserver.Options{BindAddress: "0"},
		WebhookServer: webhook.NewServer(webhook.Options{Port: w.port, CertDir: w.plane.ServingDir}),
	})
	if err != nil {
		w.Fatal(err)
	}
	preview := controller.Preview{Families: registry.Families()}
	for _, add := range []func(ctrl.Manager, controller.Preview) error{admission.AddBootstrap, admission.AddControlPlane} {
		if err := add(mgr, preview); err != nil {
			w.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	w.halt = func() {
		cancel()
		if err := <-ended; err != nil {
			w.Error(err)
		}
	}
}

// awaitRefusal waits until the API server calls the webhooks of both roles: it takes up configurations with a delay.
func (w *world) awaitRefusal() {
	w.Helper()
	deadline := time.Now().Add(time.Minute)
	for _, kind := range []string{"IngotConfig", "IngotControlPlaneTemplate"} {
		for {
			err := w.Create(w.Context(), w.object(kind, badSnippet, "probe"), client.DryRunAll)
			if apierrors.IsInvalid(err) {
				break
			}
			if time.Now().After(deadline) {
				w.Fatalf("%s is not refused: %v", kind, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}
