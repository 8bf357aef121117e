// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package machinetemplate reconciles IngotMachineTemplate: it reports what a Node of the template will have, so that the
// cluster autoscaler can scale a group of machines up from zero. It never changes the template and needs no owner of it.
package machinetemplate

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/clock"
	"sigs.k8s.io/cluster-api/util/labels"
	"sigs.k8s.io/cluster-api/util/predicates"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/image"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
)

// operatingSystem is what Nodes of every image report: all families are Linux.
const operatingSystem = "linux"

// Reconciler reconciles IngotMachineTemplate.
type Reconciler struct {
	Client           client.Client
	Clock            clock.PassiveClock
	WatchFilterValue string
}

// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=ingotmachinetemplates,verbs=get;list;watch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=ingotmachinetemplates/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=ingot.dev,resources=nodeimages,verbs=get;list;watch

// SetupWithManager registers the reconciler and its watches.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	filter := predicates.ResourceHasFilterLabel(mgr.GetScheme(), mgr.GetLogger(), r.WatchFilterValue)
	return ctrl.NewControllerManagedBy(mgr).
		For(&infrav1.IngotMachineTemplate{}, builder.WithPredicates(filter)).
		Watches(&ingotv1.NodeImage{}, handler.EnqueueRequestsFromMapFunc(r.onImage)).
		Complete(r)
}

// Reconcile reports what a Node of the template will have.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	template := &infrav1.IngotMachineTemplate{}
	if err := r.Client.Get(ctx, req.NamespacedName, template); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if r.WatchFilterValue != "" && !labels.HasWatchLabel(template, r.WatchFilterValue) {
		return ctrl.Result{}, nil // another manager's
	}
	images := &ingotv1.NodeImageList{}
	if err := r.Client.List(ctx, images); err != nil {
		return ctrl.Result{}, err
	}
	spec := template.Spec.Template.Spec
	status := infrav1.IngotMachineTemplateStatus{
		Capacity: capacity(spec),
		NodeInfo: infrav1.NodeInfo{Architecture: architecture(spec, images.Items, r.Clock.Now()), OperatingSystem: operatingSystem},
	}
	if equality.Semantic.DeepEqual(template.Status, status) {
		return ctrl.Result{}, nil
	}
	found := template.DeepCopy()
	template.Status = status
	return ctrl.Result{}, client.IgnoreNotFound(r.Client.Status().Patch(ctx, template, client.MergeFrom(found)))
}

// capacity is what a Node of the template has. Huge pages of the host are no huge pages of the Node: they lie below the
// guest's memory, and a Pod cannot ask for them.
func capacity(spec infrav1.IngotMachineSpec) corev1.ResourceList {
	has := corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(int64(spec.Resources.CPUs), resource.DecimalSI),
		corev1.ResourceMemory: spec.Resources.Memory.DeepCopy(),
	}
	if size := spec.RootDisk.Size; size != nil {
		has[corev1.ResourceEphemeralStorage] = size.DeepCopy()
	}
	return has
}

// architecture is that of the named image, or that on which all images agree that a machine of the template may get;
// empty where it cannot be told.
func architecture(spec infrav1.IngotMachineSpec, images []ingotv1.NodeImage, now time.Time) string {
	agreed := ""
	for i := range images {
		if !mayGet(spec, images[i:i+1], now) {
			continue
		}
		if agreed != "" && agreed != images[i].Spec.Architecture {
			return ""
		}
		agreed = images[i].Spec.Architecture
	}
	return agreed
}

// mayGet is whether a machine of the template may get the one image. A named image is the one even when no machine may
// be started from it any more; of Kubernetes versions the template says nothing.
func mayGet(spec infrav1.IngotMachineSpec, one []ingotv1.NodeImage, now time.Time) bool {
	if spec.Image.Name != "" {
		return one[0].Name == spec.Image.Name
	}
	_, refusal := image.Resolve(spec.Image, one, image.Needs{Platform: inventory.PlatformOf(spec), Firmware: spec.Firmware}, now)
	return refusal == nil
}

// onImage wakes the templates that name an image, or may select it.
func (r *Reconciler) onImage(ctx context.Context, changed client.Object) []reconcile.Request {
	templates := &infrav1.IngotMachineTemplateList{}
	if err := r.Client.List(ctx, templates); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list IngotMachineTemplates for an event; the next sweep will see it")
		return nil
	}
	var requests []reconcile.Request
	for i := range templates.Items {
		name := templates.Items[i].Spec.Template.Spec.Image.Name
		if name == "" || name == changed.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&templates.Items[i])})
		}
	}
	return requests
}
