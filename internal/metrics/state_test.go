// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/metrics"
)

// What a machine that is not ready is counted as, by the reason that it gives. A new reason fails the test until somebody
// has thought about what it means to those who watch a fleet.
func TestEveryReasonHasOneState(t *testing.T) {
	states := map[string]string{
		infrav1.ImagePinnedReason:                     metrics.StatePending,
		infrav1.ImageNotFoundReason:                   metrics.StateRefused,
		infrav1.ImageRevokedReason:                    metrics.StateRefused,
		infrav1.ImageExpiredReason:                    metrics.StateRefused,
		infrav1.ImageIncompatibleReason:               metrics.StateRefused,
		infrav1.PlacedReason:                          metrics.StateReplicating,
		infrav1.NoEndpointReason:                      metrics.StateRefused,
		infrav1.NoStorageReason:                       metrics.StateRefused,
		infrav1.EndpointFullReason:                    metrics.StateWaitingForRoom,
		infrav1.AddressesClaimedReason:                metrics.StateWaitingForBootstrap,
		infrav1.WaitingForAddressesReason:             metrics.StateWaitingForAddresses,
		infrav1.AddressInvalidReason:                  metrics.StateRefused,
		infrav1.AddressClaimForeignReason:             metrics.StateRefused,
		infrav1.AddressClaimDeletedReason:             metrics.StateRefused,
		infrav1.ImageReplicaReadyReason:               metrics.StateWaitingForBootstrap,
		infrav1.ImageReplicatingReason:                metrics.StateReplicating,
		infrav1.ImageReplicaFailedReason:              metrics.StateReplicating,
		infrav1.BootstrapDataAvailableReason:          metrics.StateCreating,
		infrav1.WaitingForClusterInfrastructureReason: metrics.StateWaitingForBootstrap,
		infrav1.WaitingForBootstrapDataReason:         metrics.StateWaitingForBootstrap,
		infrav1.BootstrapFormatMismatchReason:         metrics.StateRefused,
		infrav1.InstanceRunningReason:                 metrics.StateJoining,
		infrav1.InstanceCreatingReason:                metrics.StateCreating,
		infrav1.InstanceQueuedReason:                  metrics.StateQueued,
		infrav1.InstanceWaitingForAddressReason:       metrics.StateBooting,
		infrav1.InstancePowerCyclingReason:            metrics.StateBooting,
		infrav1.InstanceStoppedReason:                 metrics.StateStopped,
		infrav1.InstanceGoneReason:                    metrics.StateGone,
		infrav1.InstanceRefusedReason:                 metrics.StateRefused,
		infrav1.InstanceForeignReason:                 metrics.StateForeign,
		infrav1.EndpointUnavailableReason:             metrics.StateUnknown,
		infrav1.EndpointCircuitOpenReason:             metrics.StateUnknown,
		infrav1.EndpointNotFoundReason:                metrics.StateUnknown,
		infrav1.EndpointNotAllowedReason:              metrics.StateRefused,
		infrav1.NodeFoundReason:                       metrics.StateReady,
		infrav1.WaitingForNodeReason:                  metrics.StateJoining,
		infrav1.NodeUnknownReason:                     metrics.StateJoining,
		infrav1.BootTimedOutReason:                    metrics.StateJoining,
		infrav1.ScrubbingReason:                       metrics.StateJoining,
		infrav1.KeptApartReason:                       metrics.StateReady,
		infrav1.SeparatingReason:                      metrics.StateJoining,
		infrav1.NotSeparableReason:                    metrics.StateRefused,
		// What a Node runs makes no machine unready: ImageState tells of it.
		infrav1.ImageParsedReason:          metrics.StateUnknown,
		infrav1.ImageReportedReason:        metrics.StateUnknown,
		infrav1.OSMismatchReason:           metrics.StateUnknown,
		infrav1.OSVersionMismatchReason:    metrics.StateUnknown,
		infrav1.KernelMismatchReason:       metrics.StateUnknown,
		infrav1.KubeletMismatchReason:      metrics.StateUnknown,
		infrav1.ImageVersionNotToldReason:  metrics.StateUnknown,
		infrav1.IdentityNotReportedReason:  metrics.StateUnknown,
		infrav1.ImageDeclarationGoneReason: metrics.StateUnknown,

		infrav1.ShuttingDownReason:   metrics.StateDeleting,
		infrav1.ReleasingReason:      metrics.StateDeleting,
		infrav1.ProvingAbsenceReason: metrics.StateDeleting,
	}
	written := reasons(t)
	for name, reason := range written {
		want, known := states[reason]
		if !known {
			t.Errorf("%s (%q) has no state: say here and in MachineState what a machine is that is not ready for it", name, reason)
			continue
		}
		if got := metrics.MachineState(notReady(metav1.ConditionFalse, reason)); got != want {
			t.Errorf("%s: state %s, want %s", name, got, want)
		}
	}
	if len(written) < len(states) {
		t.Errorf("conditions.go has %d reasons, and the table %d: remove those that are gone", len(written), len(states))
	}
}

// reasons reads the reasons of IngotMachine from the source: name -> value.
func reasons(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../api/infrastructure/v1alpha1/conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, is := n.(*ast.ValueSpec)
		if !is || !strings.HasSuffix(spec.Names[0].Name, "Reason") || strings.HasPrefix(spec.Names[0].Name, "Cluster") {
			return true
		}
		literal, is := spec.Values[0].(*ast.BasicLit)
		if !is {
			t.Fatalf("%s is no literal", spec.Names[0].Name)
		}
		if found[spec.Names[0].Name], err = strconv.Unquote(literal.Value); err != nil {
			t.Fatal(err)
		}
		return true
	})
	if len(found) < 30 {
		t.Fatalf("found only %d reasons: the file is not read as it is written", len(found))
	}
	return found
}

func notReady(status metav1.ConditionStatus, reason string) *infrav1.IngotMachine {
	m := &infrav1.IngotMachine{}
	conditions.Set(m, metav1.Condition{Type: infrav1.ReadyCondition, Status: status, Reason: reason})
	return m
}

func TestMachineState(t *testing.T) {
	deleted := notReady(metav1.ConditionTrue, "Ready")
	deleted.DeletionTimestamp = new(metav1.Now())
	for name, c := range map[string]struct {
		why     string
		machine *infrav1.IngotMachine
		want    string
	}{
		"nothing said yet":     {"nobody has looked at it", &infrav1.IngotMachine{}, metrics.StatePending},
		"ready":                {"it waits for nothing", notReady(metav1.ConditionTrue, "Ready"), metrics.StateReady},
		"deleted while ready":  {"what it was does not matter any more", deleted, metrics.StateDeleting},
		"a reason of tomorrow": {"what is not understood is not called anything else", notReady(metav1.ConditionFalse, "Tomorrow"), metrics.StateUnknown},
		"unknown, with a reason": {
			"the reason says what cannot be told", notReady(metav1.ConditionUnknown, infrav1.NodeUnknownReason), metrics.StateJoining,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := metrics.MachineState(c.machine)
			if got != c.want {
				t.Errorf("state %s, want %s: %s", got, c.want, c.why)
			}
			if !slices.Contains(metrics.MachineStates(), got) {
				t.Errorf("%s is missing from MachineStates, and would not become 0", got)
			}
		})
	}
}

func TestReplicaState(t *testing.T) {
	with := func(status metav1.ConditionStatus, reason string) *ingotv1.ImageReplica {
		r := &ingotv1.ImageReplica{}
		conditions.Set(r, metav1.Condition{Type: ingotv1.ImageReplicaReadyCondition, Status: status, Reason: reason})
		return r
	}
	inUse := with(metav1.ConditionFalse, ingotv1.ImageReplicaInUseReason)
	inUse.DeletionTimestamp = new(metav1.Now())
	for name, c := range map[string]struct {
		why     string
		replica *ingotv1.ImageReplica
		want    string
	}{
		"nothing said yet":  {"nobody has looked at it", &ingotv1.ImageReplica{}, metrics.StatePending},
		"verified":          {"machines can be made from it", with(metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason), metrics.StateReady},
		"copying":           {"time will do", with(metav1.ConditionFalse, ingotv1.ImageReplicaCopyingReason), metrics.StateCopying},
		"other bytes":       {"somebody must look at the source", with(metav1.ConditionFalse, ingotv1.ImageReplicaDigestMismatchReason), metrics.StateFailed},
		"no source":         {"somebody must look at the source", with(metav1.ConditionFalse, ingotv1.ImageReplicaSourceFailedReason), metrics.StateFailed},
		"refused":           {"somebody must look at the endpoint", with(metav1.ConditionFalse, ingotv1.ImageReplicaRefusedReason), metrics.StateFailed},
		"no answer":         {"it could not be told, which is no failure", with(metav1.ConditionFalse, ingotv1.ImageReplicaEndpointUnavailableReason), metrics.StateUnknown},
		"deleted, and used": {"it goes with the last machine", inUse, metrics.StateDeleting},
	} {
		t.Run(name, func(t *testing.T) {
			got := metrics.ReplicaState(c.replica)
			if got != c.want {
				t.Errorf("state %s, want %s: %s", got, c.want, c.why)
			}
			if !slices.Contains(metrics.ReplicaStates(), got) {
				t.Errorf("%s is missing from ReplicaStates, and would not become 0", got)
			}
		})
	}
}

// What cannot be told is no mismatch, and a machine that goes is nobody's trouble any more.
func TestImageState(t *testing.T) {
	for _, c := range []struct {
		status metav1.ConditionStatus
		reason string
		want   string
	}{
		{metav1.ConditionTrue, infrav1.ImageParsedReason, metrics.StateParsed},
		{metav1.ConditionTrue, infrav1.ImageReportedReason, metrics.StateReported},
		{metav1.ConditionTrue, "FromALaterVersion", metrics.StateParsed},
		{metav1.ConditionFalse, infrav1.OSMismatchReason, metrics.StateMismatch},
		{metav1.ConditionUnknown, infrav1.ImageVersionNotToldReason, metrics.StateUnknown},
	} {
		m := &infrav1.IngotMachine{}
		if state, judged := metrics.ImageState(m); judged {
			t.Errorf("a machine without a Node is %s", state)
		}
		conditions.Set(m, metav1.Condition{Type: infrav1.ImageVerifiedCondition, Status: c.status, Reason: c.reason})
		if got, judged := metrics.ImageState(m); got != c.want || !judged {
			t.Errorf("%s/%s is %q, want %q", c.status, c.reason, got, c.want)
		}
		m.DeletionTimestamp = new(metav1.Now())
		if state, judged := metrics.ImageState(m); judged {
			t.Errorf("a machine that is being deleted is %s", state)
		}
	}
}
