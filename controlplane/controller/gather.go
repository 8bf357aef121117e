// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/collections"
	"sigs.k8s.io/cluster-api/util/failuredomains"
	"sigs.k8s.io/cluster-api/util/labels/format"
	"sigs.k8s.io/cluster-api/util/secret"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/certificates"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// snapshot is what one look found, and the plan made from it.
type snapshot struct {
	cp      *controlplanev1.IngotControlPlane
	cluster *clusterv1.Cluster

	// machines are the control plane's own, sorted by name.
	machines []*clusterv1.Machine
	// providerIDs are those of all Machines of the Cluster.
	providerIDs map[string]bool
	// nodes are those that the planner knows as abandoned.
	nodes map[string]*corev1.Node
	// infra and configs are what was made for its Machines, also for those that do not exist.
	infra   map[infraKey]*metav1.PartialObjectMetadata
	configs map[string]*bootstrapv1.IngotConfig
	// template is nil where it does not exist.
	template *metav1.PartialObjectMetadata

	certificates certificates.Secrets
	// kubeconfig is nil where it does not exist.
	kubeconfig *corev1.Secret
	// renewalDue is when the kubeconfig must be renewed, zero where it is not ours or of no use.
	renewalDue time.Time

	// driver is how the nodes are driven.
	driver Driver
	// etcd is nil where nobody speaks to it, as is founder.
	etcd    Etcd
	founder Founder
	// restored opens what was restored, nil where the first Machine fetches it or where there is none.
	restored func() (io.ReadCloser, error)
	// components is what runs the control plane on each Node.
	components components

	world plan.World
	plan  plan.Plan
}

type infraKey struct {
	schema.GroupKind

	name string
}

// gatherFunc adds something to a snapshot.
type gatherFunc = func(context.Context, client.Reader, *snapshot) error

// look gathers everything that a pass judges. It is the only place that reads.
func (r *Reconciler) look(ctx context.Context, reader client.Reader, cp *controlplanev1.IngotControlPlane, cluster *clusterv1.Cluster) (*snapshot, error) {
	return r.lookWith(ctx, reader, cp, cluster, r.gatherSecrets)
}

// lookWith looks, and has somebody else gather the Secrets.
func (r *Reconciler) lookWith(ctx context.Context, reader client.Reader, cp *controlplanev1.IngotControlPlane, cluster *clusterv1.Cluster, gatherSecrets gatherFunc) (*snapshot, error) {
	s := &snapshot{cp: cp, cluster: cluster, driver: r.Drivers(cp.Spec.Config)}
	s.world = plan.World{
		ControlPlane:              cp.Name,
		Cluster:                   cluster.Name,
		Deleting:                  !cp.DeletionTimestamp.IsZero(),
		Initialized:               cp.Annotations[controlplanev1.IngotControlPlaneInitializedAnnotation] != "" || ptr.Deref(cp.Status.Initialization.ControlPlaneInitialized, false),
		InfrastructureProvisioned: ptr.Deref(cluster.Status.Initialization.InfrastructureProvisioned, false),
		NextName:                  nextName(cp, cluster.Name),
		Desired:                   desired(cp),
		TopologyVersion:           topologyVersion(cp, cluster),
		Restored:                  cp.Annotations[controlplanev1.RestoredFromAnnotation],
	}
	if cluster.Spec.ControlPlaneEndpoint.IsValid() {
		s.world.Endpoint = cluster.Spec.ControlPlaneEndpoint.String()
	}
	for _, gather := range []gatherFunc{r.gatherMachines, r.gatherTemplate, r.gatherInfraMachines, r.gatherConfigs, gatherSecrets} {
		if err := gather(ctx, reader, s); err != nil {
			return nil, err
		}
	}
	s.components = r.gatherComponents(ctx, s)
	s.world.AbandonedNodes = r.gatherNodes(ctx, s)
	s.world.Machines = s.machineFacts(r.Clock.Now())
	s.world.Leftovers = s.leftovers()
	s.world.FailureDomain = s.pickFailureDomain(ctx)
	for _, domain := range controlPlaneDomains(cluster) {
		s.world.FailureDomains = append(s.world.FailureDomains, domain.Name)
	}
	s.world.APIServerAnswers = r.apiServerAnswers(ctx, s)
	s.world.Founding, s.world.FoundingMessage = r.gatherFounding(ctx, s)
	s.world.Etcd = r.gatherEtcd(ctx, s)
	s.world.Backup, s.world.BackupMessage = r.gatherBackup(ctx, s)
	s.world.Restore, s.world.RestoreMessage = r.gatherRestore(ctx, s)
	s.plan = plan.Make(s.world)
	return s, nil
}

func desired(cp *controlplanev1.IngotControlPlane) plan.Desired {
	ref := cp.Spec.MachineTemplate.Spec.InfrastructureRef
	return plan.Desired{
		Replicas: ptr.Deref(cp.Spec.Replicas, 1),
		Version:  cp.Spec.Version,
		Template: plan.Template{GroupKind: ref.GroupKind().String(), Name: ref.Name},
		Config:   cp.Spec.Config,

		RestoreFrom: cp.Spec.RestoreFrom.Snapshot,
		DeleteFirst: ptr.Deref(cp.Spec.Rollout.Strategy.RollingUpdate.MaxSurge, 1) == 0,
	}
}

// topologyVersion is the version that the Cluster's topology asks for. Where it goes up in several steps, the control plane
// that has reached a step has what it is to have for now.
func topologyVersion(cp *controlplanev1.IngotControlPlane, cluster *clusterv1.Cluster) string {
	if cp.Annotations[clusterv1.ClusterTopologyUpgradeStepAnnotation] == cp.Spec.Version {
		return ""
	}
	return cluster.Spec.Topology.Version
}

func (r *Reconciler) gatherMachines(ctx context.Context, reader client.Reader, s *snapshot) error {
	list := &clusterv1.MachineList{}
	if err := reader.List(ctx, list, client.InNamespace(s.cp.Namespace), client.MatchingLabels{clusterv1.ClusterNameLabel: s.cluster.Name}); err != nil {
		return fmt.Errorf("listing Machines of Cluster %s: %w", s.cluster.Name, err)
	}
	slices.SortFunc(list.Items, func(a, b clusterv1.Machine) int { return strings.Compare(a.Name, b.Name) })
	s.providerIDs = map[string]bool{}
	for i := range list.Items {
		m := &list.Items[i]
		s.providerIDs[m.Spec.ProviderID] = true
		switch {
		case !util.IsControlPlaneMachine(m):
			s.world.Workers = append(s.world.Workers, m.Name)
		case metav1.IsControlledBy(m, s.cp):
			s.machines = append(s.machines, m)
		default:
			s.world.ForeignMachines = append(s.world.ForeignMachines, m.Name)
		}
	}
	return nil
}

func (r *Reconciler) gatherTemplate(ctx context.Context, reader client.Reader, s *snapshot) error {
	ref := s.cp.Spec.MachineTemplate.Spec.InfrastructureRef
	mapping, err := r.Client.RESTMapper().RESTMapping(ref.GroupKind())
	if err == nil {
		template := &metav1.PartialObjectMetadata{}
		template.SetGroupVersionKind(mapping.GroupVersionKind)
		err = reader.Get(ctx, client.ObjectKey{Namespace: s.cp.Namespace, Name: ref.Name}, template)
		if err == nil {
			s.template = template
		}
	}
	s.world.Desired.TemplateMissing = s.template == nil
	if err != nil && !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
		return fmt.Errorf("reading %s %s: %w", ref.Kind, ref.Name, err)
	}
	return nil
}

// gatherInfraMachines reads the metadata of everything of an infrastructure machine's kind that carries this control
// plane's labels. The kinds are that of the template and those of the existing Machines.
func (r *Reconciler) gatherInfraMachines(ctx context.Context, reader client.Reader, s *snapshot) error {
	ref := s.cp.Spec.MachineTemplate.Spec.InfrastructureRef
	kinds := []schema.GroupKind{{Group: ref.APIGroup, Kind: machineKind(ref)}}
	for _, m := range s.machines {
		if kind := m.Spec.InfrastructureRef.GroupKind(); !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	s.infra = map[infraKey]*metav1.PartialObjectMetadata{}
	for _, kind := range kinds {
		mapping, err := r.Client.RESTMapper().RESTMapping(kind)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking for kind %s: %w", kind, err)
		}
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(mapping.GroupVersionKind.GroupVersion().WithKind(kind.Kind + "List"))
		if err := reader.List(ctx, list, s.ownObjects()...); err != nil {
			return fmt.Errorf("listing %s: %w", kind, err)
		}
		for i := range list.Items {
			item := &list.Items[i]
			item.SetGroupVersionKind(mapping.GroupVersionKind)
			s.infra[infraKey{kind, item.Name}] = item
		}
	}
	return nil
}

func (r *Reconciler) gatherConfigs(ctx context.Context, reader client.Reader, s *snapshot) error {
	list := &bootstrapv1.IngotConfigList{}
	if err := reader.List(ctx, list, s.ownObjects()...); err != nil {
		return fmt.Errorf("listing IngotConfigs of IngotControlPlane %s: %w", s.cp.Name, err)
	}
	s.configs = map[string]*bootstrapv1.IngotConfig{}
	for i := range list.Items {
		s.configs[list.Items[i].Name] = &list.Items[i]
	}
	return nil
}

// gatherSecrets reads past the cache, which may be filtered to labelled Secrets.
func (r *Reconciler) gatherSecrets(ctx context.Context, _ client.Reader, s *snapshot) error {
	now := r.Clock.Now()
	cluster := client.ObjectKeyFromObject(s.cluster)
	found, err := certificates.Look(ctx, r.APIReader, cluster, certificates.PurposesFor(s.cp.Spec.Config))
	if err != nil {
		return err
	}
	s.certificates = found
	s.world.Certificates = plan.Certificates{Missing: found.Missing(cluster.Name), Invalid: found.Invalid(now)}

	kubeconfig, err := secret.Get(ctx, r.APIReader, cluster, secret.Kubeconfig)
	if apierrors.IsNotFound(err) {
		s.world.Kubeconfig = plan.KubeconfigMissing
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading Secret %s: %w", secret.Name(cluster.Name, secret.Kubeconfig), err)
	}
	s.kubeconfig, s.world.Kubeconfig = kubeconfig, plan.KubeconfigCurrent
	authority := found[secret.ClusterCA]
	if !metav1.IsControlledBy(kubeconfig, s.cp) || authority == nil || s.world.Endpoint == "" {
		return nil
	}
	s.renewalDue = certificates.RenewalDue(kubeconfig, s.world.Endpoint, authority)
	if !now.Before(s.renewalDue) {
		s.world.Kubeconfig = plan.KubeconfigStale
	}
	return nil
}

// ownObjects selects what this control plane made.
func (s *snapshot) ownObjects() []client.ListOption {
	return []client.ListOption{client.InNamespace(s.cp.Namespace), client.MatchingLabels(identityLabels(s.cp, s.cluster))}
}

// identityLabels are on every Machine, infrastructure machine and IngotConfig of a control plane.
func identityLabels(cp *controlplanev1.IngotControlPlane, cluster *clusterv1.Cluster) map[string]string {
	return map[string]string{
		clusterv1.ClusterNameLabel:             cluster.Name,
		clusterv1.MachineControlPlaneLabel:     "",
		clusterv1.MachineControlPlaneNameLabel: format.MustFormatValue(cp.Name),
	}
}

// pickFailureDomain returns where the next Machine goes, empty where the Cluster names no place for control planes. Machines
// that stay count first: those that are about to go must not keep a place occupied.
func (s *snapshot) pickFailureDomain(ctx context.Context) string {
	all := collections.FromMachines(s.machines...)
	staying := all.Filter(func(m *clusterv1.Machine) bool {
		return m.DeletionTimestamp.IsZero() && len(s.differences(m.Name)) == 0
	})
	return failuredomains.PickFewest(ctx, controlPlaneDomains(s.cluster), all, staying)
}

func controlPlaneDomains(cluster *clusterv1.Cluster) []clusterv1.FailureDomain {
	return slices.DeleteFunc(slices.Clone(cluster.Status.FailureDomains), func(d clusterv1.FailureDomain) bool {
		return !ptr.Deref(d.ControlPlane, false)
	})
}

// apiServerAnswers asks the workload cluster for what is there once its API server was set up. It is
// only asked where the answer matters: until the control plane counts as initialized, or as restored. Whatever goes wrong is taken as
// no answer, and asked again.
func (r *Reconciler) apiServerAnswers(ctx context.Context, s *snapshot) bool {
	if s.world.Initialized && !s.restores() || s.world.Endpoint == "" || len(s.machines) == 0 {
		return false
	}
	workload, err := r.ClusterCache.GetUncachedClient(ctx, client.ObjectKeyFromObject(s.cluster))
	if err == nil {
		record := s.driver.Record()
		err = workload.Get(ctx, client.ObjectKeyFromObject(record), record)
	}
	if err != nil {
		ctrl.LoggerFrom(ctx).V(4).Info("The API server does not answer yet", "cause", err.Error())
	}
	return err == nil
}

// machineKind is the kind of the infrastructure machines that a template makes.
func machineKind(template clusterv1.ContractVersionedObjectReference) string {
	return strings.TrimSuffix(template.Kind, clusterv1.TemplateSuffix)
}
