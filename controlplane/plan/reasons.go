// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

// Reasons of holds that the API package does not name. The others are the reasons of IngotControlPlane's conditions.
const (
	// ControlPlaneLostReason says that the last Machine of an initialized control plane is gone or going, and the data
	// of etcd with it. Another first Machine would make another, empty cluster under the same name: it is not made.
	ControlPlaneLostReason = "ControlPlaneLost"
	// ForeignMachinesReason says that the Cluster has control plane Machines which this control plane does not own.
	ForeignMachinesReason = "ForeignMachines"
	// TemplateMissingReason says that the infrastructure machine template does not exist.
	TemplateMissingReason = "InfrastructureTemplateMissing"
	// RemediationNotSupportedReason says that a MachineHealthCheck wants the only Machine of an initialized control
	// plane replaced, which this version does not do.
	RemediationNotSupportedReason = "RemediationNotSupported"
)
