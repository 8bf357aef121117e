// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"cmp"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/bootstrap/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// FromManifests renders for everything in a file that machines are made from. No cluster is asked, so neither defaults nor
// admission apply; fields that no kind has are findings.
func FromManifests(preview controller.Preview, objects []*unstructured.Unstructured) (Report, error) {
	f := &file{preview: preview, objects: objects, used: map[string]bool{}, report: Report{FormatVersion: FormatVersion, Machines: []Machine{}}}
	for _, render := range []func(*unstructured.Unstructured) error{f.controlPlane, f.controlPlaneTemplate, f.workers, f.machine} {
		if err := f.each(render); err != nil {
			return Report{}, err
		}
	}
	if err := f.each(f.rest); err != nil {
		return Report{}, err
	}
	if len(f.report.Machines) == 0 {
		return Report{}, errors.New("nothing in it decides a machine configuration of Ingot: IngotControlPlane, IngotConfig, IngotConfigTemplate, or a MachineDeployment or Machine with one")
	}
	return f.report, nil
}

// file is a file of manifests while it is rendered.
type file struct {
	preview controller.Preview
	objects []*unstructured.Unstructured
	used    map[string]bool // configs and templates that were rendered for somebody
	report  Report
}

func (f *file) each(do func(*unstructured.Unstructured) error) error {
	for _, object := range f.objects {
		if err := do(object); err != nil {
			return fmt.Errorf("%s: %w", called(object), err)
		}
	}
	return nil
}

func called(object *unstructured.Unstructured) string {
	return object.GetKind() + "/" + object.GetName()
}

func is(object *unstructured.Unstructured, group, kind string) bool {
	return object.GroupVersionKind().Group == group && object.GetKind() == kind
}

// find returns an object of the file, or nil.
func (f *file) find(group, kind, namespace, name string) *unstructured.Unstructured {
	for _, object := range f.objects {
		if is(object, group, kind) && object.GetNamespace() == namespace && (name == "" || object.GetName() == name) {
			return object
		}
	}
	return nil
}

// read decodes an object, and says which of its fields nobody knows.
func read(object *unstructured.Unstructured, into any) (osfamily.Report, error) {
	var report osfamily.Report
	err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, into, true)
	if strict, unknown := runtime.AsStrictDecodingError(err); unknown {
		for _, each := range strict.Errors() {
			report.Errorf(called(object), "%v: correct its name, or remove it", each)
		}
		return report, nil
	}
	return report, err
}

// job is one machine to render for.
type job struct {
	object   *unstructured.Unstructured
	role     bootstrapv1.Role
	spec     bootstrapv1.IngotConfigSpec
	version  string
	cluster  string // name of the Cluster; empty for the only one
	infra    string // kind of the infrastructure's template or machine
	infraOf  string // its name; empty where nothing names it
	name     string // name of the machine; empty for any
	identity string // its provider ID; empty for any
	findings osfamily.Report
	notes    []string
}

// render renders one job, with what the file says of its cluster.
func (f *file) render(j job) error {
	notes := append([]string{"placeholders stand for tokens, pins, certificates and keys"}, j.notes...)
	cluster, more, err := f.clusterOf(j)
	if err != nil {
		return err
	}
	notes = append(notes, more...)
	machine := &clusterv1.Machine{}
	machine.Namespace, machine.Name = j.object.GetNamespace(), cmp.Or(j.name, controller.AnyMachine)
	machine.Spec.Version = cmp.Or(j.version, f.preview.AnyVersion(j.spec))
	if j.name == "" {
		notes = append(notes, controller.AnyMachine+" stands for the name of the machine")
	}
	if j.version == "" {
		notes = append(notes, machine.Spec.Version+" stands for the Kubernetes version, which the file does not name")
	}
	config := &bootstrapv1.IngotConfig{Spec: j.spec}
	config.Spec.Role = j.role
	subject := controller.Subject{Config: config, Machine: machine, Cluster: cluster, Image: f.preview.AnyImages(j.spec)[0]}
	if subject.Image.OSVersion != "" {
		notes = append(notes, subject.Image.OSVersion+" stands for the release of the image, which decides what is written")
	}
	if j.infra == "" || j.infra == "IngotMachineTemplate" || j.infra == "IngotMachine" {
		subject.ProviderID = cmp.Or(j.identity, controller.AnyProviderID)
		subject.NoTPM = f.lacksTPM(j)
	}
	rendering := f.preview.Render(subject)
	rendering.Report = append(j.findings, rendering.Report...)
	if rendering.Report.Err() != nil {
		rendering.Bundle = osfamily.Bundle{}
	}
	f.report.Machines = append(f.report.Machines, newMachine(called(j.object), j.object.GetNamespace(), rendering, notes))
	return nil
}

// lacksTPM is whether the file says that the machine has no TPM.
func (f *file) lacksTPM(j job) bool {
	found := f.find(infrav1.GroupVersion.Group, j.infra, j.object.GetNamespace(), j.infraOf)
	if j.infraOf == "" || found == nil {
		return false
	}
	path := []string{"spec"}
	if j.infra == "IngotMachineTemplate" {
		path = []string{"spec", "template", "spec"}
	}
	spec, known, err := unstructured.NestedMap(found.Object, path...)
	return known && err == nil && controller.LacksTPM(spec)
}

// clusterOf is the Cluster of a job as the file has it, or one that stands for it.
func (f *file) clusterOf(j job) (*clusterv1.Cluster, []string, error) {
	var notes []string
	cluster := &clusterv1.Cluster{}
	if found := f.find(clusterv1.GroupVersion.Group, "Cluster", j.object.GetNamespace(), j.cluster); found != nil {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, cluster); err != nil {
			return nil, nil, err
		}
	} else {
		cluster.Name = cmp.Or(j.cluster, controller.AnyCluster)
		notes = append(notes, "the file has no Cluster for it: "+cluster.Name+", with the networks that are the default, stands for it")
	}
	infra := &infrav1.IngotCluster{}
	if found := f.find(infrav1.GroupVersion.Group, "IngotCluster", j.object.GetNamespace(), cluster.Spec.InfrastructureRef.Name); found != nil && !cluster.Spec.ControlPlaneEndpoint.IsValid() {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, infra); err != nil {
			return nil, nil, err
		}
		cluster.Spec.ControlPlaneEndpoint = clusterv1.APIEndpoint{Host: infra.Spec.ControlPlaneEndpoint.Host, Port: infra.Spec.ControlPlaneEndpoint.Port}
	}
	if !cluster.Spec.ControlPlaneEndpoint.IsValid() {
		cluster.Spec.ControlPlaneEndpoint = clusterv1.APIEndpoint{Host: controller.AnyHost, Port: controller.AnyPort}
		notes = append(notes, controller.AnyHost+" stands for the control plane endpoint, which the file does not name")
	}
	return cluster, notes, nil
}

// controlPlane renders for the first machine of a control plane, and for those that join.
func (f *file) controlPlane(object *unstructured.Unstructured) error {
	if !is(object, controlplanev1.GroupVersion.Group, "IngotControlPlane") {
		return nil
	}
	cp := &controlplanev1.IngotControlPlane{}
	findings, err := read(object, cp)
	if err != nil {
		return err
	}
	return f.both(job{
		object: object, spec: cp.Spec.Config, version: cp.Spec.Version, cluster: f.ownerOf(object), findings: findings,
		infra: cp.Spec.MachineTemplate.Spec.InfrastructureRef.Kind, infraOf: cp.Spec.MachineTemplate.Spec.InfrastructureRef.Name,
	})
}

func (f *file) controlPlaneTemplate(object *unstructured.Unstructured) error {
	if !is(object, controlplanev1.GroupVersion.Group, "IngotControlPlaneTemplate") {
		return nil
	}
	template := &controlplanev1.IngotControlPlaneTemplate{}
	findings, err := read(object, template)
	if err != nil {
		return err
	}
	return f.both(job{object: object, spec: template.Spec.Template.Spec.Config, findings: findings})
}

func (f *file) both(j job) error {
	for _, role := range []bootstrapv1.Role{bootstrapv1.RoleInit, bootstrapv1.RoleControlPlane} {
		j.role = role
		if err := f.render(j); err != nil {
			return err
		}
	}
	return nil
}

// ownerOf is the name of the Cluster whose control plane an object is; empty where none says so.
func (f *file) ownerOf(object *unstructured.Unstructured) string {
	for _, each := range f.objects {
		name, _, err := unstructured.NestedString(each.Object, "spec", "controlPlaneRef", "name")
		if err == nil && is(each, clusterv1.GroupVersion.Group, "Cluster") && each.GetNamespace() == object.GetNamespace() && name == object.GetName() {
			return each.GetName()
		}
	}
	return ""
}

// workers renders for the machines of a MachineDeployment.
func (f *file) workers(object *unstructured.Unstructured) error {
	if !is(object, clusterv1.GroupVersion.Group, "MachineDeployment") {
		return nil
	}
	md := &clusterv1.MachineDeployment{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, md); err != nil {
		return err
	}
	return f.configured(object, md.Spec.Template.Spec, job{role: bootstrapv1.RoleWorker})
}

// machine renders for a Machine.
func (f *file) machine(object *unstructured.Unstructured) error {
	if !is(object, clusterv1.GroupVersion.Group, "Machine") {
		return nil
	}
	machine := &clusterv1.Machine{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, machine); err != nil {
		return err
	}
	j := job{name: machine.Name, role: bootstrapv1.RoleWorker}
	if _, is := machine.Labels[clusterv1.MachineControlPlaneLabel]; is {
		j.role = bootstrapv1.RoleControlPlane
	}
	if infra := f.find(infrav1.GroupVersion.Group, "IngotMachine", object.GetNamespace(), machine.Spec.InfrastructureRef.Name); infra != nil {
		j.identity, _, _ = unstructured.NestedString(infra.Object, "spec", "providerID")
	}
	return f.configured(object, machine.Spec, j)
}

// configured renders a job with the IngotConfig or the IngotConfigTemplate that a Machine's spec names.
func (f *file) configured(object *unstructured.Unstructured, spec clusterv1.MachineSpec, j job) error {
	ref := spec.Bootstrap.ConfigRef
	if ref.APIGroup != bootstrapv1.GroupVersion.Group {
		return nil // another bootstrap provider's
	}
	j.object, j.version, j.cluster = object, spec.Version, spec.ClusterName
	j.infra, j.infraOf = spec.InfrastructureRef.Kind, spec.InfrastructureRef.Name
	found := f.find(ref.APIGroup, ref.Kind, object.GetNamespace(), ref.Name)
	if found == nil {
		m := Machine{Object: called(object), Namespace: object.GetNamespace(), Role: j.role}
		m.Findings = []Finding{{osfamily.Warning, "spec.template.spec.bootstrap.configRef", fmt.Sprintf("the file has no %s %s, so nothing is rendered for it", ref.Kind, ref.Name)}}
		f.report.Machines = append(f.report.Machines, m)
		return nil
	}
	f.used[called(found)] = true
	j.notes = append(j.notes, "its configuration is "+called(found))
	return f.withConfig(found, j)
}

// rest renders for configs and templates that nothing in the file names.
func (f *file) rest(object *unstructured.Unstructured) error {
	if object.GroupVersionKind().Group != bootstrapv1.GroupVersion.Group || f.used[called(object)] {
		return nil
	}
	return f.withConfig(object, job{object: object, role: bootstrapv1.RoleWorker})
}

// withConfig renders a job with the spec of an IngotConfig or an IngotConfigTemplate. What the config says of the role counts.
func (f *file) withConfig(object *unstructured.Unstructured, j job) error {
	var err error
	switch object.GetKind() {
	case "IngotConfig":
		config := &bootstrapv1.IngotConfig{}
		j.findings, err = read(object, config)
		j.spec, j.role = config.Spec, cmp.Or(config.Spec.Role, j.role)
	case "IngotConfigTemplate":
		template := &bootstrapv1.IngotConfigTemplate{}
		j.findings, err = read(object, template)
		j.spec = template.Spec.Template.Spec
	default:
		return nil
	}
	if err != nil {
		return err
	}
	return f.render(j)
}
