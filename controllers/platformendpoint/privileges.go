// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// privilegesEvery is how often what is granted is asked for, less or more by a quarter: somebody may take it away.
	privilegesEvery = 90 * time.Minute
	// privilegesTimeout bounds that.
	privilegesTimeout = 30 * time.Second
	// mostNamed is how many places, or fields, a message names.
	mostNamed = 8
)

// checkPrivileges asks which privileges the account lacks that are needed at the places that machines and templates of machines
// name: when the session is new, when something happened to it, when another place is named, and from time to time. It holds
// nothing back: what is missing is refused when it is needed. An error means that the management cluster did not answer.
func (r *Reconciler) checkPrivileges(ctx context.Context, endpoint *ingotv1.PlatformEndpoint, known *notes, connected flow.Outcome) error {
	p, reporter := r.reporter(endpoint.Name)
	if reporter == nil {
		return nil
	}
	used, err := r.uses(ctx, endpoint)
	if err != nil {
		return err
	}
	now := r.now()
	outcome, due := known.privileges(p, used, now)
	if due {
		outcome = notTold("the endpoint does not answer")
	}
	if due && connected.Done() {
		var again time.Duration
		outcome, again = askPrivileges(ctx, reporter, used)
		known.toldPrivileges(p, used, outcome, now.Add(r.spread(again)))
	}
	flow.Record(endpoint, ingotv1.PlatformEndpointPrivilegesCondition, outcome)
	return nil
}

// reporter is the session of an endpoint, and what tells there what its account lacks; nil where nothing can. That there is no
// session, and why, is in another condition.
func (r *Reconciler) reporter(endpoint string) (platform.Platform, platform.PrivilegeReporter) {
	p, err := r.Sessions.Platform(endpoint)
	if err != nil {
		return nil, nil
	}
	reporter, _ := platform.As[platform.PrivilegeReporter](p)
	return p, reporter
}

// uses is what machines use on the endpoint, as the cache knows it.
func (r *Reconciler) uses(ctx context.Context, endpoint *ingotv1.PlatformEndpoint) (platform.Uses, error) {
	machines, templates, images := &infrav1.IngotMachineList{}, &infrav1.IngotMachineTemplateList{}, &ingotv1.NodeImageList{}
	for _, list := range []client.ObjectList{machines, templates, images} {
		if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return platform.Uses{}, fmt.Errorf("listing what is used on PlatformEndpoint %s: %w", endpoint.Name, err)
		}
	}
	return inventory.UsesOf(endpoint, machines.Items, templates.Items, images.Items), nil
}

// askPrivileges asks, and says when to ask again: soon while anything is missing or could not be told.
func askPrivileges(ctx context.Context, reporter platform.PrivilegeReporter, used platform.Uses) (outcome flow.Outcome, again time.Duration) {
	if len(used.Places) == 0 {
		return notTold("no IngotMachine and no IngotMachineTemplate names a place on this endpoint: what is granted is asked as soon as one does"), privilegesEvery
	}
	ctx, cancel := context.WithTimeout(ctx, privilegesTimeout)
	defer cancel()
	told, err := reporter.Privileges(ctx, used)
	if err != nil {
		return notTold(err.Error()), checkEvery
	}
	if len(told.Missing) > 0 || len(told.Unasked) > 0 {
		return judgePrivileges(told), checkEvery
	}
	return judgePrivileges(told), privilegesEvery
}

// judgePrivileges says what an answer means.
func judgePrivileges(told platform.Privileges) flow.Outcome {
	var needed, optional []platform.MissingPrivilege
	for _, m := range told.Missing {
		if m.Optional {
			optional = append(optional, m)
		} else {
			needed = append(needed, m)
		}
	}
	var says []string
	if len(needed) > 0 {
		says = append(says, "the account "+told.Account+" lacks "+grouped(needed, func(m platform.MissingPrivilege) string { return " on " + m.On })+
			": add them to its role there")
	}
	if len(told.Unasked) > 0 {
		says = append(says, "not told of "+few(told.Unasked))
	}
	if len(optional) > 0 {
		says = append(says, "not granted, and needed only for certain machines: "+
			grouped(optional, func(m platform.MissingPrivilege) string { return " on " + m.On + " for " + m.For }))
	}
	message := strings.Join(says, ". ")
	switch {
	case len(needed) > 0:
		return flow.Stall(ingotv1.PlatformEndpointPrivilegesMissingReason, message)
	case len(told.Unasked) > 0:
		return notTold(message)
	case len(optional) > 0:
		return flow.Advance(ingotv1.PlatformEndpointPrivilegesPartReason, message)
	default:
		return flow.Advance(ingotv1.PlatformEndpointPrivilegesReason, "")
	}
}

// grouped names privileges, those together that are missing in the same way.
func grouped(missing []platform.MissingPrivilege, way func(platform.MissingPrivilege) string) string {
	var ways []string
	names := map[string][]string{}
	for _, m := range missing {
		w := way(m)
		if names[w] == nil {
			ways = append(ways, w)
		}
		if !slices.Contains(names[w], m.Privilege) {
			names[w] = append(names[w], m.Privilege)
		}
	}
	for i, w := range ways {
		ways[i] = strings.Join(names[w], ", ") + w
	}
	return few(ways)
}

// few joins things, and only counts those beyond a few.
func few(all []string) string {
	if more := len(all) - mostNamed; more > 0 {
		all = append(slices.Clone(all[:mostNamed]), fmt.Sprintf("%d more", more))
	}
	return strings.Join(all, "; ")
}

func notTold(why string) flow.Outcome {
	return flow.Stall(ingotv1.PlatformEndpointPrivilegesUnknownReason, why).Unknown()
}

// tellPrivileges tells when other privileges are missing than before.
func (r *Reconciler) tellPrivileges(endpoint, found *ingotv1.PlatformEndpoint) {
	before := conditions.Get(found, ingotv1.PlatformEndpointPrivilegesCondition)
	now := conditions.Get(endpoint, ingotv1.PlatformEndpointPrivilegesCondition)
	if r.Recorder == nil || now == nil || now.Status != metav1.ConditionFalse || before != nil && before.Message == now.Message {
		return
	}
	r.Recorder.Eventf(endpoint, nil, corev1.EventTypeWarning, now.Reason, "CheckPrivileges",
		"the account lacks privileges that all machines need: the condition %s names them", now.Type)
}
