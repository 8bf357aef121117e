// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package repository_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/bootstrap/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/repository"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/render"
)

// TestClusterctl takes the road that users take, with clusterctl's own library over a local repository: what it
// installs is accepted by an API server, and so is what it generates.
func TestClusterctl(t *testing.T) {
	plane := newPlane(t)
	config := buildRepository(t)

	if err := repository.Init(t.Context(), config, plane.kubeconfig); err != nil {
		t.Fatalf("init: %v", err)
	}
	plane.expectProviders(t)
	plane.expectKindsEstablished(t)
	plane.expectPoliciesBound(t)

	t.Run("init of a complete management cluster changes nothing", func(t *testing.T) {
		before := plane.providers(t)
		if err := repository.Init(t.Context(), config, plane.kubeconfig); err != nil {
			t.Fatal(err)
		}
		// The version of the list is that of the whole API server, into which others write.
		if after := plane.providers(t); !reflect.DeepEqual(before.Items, after.Items) {
			t.Errorf("providers changed from %+v to %+v", before.Items, after.Items)
		}
	})

	t.Run("init completes an init that was killed before its last provider was recorded", func(t *testing.T) {
		plane.forgetProvider(t, clusterctlv1.InfrastructureProviderType)
		if err := repository.Init(t.Context(), config, plane.kubeconfig); err != nil {
			t.Fatal(err)
		}
		plane.expectProviders(t)
	})

	plane.removeCoreWebhooks(t)
	for _, flavor := range flavors() {
		t.Run("the API server accepts every object of flavour "+strconv.Quote(flavor), func(t *testing.T) {
			rendered, err := repository.Generate(t.Context(), config, cluster(flavor))
			if err != nil {
				t.Fatal(err)
			}
			plane.expectAccepted(t, rendered)
		})
	}
}

func TestGenerate(t *testing.T) {
	config := buildRepository(t)

	t.Run("a worker image of its own leaves the control plane's templates alone, so that only workers roll", func(t *testing.T) {
		wanted := cluster("")
		wanted.Variables["INGOT_WORKER_IMAGE"] = "ingot-os-v2.0.0"
		rendered, err := repository.Generate(t.Context(), config, wanted)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"name: demo-control-plane-ingot-os-v1.0.0\n", "name: demo-md-0-ingot-os-v2.0.0\n"} {
			if !bytes.Contains(rendered, []byte(want)) {
				t.Errorf("%q is missing from:\n%s", want, rendered)
			}
		}
	})

	t.Run("a missing variable is named", func(t *testing.T) {
		wanted := cluster("")
		delete(wanted.Variables, "INGOT_ENDPOINT")
		_, err := repository.Generate(t.Context(), config, wanted)
		if err == nil || !strings.Contains(err.Error(), "INGOT_ENDPOINT") {
			t.Errorf("got error %v, want one that names INGOT_ENDPOINT", err)
		}
	})

	t.Run("a flavour for vSphere leaves nothing of libvirt, and asks where in vCenter machines live", func(t *testing.T) {
		rendered, err := repository.Generate(t.Context(), config, cluster("vsphere"))
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(rendered, []byte("resourcePool: cluster-1/Resources\n")); n != 2 || bytes.Contains(rendered, []byte("libvirt:")) {
			t.Errorf("%d of 2 templates are for vSphere:\n%s", n, rendered)
		}
		wanted := cluster("vsphere")
		delete(wanted.Variables, "INGOT_DATASTORE")
		if _, err := repository.Generate(t.Context(), config, wanted); err == nil || !strings.Contains(err.Error(), "INGOT_DATASTORE") {
			t.Errorf("got error %v, want one that names INGOT_DATASTORE", err)
		}
	})

	t.Run("the environment of whoever runs it is not read", func(t *testing.T) {
		t.Setenv("INGOT_WORKER_CPUS", "64")
		rendered, err := repository.Generate(t.Context(), config, cluster(""))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(rendered, []byte("cpus: 64")) {
			t.Errorf("INGOT_WORKER_CPUS was taken from the environment:\n%s", rendered)
		}
	})
}

// TestFlavorsAreRendered: what a flavour generates must become the machine configuration of the family that it is for.
func TestFlavorsAreRendered(t *testing.T) {
	config := buildRepository(t)
	families := map[string]ingotv1.OSFamily{
		"": ingotv1.OSFamilyGeneric, "emulated": ingotv1.OSFamilyGeneric, "flatcar": ingotv1.OSFamilyFlatcar,
		"fedora-coreos": ingotv1.OSFamilyFedoraCoreOS, "cloud-init": ingotv1.OSFamilyCloudInit, "kairos": ingotv1.OSFamilyKairos, "kairos-workers": ingotv1.OSFamilyKairos,
		"vsphere": ingotv1.OSFamilyGeneric, "vsphere-flatcar": ingotv1.OSFamilyFlatcar, "vsphere-cloud-init": ingotv1.OSFamilyCloudInit,
		"talos": ingotv1.OSFamilyTalos,
	}
	for _, flavor := range flavors() {
		t.Run("flavour "+strconv.Quote(flavor), func(t *testing.T) {
			generated, err := repository.Generate(t.Context(), config, cluster(flavor))
			if err != nil {
				t.Fatal(err)
			}
			objects, err := decode(generated)
			if err != nil {
				t.Fatal(err)
			}
			report, err := render.FromManifests(controller.Preview{Families: registry.Families()}, objects)
			if err != nil {
				t.Fatal(err)
			}
			if err := report.Err(); err != nil {
				t.Error(err)
			}
			for _, m := range report.Machines {
				if m.Family != families[strings.TrimPrefix(flavor, "topology-")] || m.Config == "" {
					t.Errorf("%s (%s) is of the family %q, and has %d bytes: %v", m.Object, m.Role, m.Family, len(m.Config), m.Findings)
				}
			}
		})
	}
}

// flavors are those of the cluster templates.
func flavors() []string {
	return []string{
		"", "emulated", "flatcar", "fedora-coreos", "cloud-init", "kairos", "kairos-workers", "talos",
		"vsphere", "vsphere-flatcar", "vsphere-cloud-init",
		"topology-flatcar", "topology-fedora-coreos", "topology-cloud-init", "topology-kairos", "topology-talos",
	}
}

func TestBuild(t *testing.T) {
	t.Run("a repository without Cluster API is refused, because clusterctl would look for it on the network", func(t *testing.T) {
		_, err := repository.Build(repository.Options{Repo: repo(t), Dir: t.TempDir()})
		if err == nil {
			t.Error("got no error")
		}
	})

	t.Run("building over an older repository replaces its files", func(t *testing.T) {
		options := options(t)
		stale := filepath.Join(options.Dir, "infrastructure-ingot", repository.Version, "cluster-template.yaml")
		if err := os.MkdirAll(filepath.Dir(stale), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(stale, []byte("half a templ"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := repository.Build(options); err != nil {
			t.Fatal(err)
		}
		if content := read(t, stale); !bytes.Contains(content, []byte("kind: Cluster\n")) {
			t.Errorf("the template was not replaced: %s", content)
		}
	})
}

// TestEveryKindIsReleased keeps a new kind from being forgotten in its role's kustomization.
func TestEveryKindIsReleased(t *testing.T) {
	dir := t.TempDir()
	if err := repository.WriteAssets(repo(t), dir); err != nil {
		t.Fatal(err)
	}
	var released []byte
	for _, role := range []string{"infrastructure", "bootstrap", "control-plane"} {
		released = append(released, read(t, filepath.Join(dir, role+"-components.yaml"))...)
	}
	for name := range ingotCRDs(t) {
		if count := bytes.Count(released, []byte("\n  name: "+name+"\n")); count != 1 {
			t.Errorf("CRD %s is in %d components files, want 1: list it in config/<role>/kustomization.yaml", name, count)
		}
	}
}

func cluster(flavor string) repository.Cluster {
	return repository.Cluster{
		Name: "demo", Namespace: "default", KubernetesVersion: components.KubernetesVersion,
		ControlPlanes: 1, Workers: 2, Flavor: flavor,
		Variables: map[string]string{
			"CONTROL_PLANE_ENDPOINT_HOST": "192.0.2.10",
			"INGOT_IMAGE":                 "ingot-os-v1.0.0",
			"INGOT_ENDPOINT":              "local",

			"INGOT_DATACENTER":    "DC0",
			"INGOT_DATASTORE":     "vsan",
			"INGOT_RESOURCE_POOL": "cluster-1/Resources",
			"INGOT_FOLDER":        "kubernetes",

			"INGOT_KUBERNETES_SYSEXT_URL":    "https://mirror.example.com/kubernetes-x86-64.raw",
			"INGOT_KUBERNETES_SYSEXT_SHA256": strings.Repeat("a0", 32),
			"INGOT_KEEPALIVED_SYSEXT_URL":    "https://mirror.example.com/keepalived-x86-64.raw",
			"INGOT_KEEPALIVED_SYSEXT_SHA256": strings.Repeat("b1", 32),
		},
	}
}

func buildRepository(t *testing.T) string {
	t.Helper()
	config, err := repository.Build(options(t))
	if err != nil {
		t.Fatalf("building repository: %v", err)
	}
	return config
}

func repo(t *testing.T) string {
	t.Helper()
	root, err := components.FindRepo("")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// options use Cluster API's components as its module has them: its managers do not run here, only its CRDs count.
func options(t *testing.T) repository.Options {
	t.Helper()
	builder := &components.Builder{Repo: repo(t)}
	module, err := builder.ModuleDir(t.Context(), "sigs.k8s.io/cluster-api")
	if err != nil {
		t.Fatal(err)
	}
	core, err := managementplane.CoreComponents(t.Context(), builder)
	if err != nil {
		t.Fatal(err)
	}
	return repository.Options{
		Repo: builder.Repo,
		Dir:  t.TempDir(),
		Core: repository.Core{
			Version:    components.ClusterAPIVersion,
			Components: core,
			Metadata:   read(t, filepath.Join(module, "metadata.yaml")),
		},
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// plane is a management cluster in which no provider runs.
type plane struct {
	client.Client
	kubeconfig string
}

func newPlane(t *testing.T) plane {
	t.Helper()
	running, stop, err := managementplane.StartForTest(t.Context(), managementplane.Options{ControllerManager: true})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := managementplane.InstallCertManagerKinds(t.Context(), running.Config); err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{apiextensionsv1.AddToScheme, clusterctlv1.AddToScheme, admissionv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(running.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return plane{Client: client.WithFieldValidation(c, metav1.FieldValidationStrict), kubeconfig: running.Kubeconfig}
}

func (p plane) providers(t *testing.T) *clusterctlv1.ProviderList {
	t.Helper()
	list := &clusterctlv1.ProviderList{}
	if err := p.List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	return list
}

func (p plane) expectProviders(t *testing.T) {
	t.Helper()
	want := map[string]string{
		"capi-system/cluster-api":                          components.ClusterAPIVersion,
		"ingot-infrastructure-system/infrastructure-ingot": repository.Version,
		"ingot-bootstrap-system/bootstrap-ingot":           repository.Version,
		"ingot-control-plane-system/control-plane-ingot":   repository.Version,
	}
	for _, provider := range p.providers(t).Items {
		key := provider.Namespace + "/" + provider.Name
		if want[key] != provider.Version {
			t.Errorf("provider %s has version %s, want %q", key, provider.Version, want[key])
		}
		delete(want, key)
	}
	if len(want) > 0 {
		t.Errorf("providers are not in the inventory: %v", want)
	}
}

func (p plane) forgetProvider(t *testing.T, kind clusterctlv1.ProviderType) {
	t.Helper()
	for _, provider := range p.providers(t).Items {
		if provider.GetProviderType() == kind {
			if err := p.Delete(t.Context(), &provider); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (p plane) expectKindsEstablished(t *testing.T) {
	t.Helper()
	for name := range ingotCRDs(t) {
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := p.Get(t.Context(), client.ObjectKey{Name: name}, crd); err != nil {
			t.Error(err)
			continue
		}
		if !established(crd) {
			t.Errorf("CRD %s is not established: %v", name, crd.Status.Conditions)
		}
	}
}

// expectPoliciesBound checks that the names of policies and their bindings still agree after each role prefixed its own.
func (p plane) expectPoliciesBound(t *testing.T) {
	t.Helper()
	bindings := &admissionv1.ValidatingAdmissionPolicyBindingList{}
	if err := p.List(t.Context(), bindings, client.HasLabels{"cluster.x-k8s.io/provider"}); err != nil {
		t.Fatal(err)
	}
	if len(bindings.Items) != 2 {
		t.Errorf("got %d bindings, want one for each immutable template kind", len(bindings.Items))
	}
	for _, binding := range bindings.Items {
		policy := &admissionv1.ValidatingAdmissionPolicy{}
		if err := p.Get(t.Context(), client.ObjectKey{Name: binding.Spec.PolicyName}, policy); err != nil {
			t.Errorf("binding %s: %v", binding.Name, err)
		}
	}
}

func established(crd *apiextensionsv1.CustomResourceDefinition) bool {
	for _, condition := range crd.Status.Conditions {
		if condition.Type == apiextensionsv1.Established {
			return condition.Status == apiextensionsv1.ConditionTrue
		}
	}
	return false
}

// removeCoreWebhooks lets Cluster API's kinds be judged by their schema alone: its manager does not run here.
func (p plane) removeCoreWebhooks(t *testing.T) {
	t.Helper()
	for _, kind := range []client.Object{&admissionv1.ValidatingWebhookConfiguration{}, &admissionv1.MutatingWebhookConfiguration{}} {
		if err := p.DeleteAllOf(t.Context(), kind); err != nil {
			t.Fatal(err)
		}
	}
}

func (p plane) expectAccepted(t *testing.T, rendered []byte) {
	t.Helper()
	objects, err := decode(rendered)
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) == 0 {
		t.Fatal("the template is empty")
	}
	for _, object := range objects {
		name := object.GetKind() + " " + object.GetName()
		if err := p.eventually(t.Context(), func() error {
			return p.Create(t.Context(), object.DeepCopy(), client.DryRunAll)
		}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// eventually repeats what meets a webhook that the API server has not forgotten yet.
func (p plane) eventually(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil || !strings.Contains(err.Error(), "failed calling webhook") || ctx.Err() != nil {
			return err
		}
	}
}

func decode(documents []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(documents), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// ingotCRDs returns the names of the generated CRDs.
func ingotCRDs(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repo(t), "config", "crd", "bases", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs found: %v", err)
	}
	names := map[string]bool{}
	for _, file := range files {
		group, plural, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".yaml"), "_")
		names[plural+"."+group] = true
	}
	return names
}
