// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package managementplane_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
)

// The road of quickstart: someone else (clusterctl) installs manifests that name Services which nobody serves, and the
// plane makes them work afterwards.
func TestManifestsOfOthersAreRedirected(t *testing.T) {
	o := options(t)
	p := start(t, o)
	c := newClient(t, p)
	requirePortsOfOthersAreKept(t, p)

	if err := managementplane.InstallCertManagerKinds(t.Context(), p.Config); err != nil {
		t.Fatal(err)
	}
	requireCertManagerProbeWorks(t, c)
	manifests, err := managementplane.CoreComponents(t.Context(), o.Builder)
	if err != nil {
		t.Fatal(err)
	}
	requireClusterctlVariables(t, manifests)
	for _, object := range withWebhooks(t, manifests) {
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	foreign := foreignWebhook()
	if err := c.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}

	urls := map[types.NamespacedName]string{managementplane.CoreService(): p.CoreURL()}
	if err := managementplane.RedirectWebhooks(t.Context(), c, urls, p.CABundle); err != nil {
		t.Fatal(err)
	}
	before := resourceVersions(t, c, manifests)
	if err := managementplane.RedirectWebhooks(t.Context(), c, urls, p.CABundle); err != nil {
		t.Fatal(err)
	}
	if after := resourceVersions(t, c, manifests); after != before {
		t.Error("a repeated redirection writes again")
	}
	was := foreign.GetResourceVersion()
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(foreign), foreign); err != nil || foreign.GetResourceVersion() != was {
		t.Errorf("the webhook of another Service was changed: %v", err)
	}

	if err := p.StartCore(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = c.Create(t.Context(), cluster("bad", "10.128.0.0/99"))
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "10.128.0.0/99") {
		t.Errorf("the webhook was not called: %v", err)
	}
}

// requireCertManagerProbeWorks does what clusterctl does to see whether cert-manager is there.
func requireCertManagerProbeWorks(t *testing.T, c client.Client) {
	t.Helper()
	for _, kind := range []string{"Issuer", "Certificate"} {
		object := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "cert-manager.io/v1", "kind": kind,
			"metadata": map[string]any{"name": "test", "namespace": "default"},
			"spec":     map[string]any{"selfSigned": map[string]any{}, "dnsNames": []any{"a.test"}},
		}}
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// requireClusterctlVariables: clusterctl fills variables in, so they must have survived rendering.
func requireClusterctlVariables(t *testing.T, manifests []byte) {
	t.Helper()
	for _, want := range []string{"${CLUSTER_TOPOLOGY:=false}", "kind: Deployment", "cluster.x-k8s.io/provider: cluster-api"} {
		if !bytes.Contains(manifests, []byte(want)) {
			t.Errorf("core components lack %q", want)
		}
	}
}

func withWebhooks(t *testing.T, manifests []byte) []*unstructured.Unstructured {
	t.Helper()
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096)
	var objects []*unstructured.Unstructured
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(o.GetKind(), "WebhookConfiguration") || o.GetKind() == "CustomResourceDefinition" {
			objects = append(objects, o)
		}
	}
}

// foreignWebhook belongs to someone whose Service the caller of RedirectWebhooks did not name. It matches nothing.
func foreignWebhook() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
		"metadata": map[string]any{"name": "foreign"},
		"webhooks": []any{map[string]any{
			"name": "foreign.example.org", "sideEffects": "None", "admissionReviewVersions": []any{"v1"},
			"clientConfig": map[string]any{"service": map[string]any{"namespace": "foreign", "name": "capi-webhook-service"}},
		}},
	}}
}

// resourceVersions identifies the stored content of everything with webhooks. Only the webhook configurations count,
// because the API server itself writes the status of CRDs.
func resourceVersions(t *testing.T, c client.Client, manifests []byte) string {
	t.Helper()
	var all strings.Builder
	for _, o := range withWebhooks(t, manifests) {
		if o.GetKind() == "CustomResourceDefinition" {
			continue
		}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		all.WriteString(o.GetName() + " " + o.GetResourceVersion() + "\n")
	}
	return all.String()
}
