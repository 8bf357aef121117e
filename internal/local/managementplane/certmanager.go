// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package managementplane

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
)

// InstallCertManagerKinds installs the kinds Issuer and Certificate of cert-manager with a schema that takes anything.
// `clusterctl init` creates one of each to see whether cert-manager is there, and would install it otherwise, which has
// no point in a cluster without Nodes. Nothing acts on these objects: see RedirectWebhooks for the certificates of
// webhooks.
func InstallCertManagerKinds(ctx context.Context, cfg *rest.Config) error {
	return install(ctx, cfg, []*unstructured.Unstructured{
		permissiveCRD("cert-manager.io", "Issuer", "issuers"),
		permissiveCRD("cert-manager.io", "Certificate", "certificates"),
	})
}

// permissiveCRD defines a namespaced kind, version v1, whose objects may hold anything.
func permissiveCRD(group, kind, plural string) *unstructured.Unstructured {
	crd := newObject("apiextensions.k8s.io/v1", kindCRD)
	crd.SetName(plural + "." + group)
	crd.Object["spec"] = map[string]any{
		"group": group,
		"scope": "Namespaced",
		"names": map[string]any{
			"kind": kind, "listKind": kind + "List", "plural": plural, "singular": strings.ToLower(kind),
		},
		"versions": []any{map[string]any{
			"name": "v1", "served": true, "storage": true,
			"schema": map[string]any{"openAPIV3Schema": map[string]any{
				"type": "object", "x-kubernetes-preserve-unknown-fields": true,
			}},
			"subresources": map[string]any{"status": map[string]any{}},
		}},
	}
	return crd
}
