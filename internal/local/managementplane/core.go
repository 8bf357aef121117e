// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package managementplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
)

// fieldOwner is the server-side apply name of this package.
const fieldOwner = "ingot-management-plane"

// CoreService is the Service that Cluster API's own manifests name in the client configurations of core's webhooks.
func CoreService() types.NamespacedName {
	return types.NamespacedName{Namespace: "capi-system", Name: "capi-webhook-service"}
}

// CoreComponents renders Cluster API's core-components.yaml for a local clusterctl repository, at
// components.ClusterAPIVersion. Variables and image references are left as they are.
func CoreComponents(ctx context.Context, b *components.Builder) ([]byte, error) {
	module, err := b.ModuleDir(ctx, "sigs.k8s.io/cluster-api")
	if err != nil {
		return nil, fmt.Errorf("manifests of Cluster API: %w", err)
	}
	dir := filepath.Join(module, "core", "config", "default")
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, fmt.Errorf("manifests of Cluster API: kustomize: %w", err)
	}
	manifests, err := resources.AsYaml()
	if err != nil {
		return nil, fmt.Errorf("manifests of Cluster API: %w", err)
	}
	return manifests, nil
}

// InstallCore applies Cluster API's core CRDs and webhook configurations, and waits until the CRDs are established.
// Webhooks and conversions call the process at url, whose certificate caBundle (PEM) verifies; until that process runs,
// objects of Cluster API cannot be written. It may be repeated.
func InstallCore(ctx context.Context, cfg *rest.Config, b *components.Builder, url string, caBundle []byte) error {
	manifests, err := CoreComponents(ctx, b)
	if err != nil {
		return err
	}
	objects, err := decode(manifests)
	if err != nil {
		return fmt.Errorf("manifests of Cluster API: %w", err)
	}
	var wanted []*unstructured.Unstructured
	for _, o := range objects {
		if !hasWebhooks(o) {
			continue
		}
		if _, err := redirect(o, map[types.NamespacedName]string{CoreService(): url}, caBundle); err != nil {
			return err
		}
		wanted = append(wanted, o)
	}
	return install(ctx, cfg, wanted)
}

// install applies the objects and waits for those that are CRDs.
func install(ctx context.Context, cfg *rest.Config, objects []*unstructured.Unstructured) error {
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	for _, o := range objects {
		if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner(fieldOwner), client.ForceOwnership); err != nil {
			return fmt.Errorf("applying %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	for _, o := range objects {
		if o.GetKind() != kindCRD {
			continue
		}
		if err := awaitEstablished(ctx, c, o.GetName()); err != nil {
			return err
		}
	}
	return nil
}

func awaitEstablished(ctx context.Context, c client.Client, name string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("not established within a minute"))
	defer cancel()
	crd := newObject("apiextensions.k8s.io/v1", kindCRD)
	err := process.Poll(ctx, func() (bool, error) {
		if err := c.Get(ctx, client.ObjectKey{Name: name}, crd); err != nil {
			return false, err
		}
		return isEstablished(crd), nil
	})
	if err != nil {
		return fmt.Errorf("CustomResourceDefinition %s: %w", name, err)
	}
	return nil
}

func isEstablished(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, c := range conditions {
		condition, ok := c.(map[string]any)
		if ok && condition["type"] == "Established" && condition["status"] == "True" {
			return true
		}
	}
	return false
}

func newObject(apiVersion, kind string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	return o
}

// decode reads a stream of YAML documents.
func decode(manifests []byte) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096)
	var objects []*unstructured.Unstructured
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
}
