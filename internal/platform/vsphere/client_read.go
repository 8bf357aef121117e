// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Kinds of vCenter's objects.
const (
	kindVM         = "VirtualMachine"
	kindTask       = "Task"
	kindDatacenter = "Datacenter"
)

// vm is what is read of one virtual machine.
type vm struct {
	ref          ref
	name         string
	instanceUUID string
	template     bool
	power        powerState
	version      int32 // of its hardware
	tools        bool  // whether the guest runs VMware Tools
	addresses    []string
	mark         mark
	disksRead    bool
	strangers    []int32 // the keys of disks that are not its own, where disks were read
	digest       string  // of the artefact that a template was made from
}

type powerState string

const (
	poweredOn  powerState = "poweredOn"
	poweredOff powerState = "poweredOff"
	suspended  powerState = "suspended"
)

// task is what is read of one task.
type task struct {
	ref ref
	// done is whether it has ended; err is why it failed; result is what it made.
	done   bool
	err    error
	result ref
	// percent is how far it is.
	percent int32
}

// vmPaths are the properties of a virtual machine that are read. Of the extra configuration only what is ours is asked for:
// the rest holds the bootstrap data.
func vmPaths() []string {
	paths := []string{"name", "config.instanceUuid", "config.template", versionPath, "runtime.powerState", "guest.toolsRunningStatus", vmAddress, vmNetwork}
	for _, key := range append(markKeys(), digestKey) {
		paths = append(paths, extraPath(key))
	}
	return paths
}

const versionPath = "config.version"

func extraPath(key string) string { return `config.extraConfig["` + key + `"]` }

// find returns the virtual machines and templates with an instance UUID.
func (c *client) find(ctx context.Context, uuid string) ([]ref, error) {
	var found []ref
	err := c.do(ctx, "FindAllByUuid", func(ctx context.Context) error {
		res, err := methods.FindAllByUuid(ctx, c.vim, &types.FindAllByUuid{
			This: *c.vim.ServiceContent.SearchIndex, Uuid: uuid, VmSearch: true, InstanceUuid: new(true),
		})
		if err != nil {
			return err
		}
		found = nil
		for _, r := range res.Returnval {
			found = append(found, refOf(r))
		}
		slices.SortFunc(found, func(a, b ref) int { return compare(a.value, b.value) })
		return nil
	})
	return found, unseen(err)
}

// question is what is to be read in one round trip. Its zero value is none.
type question struct {
	vms  []ref
	task ref
	// disks also reads which disks of the virtual machines are not their own.
	disks bool
	// clones also reads which clones are under way, and folder whether the session sees a folder.
	clones bool
	folder ref
}

// answer is what was read. What is gone is left out.
type answer struct {
	vms        []vm
	task       *task
	clones     []cloning
	seesFolder bool
}

// read reads virtual machines and, unless it is zero, a task.
func (c *client) read(ctx context.Context, vms []ref, t ref) ([]vm, *task, error) {
	read, err := c.ask(ctx, question{vms: vms, task: t})
	return read.vms, read.task, err
}

// ask reads everything that a question is about, in one round trip.
func (c *client) ask(ctx context.Context, q question) (answer, error) {
	specs := c.specs(q)
	if len(specs) == 0 {
		return answer{}, nil
	}
	content, err := c.retrieve(ctx, specs...)
	if err != nil {
		return answer{}, err
	}
	var read answer
	for i := range content {
		if err := read.take(q, &content[i]); err != nil {
			return answer{}, err
		}
	}
	return read, nil
}

// specs are a question in vCenter's words.
func (c *client) specs(q question) []types.PropertyFilterSpec {
	var specs []types.PropertyFilterSpec
	if len(q.vms) > 0 {
		paths := vmPaths()
		if q.disks {
			paths = append(paths, diskPaths()...)
		}
		specs = append(specs, filter(kindVM, paths, q.vms...))
	}
	if !q.task.zero() {
		specs = append(specs, filter(kindTask, []string{"info"}, q.task))
	}
	if !q.folder.zero() {
		specs = append(specs, filter(q.folder.kind, []string{"name"}, q.folder))
	}
	if q.clones {
		spec := along(refOf(*c.vim.ServiceContent.TaskManager), "recentTask", kindTask, []string{taskState, taskDescription, taskEntity})
		spec.ReportMissingObjectsInResults = new(true)
		specs = append(specs, spec)
	}
	return specs
}

// take takes one object that was read.
func (a *answer) take(q question, content *types.ObjectContent) error {
	switch {
	case content.Obj.Type == kindVM:
		v, err := parseVM(content)
		if err == nil && q.disks {
			err = v.readDisks(content)
		}
		a.vms = append(a.vms, v)
		return err
	case refOf(content.Obj) == q.folder:
		values, err := properties(content)
		a.seesFolder = values["name"] != nil
		return err
	case content.Obj.Type != kindTask:
		return nil
	}
	values, err := properties(content)
	if err != nil {
		return err
	}
	// A collector may tell of each task all that is asked of any: only one of them is the one that was asked for.
	if refOf(content.Obj) == q.task && values["info"] != nil {
		a.task, err = parseTask(content)
		return err
	}
	what, _ := values[taskDescription].(string)
	state, _ := values[taskState].(types.TaskInfoState)
	if isClone(what) && (state == types.TaskInfoStateQueued || state == types.TaskInfoStateRunning) {
		from, _ := values[taskEntity].(types.ManagedObjectReference)
		a.clones = append(a.clones, cloning{task: refOf(content.Obj), from: refOf(from)})
	}
	return nil
}

// cloning is a clone task that has not ended, any of which may still make a virtual machine, and what is cloned.
type cloning struct{ task, from ref }

// filter selects properties of objects.
func filter(kind string, paths []string, objects ...ref) types.PropertyFilterSpec {
	spec := types.PropertyFilterSpec{
		PropSet:                       []types.PropertySpec{{Type: kind, PathSet: paths}},
		ReportMissingObjectsInResults: new(true),
	}
	for _, o := range objects {
		spec.ObjectSet = append(spec.ObjectSet, types.ObjectSpec{Obj: o.vim()})
	}
	return spec
}

// retrieve reads properties, all pages of them.
func (c *client) retrieve(ctx context.Context, specs ...types.PropertyFilterSpec) ([]types.ObjectContent, error) {
	collector := c.vim.ServiceContent.PropertyCollector
	var content []types.ObjectContent
	token := ""
	err := c.do(ctx, "RetrievePropertiesEx", func(ctx context.Context) error {
		content, token = nil, ""
		res, err := methods.RetrievePropertiesEx(ctx, c.vim, &types.RetrievePropertiesEx{This: collector, SpecSet: specs})
		if err != nil || res.Returnval == nil {
			return err
		}
		content, token = res.Returnval.Objects, res.Returnval.Token
		return nil
	})
	for err == nil && token != "" {
		err = c.do(ctx, "ContinueRetrievePropertiesEx", func(ctx context.Context) error {
			res, err := methods.ContinueRetrievePropertiesEx(ctx, c.vim, &types.ContinueRetrievePropertiesEx{This: collector, Token: token})
			if err != nil {
				return err
			}
			content, token = append(content, res.Returnval.Objects...), res.Returnval.Token
			return nil
		})
	}
	return content, unseen(err)
}

// unseen turns a missing permission to read into "could not tell".
func unseen(err error) error {
	if errors.Is(err, errNoAccess) {
		return fmt.Errorf("%w: %w", platform.ErrUnreachable, err)
	}
	return err
}

// properties are the values that were read of an object, by their path.
func properties(content *types.ObjectContent) (map[string]any, error) {
	values := map[string]any{}
	for _, p := range content.PropSet {
		values[p.Name] = p.Val
	}
	for _, missing := range content.MissingSet {
		err := classifyFault(missing.Fault.Fault, missing.Fault.LocalizedMessage)
		if errors.Is(err, errNoAccess) || errors.Is(err, errLoggedIn) {
			return nil, fmt.Errorf("%w: %s of %s: %w", platform.ErrUnreachable, missing.Path, content.Obj.Value, err)
		}
	}
	return values, nil
}

func parseVM(content *types.ObjectContent) (vm, error) {
	values, err := properties(content)
	if err != nil {
		return vm{}, err
	}
	v := vm{ref: refOf(content.Obj)}
	v.name, _ = values["name"].(string)
	v.instanceUUID, _ = values["config.instanceUuid"].(string)
	v.template, _ = values["config.template"].(bool)
	power, _ := values["runtime.powerState"].(types.VirtualMachinePowerState)
	v.power = powerState(power)
	version, _ := values[versionPath].(string)
	v.version = versionNumber(version)
	tools, _ := values["guest.toolsRunningStatus"].(string)
	v.tools = tools == string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
	v.addresses = guestAddresses(values)
	extra := map[string]string{}
	for _, key := range append(markKeys(), digestKey) {
		extra[key] = extraValue(values[extraPath(key)])
	}
	v.mark, v.digest = readMark(extra), extra[digestKey]
	return v, nil
}

// extraValue is the text of one element of the extra configuration.
func extraValue(value any) string {
	switch v := value.(type) {
	case types.OptionValue:
		text, _ := v.Value.(string)
		return text
	case string:
		return v
	default:
		return ""
	}
}

// guestAddresses are the addresses that the guest tells, those of its first interface first.
func guestAddresses(values map[string]any) []string {
	var all []string
	if nics, is := values[vmNetwork].(types.ArrayOfGuestNicInfo); is {
		for _, nic := range nics.GuestNicInfo {
			all = append(all, nic.IpAddress...)
		}
	}
	if first, _ := values[vmAddress].(string); first != "" && !slices.Contains(all, first) {
		all = append([]string{first}, all...)
	}
	return all
}

func parseTask(content *types.ObjectContent) (*task, error) {
	var read mo.Task
	if _, err := properties(content); err != nil {
		return nil, err
	}
	if err := mo.LoadObjectContent([]types.ObjectContent{*content}, &read); err != nil {
		return nil, fmt.Errorf("task %s: %w", content.Obj.Value, err)
	}
	return taskOf(refOf(content.Obj), read.Info.State, read.Info.Error, read.Info.Result, read.Info.Progress), nil
}

func taskOf(r ref, state types.TaskInfoState, failed *types.LocalizedMethodFault, result any, percent int32) *task {
	t := &task{ref: r, percent: percent}
	switch state {
	case types.TaskInfoStateSuccess:
		t.done = true
		if made, is := result.(types.ManagedObjectReference); is {
			t.result = refOf(made)
		}
	case types.TaskInfoStateError:
		t.done, t.err = true, errors.New("vCenter does not say why the task failed")
		if failed != nil {
			t.err = classifyFault(failed.Fault, failed.LocalizedMessage)
		}
	case types.TaskInfoStateQueued, types.TaskInfoStateRunning:
	}
	return t
}
