// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm_test

import (
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
)

// recorded is what kubeadm init leaves in the cluster, with a field that this version of Ingot does not know.
const recorded = `apiServer:
  extraArgs:
  - name: profiling
    value: "false"
apiVersion: kubeadm.k8s.io/v1beta4
caCertificateValidityPeriod: 87600h0m0s
certificatesDir: /etc/kubernetes/pki
clusterName: harbour
controlPlaneEndpoint: 192.0.2.10:6443
controllerManager: {}
dns: {}
encryptionAlgorithm: RSA-2048
etcd:
  local:
    dataDir: /var/lib/etcd
fromTheFuture:
  kept: true
imageRepository: registry.example/k8s
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
networking:
  dnsDomain: cluster.local
  serviceSubnet: 10.96.0.0/12
scheduler: {}
`

func joining(change func(*osfamily.Input)) osfamily.Input {
	in := osfamily.Input{
		Role:    bootstrapv1.RoleControlPlane,
		Cluster: osfamily.Cluster{Name: "harbour", KubernetesVersion: "v1.36.3", EndpointHost: "192.0.2.10", EndpointPort: 6443},
	}
	in.Config.ControlPlane.APIServer.ExtraArgs = []bootstrapv1.Arg{{Name: "profiling", Value: "false"}}
	if change != nil {
		change(&in)
	}
	return in
}

// declaration is the one of a kind.
func declaration(t *testing.T, in osfamily.Input, kind string) osfamily.Declaration {
	t.Helper()
	for _, d := range kubeadm.Declarations(in) {
		if d.GroupVersionKind.Kind == kind {
			return d
		}
	}
	t.Fatalf("nothing is declared about a %s", kind)
	return osfamily.Declaration{}
}

// declare returns what the recorded configuration becomes, without what it says already.
func declare(t *testing.T, in osfamily.Input, text string) (after, before map[string]any, written string) {
	t.Helper()
	object := map[string]any{"data": map[string]any{"ClusterConfiguration": text, "other": "kept"}}
	if err := declaration(t, in, "ConfigMap").Declare(object); err != nil {
		t.Fatal(err)
	}
	written, _, _ = unstructured.NestedString(object, "data", "ClusterConfiguration")
	for from, to := range map[string]*map[string]any{text: &before, written: &after} {
		if err := yaml.Unmarshal([]byte(from), to); err != nil {
			t.Fatal(err)
		}
	}
	if other, _, _ := unstructured.NestedString(object, "data", "other"); other != "kept" {
		t.Error("another key was lost")
	}
	return after, before, written
}

// kubeadm join makes static Pods from what the cluster says. What it does not say of a new version, or of changed
// settings, no new machine has; what it loses, every new machine lacks.
func TestJoiningMachinesReadWhatIsDeclared(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*osfamily.Input)
		path   []string
		want   any
	}{
		"another version": {
			func(in *osfamily.Input) { in.Cluster.KubernetesVersion = "v1.36.4" }, []string{"kubernetesVersion"}, "v1.36.4",
		},
		"another flag": {
			func(in *osfamily.Input) { in.Config.ControlPlane.APIServer.ExtraArgs[0].Value = "true" },
			[]string{"apiServer", "extraArgs"},
			[]any{map[string]any{"name": "profiling", "value": "true"}},
		},
		"a flag less": {
			func(in *osfamily.Input) { in.Config.ControlPlane.APIServer.ExtraArgs = nil }, []string{"apiServer", "extraArgs"}, nil,
		},
		"a flag of etcd": {
			func(in *osfamily.Input) {
				in.Config.ControlPlane.Etcd.ExtraArgs = []bootstrapv1.Arg{{Name: "quota-backend-bytes", Value: "1"}}
			},
			[]string{"etcd", "local", "extraArgs"},
			[]any{map[string]any{"name": "quota-backend-bytes", "value": "1"}},
		},
		"a name in the certificate": {
			func(in *osfamily.Input) { in.Config.ControlPlane.CertSANs = []string{"api.example"} },
			[]string{"apiServer", "certSANs"},
			[]any{"api.example"},
		},
		"another place of images": {
			func(in *osfamily.Input) { in.Config.ControlPlane.ImageRepository = "ingot.local" }, []string{"imageRepository"}, "ingot.local",
		},
	} {
		t.Run(name, func(t *testing.T) {
			after, before, _ := declare(t, joining(c.change), recorded)
			got, _, _ := unstructured.NestedFieldNoCopy(after, c.path...)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s is %v, want %v", strings.Join(c.path, "."), got, c.want)
			}
			for _, side := range []map[string]any{after, before} {
				unstructured.RemoveNestedField(side, c.path...)
			}
			if !reflect.DeepEqual(after, before) {
				t.Errorf("something else changed\nbefore: %v\nafter:  %v", before, after)
			}
		})
	}
}

// A write for every machine that joins would be noise, and hide the one that matters.
func TestWhatIsSaidAlreadyStaysAsItIs(t *testing.T) {
	if _, _, written := declare(t, joining(nil), recorded); written != recorded {
		t.Errorf("it was written anew:\n%s", written)
	}
}

func TestAConfigurationThatCannotBeUnderstoodIsNotTouched(t *testing.T) {
	for name, object := range map[string]map[string]any{
		"no data":         {},
		"another key":     {"data": map[string]any{"x": "y"}},
		"no YAML":         {"data": map[string]any{"ClusterConfiguration": "{"}},
		"another version": {"data": map[string]any{"ClusterConfiguration": strings.Replace(recorded, "v1beta4", "v1beta9", 1)}},
		"another shape":   {"data": map[string]any{"ClusterConfiguration": "apiVersion: kubeadm.k8s.io/v1beta4\napiServer: []\n"}},
	} {
		before := (&unstructured.Unstructured{Object: object}).DeepCopy()
		err := declaration(t, joining(nil), "ConfigMap").Declare(object)
		if err == nil || !strings.Contains(err.Error(), "ClusterConfiguration") {
			t.Errorf("%s: error is %v", name, err)
		}
		if !reflect.DeepEqual(before.Object, object) {
			t.Errorf("%s: it was changed", name)
		}
	}
}

// A node whose image carries only the kube-proxy of its own version must get that one, and nodes that run must keep theirs.
func TestKubeProxyFollowsTheVersion(t *testing.T) {
	for name, c := range map[string]struct {
		repository, image, want string
	}{
		"from where it is":               {"", "registry.example/k8s/kube-proxy:v1.36.3", "registry.example/k8s/kube-proxy:v1.36.4"},
		"from a registry with a port":    {"", "registry.example:5000/kube-proxy:v1.36.3", "registry.example:5000/kube-proxy:v1.36.4"},
		"from where is declared":         {"ingot.local", "registry.example/k8s/kube-proxy:v1.36.3", "ingot.local/kube-proxy:v1.36.4"},
		"from nowhere, as it was":        {"", "kube-proxy:v1.36.3", "kube-proxy:v1.36.4"},
		"pinned by a digest is unpinned": {"", "registry.example/kube-proxy:v1.36.3@sha256:00", "registry.example/kube-proxy:v1.36.4"},
	} {
		t.Run(name, func(t *testing.T) {
			in := joining(func(in *osfamily.Input) {
				in.Cluster.KubernetesVersion, in.Config.ControlPlane.ImageRepository = "v1.36.4", c.repository
			})
			object := daemonSet(c.image)
			d := declaration(t, in, "DaemonSet")
			if err := d.Declare(object); err != nil {
				t.Fatal(err)
			}
			containers, _, _ := unstructured.NestedSlice(object, "spec", "template", "spec", "containers")
			images := []any{containers[0].(map[string]any)["image"], containers[1].(map[string]any)["image"]}
			if want := []any{"sidecar:1", c.want}; !reflect.DeepEqual(images, want) {
				t.Errorf("images are %v, want %v", images, want)
			}
			if strategy, _, _ := unstructured.NestedString(object, "spec", "updateStrategy", "type"); strategy != "OnDelete" {
				t.Errorf("the strategy is %q: nodes that run would get an image that they do not have", strategy)
			}
			again := (&unstructured.Unstructured{Object: object}).DeepCopy()
			if err := d.Declare(object); err != nil || !reflect.DeepEqual(again.Object, object) {
				t.Errorf("a second time changes it: %v", err)
			}
		})
	}
}

func TestKubeProxyOfSomebodyElseIsLeftAlone(t *testing.T) {
	for _, phase := range []string{"addon/kube-proxy", "addon"} {
		in := joining(func(in *osfamily.Input) { in.Config.ControlPlane.SkipPhases = []string{phase} })
		for _, d := range kubeadm.Declarations(in) {
			if d.GroupVersionKind.Kind == "DaemonSet" {
				t.Errorf("phase %s is skipped, and %s is declared", phase, d.Name)
			}
		}
	}
	if err := declaration(t, joining(nil), "DaemonSet").Declare(map[string]any{}); err == nil {
		t.Error("an object without containers was understood")
	}
}

func daemonSet(image string) map[string]any {
	return map[string]any{"spec": map[string]any{
		"updateStrategy": map[string]any{"type": "RollingUpdate", "rollingUpdate": map[string]any{"maxUnavailable": int64(1)}},
		"template": map[string]any{"spec": map[string]any{"containers": []any{
			map[string]any{"name": "sidecar", "image": "sidecar:1"},
			map[string]any{"name": "kube-proxy", "image": image},
		}}},
	}}
}
