// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package preview

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// ReadChange reads manifests: documents of YAML or JSON, each an object or a list of objects. Objects that name no namespace
// are put into the given one.
func ReadChange(in io.Reader, namespace string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(in, 4096)
	for number := 1; ; number++ {
		content := map[string]any{}
		if err := decoder.Decode(&content); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("document %d is no manifest: %w", number, err)
		}
		if len(content) == 0 {
			continue
		}
		items, err := items(&unstructured.Unstructured{Object: content})
		if err != nil {
			return nil, fmt.Errorf("document %d is no list of manifests: %w", number, err)
		}
		for _, item := range items {
			if item.GetKind() == "" || item.GetAPIVersion() == "" || item.GetName() == "" {
				return nil, fmt.Errorf("document %d lacks apiVersion, kind or metadata.name", number)
			}
			item.SetNamespace(cmp.Or(item.GetNamespace(), namespace))
			objects = append(objects, item)
		}
	}
}

// items are the objects of a list, or the object itself.
func items(object *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	if !object.IsList() {
		return []*unstructured.Unstructured{object}, nil
	}
	list, err := object.ToList()
	if err != nil {
		return nil, err
	}
	var all []*unstructured.Unstructured
	for i := range list.Items {
		all = append(all, &list.Items[i])
	}
	return all, nil
}

// proposal is what a change makes of the objects that a plan rests on.
type proposal struct {
	client client.Client
	apply  []client.ApplyOption

	objects []*unstructured.Unstructured
	effects map[*unstructured.Unstructured]Effect
	notes   []string
}

// take has the API server say what becomes of an object if the change is applied, defaults and admission included, and
// writes it into the given one. It returns whether the change speaks of the object.
func (p *proposal) take(ctx context.Context, kind schema.GroupVersionKind, key client.ObjectKey, into client.Object) (bool, error) {
	for _, object := range p.objects {
		if object.GroupVersionKind().GroupKind() != kind.GroupKind() || client.ObjectKeyFromObject(object) != key {
			continue
		}
		if object.GroupVersionKind() != kind {
			return true, fmt.Errorf("%s is written as %s: write it as %s", called(object), object.GetAPIVersion(), kind.GroupVersion())
		}
		result, err := p.tryOut(ctx, object)
		if err != nil {
			return true, err
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(result.Object, into); err != nil {
			return true, fmt.Errorf("%s: %w", called(object), err)
		}
		return true, nil
	}
	return false, nil
}

// tryOut applies an object as a dry run, and notes the effect.
func (p *proposal) tryOut(ctx context.Context, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	before := &unstructured.Unstructured{}
	before.SetGroupVersionKind(object.GroupVersionKind())
	err := p.client.Get(ctx, client.ObjectKeyFromObject(object), before)
	exists := err == nil
	if client.IgnoreNotFound(err) != nil {
		return nil, refusal(object, err)
	}
	result := object.DeepCopy()
	if err := p.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(result), p.apply...); err != nil {
		return nil, refusal(object, err)
	}
	switch {
	case !exists:
		p.effects[object] = New
	case reflect.DeepEqual(significant(before), significant(result)):
		p.effects[object] = Unchanged
	default:
		p.effects[object] = Changed
	}
	return result, nil
}

// significant is what of an object people mean by it.
func significant(object *unstructured.Unstructured) map[string]any {
	content := object.DeepCopy().Object
	delete(content, "status")
	return map[string]any{"content": without(content, "metadata"), "labels": object.GetLabels(), "annotations": object.GetAnnotations()}
}

func without(content map[string]any, key string) map[string]any {
	delete(content, key)
	return content
}

// refusal names the object that the API server refused.
func refusal(object *unstructured.Unstructured, err error) error {
	switch {
	case meta.IsNoMatchError(err):
		return fmt.Errorf("%s: the management cluster does not know this kind: %w", called(object), err)
	case apierrors.IsConflict(err):
		return fmt.Errorf("%s would be refused: %w; say with --field-manager who applies it, or take the fields over with --force-conflicts", called(object), err)
	default:
		return fmt.Errorf("%s would be refused: %w", called(object), err)
	}
}

func called(object *unstructured.Unstructured) string {
	return object.GetKind() + "/" + object.GetName()
}

// templates tries all infrastructure machine templates out. They count as existing, whether a Machine is made from them or not.
func (p *proposal) templates(ctx context.Context, namespace string) ([]plan.Template, error) {
	var list []plan.Template
	var errs []error
	for _, object := range p.objects {
		kind := object.GroupVersionKind().GroupKind()
		if !isMachineTemplate(kind) || object.GetNamespace() != namespace {
			continue
		}
		if _, err := p.tryOut(ctx, object); err != nil {
			errs = append(errs, err)
			continue
		}
		list = append(list, plan.Template{GroupKind: kind.String(), Name: object.GetName()})
		if p.effects[object] == Changed {
			p.notes = append(p.notes, called(object)+" exists and would change: Machines are not replaced for that; give the template another name")
		}
	}
	return list, errors.Join(errs...)
}

func isMachineTemplate(kind schema.GroupKind) bool {
	return strings.HasSuffix(kind.Kind, "MachineTemplate") && strings.HasPrefix(kind.Group, "infrastructure.")
}

// proposed lists what the change holds. What nothing was asked about is ignored.
func (p *proposal) proposed() []Proposed {
	var list []Proposed
	for _, object := range p.objects {
		effect := p.effects[object]
		if effect == "" {
			effect = Ignored
		}
		list = append(list, Proposed{Object: called(object), Effect: effect})
	}
	return list
}

// noteWorkers says what a change of workers does not show.
func (p *proposal) noteWorkers() {
	var workers []string
	for _, object := range p.objects {
		if kind := object.GroupVersionKind(); kind.Group == clusterv1.GroupVersion.Group && (kind.Kind == "MachineDeployment" || kind.Kind == "MachinePool") {
			workers = append(workers, called(object))
		}
	}
	if len(workers) > 0 {
		p.notes = append(p.notes, "workers are Cluster API's own and are not planned here: "+strings.Join(workers, ", "))
	}
}

// noteTopology says what a changed Cluster does not show.
func (p *proposal) noteTopology(cluster *clusterv1.Cluster) {
	for object, effect := range p.effects {
		if object.GetKind() == "Cluster" && effect != Unchanged && cluster.Spec.Topology.IsDefined() {
			p.notes = append(p.notes, fmt.Sprintf("Cluster %s has a ClusterClass, and what Cluster API makes of the changed Cluster is not known here: propose the IngotControlPlane %s itself",
				cluster.Name, cluster.Spec.ControlPlaneRef.Name))
		}
	}
}
