// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package cel_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/cluster-api/util/contract"
	"sigs.k8s.io/yaml"
)

// node is a schema with what the checks read.
type node struct {
	*apiextensionsv1.JSONSchemaProps
	Rules apiextensionsv1.ValidationRules
}

// TestSchemas holds the API to its habits: documented, bounded, mergeable.
func TestSchemas(t *testing.T) {
	for _, crd := range readCRDs(t) {
		t.Run(crd.Name, func(t *testing.T) {
			walk(schemaOf(crd), "", func(path string, schema node) {
				for _, complaint := range complaints(path, schema) {
					t.Errorf("%s %s", path, complaint)
				}
			})
		})
	}
}

func complaints(path string, schema node) []string {
	var found []string
	if schema.Description == "" && !foreign(path) && !element(path) {
		found = append(found, "has no description")
	}
	switch schema.Type {
	case "array":
		if schema.XListType == nil && !foreign(path) {
			found = append(found, "has no listType: server-side apply would replace the whole list")
		}
		if schema.MaxItems == nil && !foreign(path) {
			found = append(found, "has no MaxItems: CEL cannot bound the cost of a rule over it")
		}
	case "string":
		if schema.MaxLength == nil && len(schema.Enum) == 0 && schema.Format == "" && !foreign(path) && !element(path) {
			found = append(found, "has no MaxLength")
		}
	}
	return found
}

// foreign reports whether a path leads into a type of Kubernetes or Cluster API, which has its own habits.
func foreign(path string) bool {
	for _, part := range []string{
		".metadata", ".apiVersion", ".kind", ".status.conditions", ".taints", ".selector.match", ".allowedNamespaces.selector",
		".endpointSelector",
	} {
		if strings.Contains(path, part) {
			return true
		}
	}
	return false
}

// element reports whether a path ends at the values of a map or the items of a list, which their parent describes.
func element(path string) bool {
	return strings.HasSuffix(path, "[]") || strings.HasSuffix(path, "{}")
}

// TestNames checks what clusterctl and Cluster API derive from a CRD's metadata.
func TestNames(t *testing.T) {
	for _, crd := range readCRDs(t) {
		t.Run(crd.Name, func(t *testing.T) {
			if want := contract.CalculateCRDName(crd.Spec.Group, crd.Spec.Names.Kind); crd.Name != want {
				t.Errorf("clusterctl init refuses the name, want %s", want)
			}
			if _, ok := crd.Labels["clusterctl.cluster.x-k8s.io"]; !ok {
				t.Error("clusterctl move does not see a CRD without label clusterctl.cluster.x-k8s.io when it was not installed by clusterctl")
			}
			if strings.HasSuffix(crd.Spec.Group, ".cluster.x-k8s.io") && crd.Labels["cluster.x-k8s.io/v1beta2"] != "v1alpha1" {
				t.Error("Cluster API does not find a kind without its contract label cluster.x-k8s.io/v1beta2=v1alpha1")
			}
			if !strings.HasSuffix(crd.Spec.Names.Kind, "Template") && crd.Spec.Versions[0].Subresources == nil {
				t.Error("has no status subresource")
			}
			columns := crd.Spec.Versions[0].AdditionalPrinterColumns
			if !slices.ContainsFunc(columns, func(c apiextensionsv1.CustomResourceColumnDefinition) bool { return c.Name == "Age" }) {
				t.Error("has no printer columns that end in Age")
			}
		})
	}
}

func readCRDs(t *testing.T) []*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repo(t), "config", "crd", "bases", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs found: %v", err)
	}
	var crds []*apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(read(t, file), crd); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		crds = append(crds, crd)
	}
	return crds
}

func schemaOf(crd *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.JSONSchemaProps {
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// walk visits a schema and everything below it. Paths look like .spec.networks[].name and .spec.labels{}.
func walk(props *apiextensionsv1.JSONSchemaProps, path string, visit func(path string, schema node)) {
	visit(path, node{JSONSchemaProps: props, Rules: props.XValidations})
	for name, child := range props.Properties {
		walk(&child, path+"."+name, visit)
	}
	if props.Items != nil && props.Items.Schema != nil {
		walk(props.Items.Schema, path+"[]", visit)
	}
	if props.AdditionalProperties != nil && props.AdditionalProperties.Schema != nil {
		walk(props.AdditionalProperties.Schema, path+"{}", visit)
	}
}
