// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package managementplane

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Kinds whose objects say how to call a webhook.
const (
	kindCRD        = "CustomResourceDefinition"
	kindMutating   = "MutatingWebhookConfiguration"
	kindValidating = "ValidatingWebhookConfiguration"
)

// RedirectWebhooks makes the API server call processes of this machine: wherever a webhook configuration or the
// conversion of a CRD names one of the Services, it is changed to the URL (https://host:port) and trusts caBundle (PEM).
// All else is left alone. It may be repeated, and must be after clusterctl has installed or upgraded something.
func RedirectWebhooks(ctx context.Context, c client.Client, urls map[types.NamespacedName]string, caBundle []byte) error {
	for _, list := range []struct{ apiVersion, kind string }{
		{"apiextensions.k8s.io/v1", kindCRD},
		{"admissionregistration.k8s.io/v1", kindMutating},
		{"admissionregistration.k8s.io/v1", kindValidating},
	} {
		objects := &unstructured.UnstructuredList{}
		objects.SetAPIVersion(list.apiVersion)
		objects.SetKind(list.kind + "List")
		if err := c.List(ctx, objects); err != nil {
			return fmt.Errorf("listing %ss: %w", list.kind, err)
		}
		for _, o := range objects.Items {
			if err := redirectLive(ctx, c, &o, urls, caBundle); err != nil {
				return fmt.Errorf("redirecting %s %s: %w", list.kind, o.GetName(), err)
			}
		}
	}
	return nil
}

// redirectLive writes the object if the redirection changes it, and reads it again if someone else wrote meanwhile.
func redirectLive(
	ctx context.Context, c client.Client, o *unstructured.Unstructured, urls map[types.NamespacedName]string, caBundle []byte,
) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		changed, err := redirect(o, urls, caBundle)
		if err != nil || !changed {
			return err
		}
		err = c.Update(ctx, o)
		if err != nil {
			if getErr := c.Get(ctx, client.ObjectKeyFromObject(o), o); getErr != nil {
				return getErr
			}
		}
		return err
	})
}

func hasWebhooks(o *unstructured.Unstructured) bool {
	return slices.Contains([]string{kindCRD, kindMutating, kindValidating}, o.GetKind())
}

// redirect replaces the Services in all client configurations of one object by URLs, and says whether it changed
// anything.
func redirect(o *unstructured.Unstructured, urls map[types.NamespacedName]string, caBundle []byte) (bool, error) {
	if o.GetKind() == kindCRD {
		path := []string{"spec", "conversion", "webhook", "clientConfig"}
		config, found, err := unstructured.NestedMap(o.Object, path...)
		if err != nil || !found || !redirectConfig(config, urls, caBundle) {
			return false, err
		}
		return true, unstructured.SetNestedMap(o.Object, config, path...)
	}
	webhooks, _, err := unstructured.NestedSlice(o.Object, "webhooks")
	if err != nil {
		return false, fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
	}
	changed := false
	for _, w := range webhooks {
		webhook, ok := w.(map[string]any)
		if !ok {
			continue
		}
		if config, ok := webhook["clientConfig"].(map[string]any); ok && redirectConfig(config, urls, caBundle) {
			changed = true
		}
	}
	if !changed {
		return false, nil
	}
	return true, unstructured.SetNestedSlice(o.Object, webhooks, "webhooks")
}

func redirectConfig(config map[string]any, urls map[types.NamespacedName]string, caBundle []byte) bool {
	service, ok := config["service"].(map[string]any)
	if !ok {
		return false
	}
	namespace, _ := service["namespace"].(string)
	name, _ := service["name"].(string)
	url, ok := urls[types.NamespacedName{Namespace: namespace, Name: name}]
	if !ok {
		return false
	}
	path, _ := service["path"].(string)
	delete(config, "service")
	config["url"] = strings.TrimSuffix(url, "/") + "/" + strings.TrimPrefix(path, "/")
	config["caBundle"] = base64.StdEncoding.EncodeToString(caBundle)
	return true
}
