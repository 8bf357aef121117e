// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hypervisor"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/nodeimage"
)

// quickstart is one run: the options, and what its stages found or made.
type quickstart struct {
	Options
	*teller

	programs     *components.Builder
	acceleration hypervisor.Acceleration
	host         *hypervisor.Hypervisor
	plane        *managementplane.Plane
	management   client.Client
	clusterctl   string            // configuration file of the local clusterctl repository
	told         map[string]string // what was last told of each machine
}

// Up runs the story, or continues one that was interrupted, and leaves the cluster running.
func Up(ctx context.Context, o Options) error {
	if err := o.validate(); err != nil {
		return err
	}
	q := &quickstart{Options: o, teller: newTeller(o.Out, o.Clock)}
	q.programs = &components.Builder{Repo: o.Repo, Cache: o.Cache, Report: q.indented}
	if err := q.run(ctx, q.stages()); err != nil {
		return err
	}
	return q.finish(ctx)
}

// stages is the story, in order. Without workers there is nothing to replace, and the cluster is the end of it.
func (q *quickstart) stages() []stage {
	image := func(version string) stage {
		return stage{"building node image " + version, func(ctx context.Context) error { return q.buildImage(ctx, version) }}
	}
	nodes := count(q.ControlPlanes, "control plane")
	images, upgrade := []stage{image(q.FromImage)}, []stage(nil)
	if q.Workers > 0 {
		nodes += " and " + count(q.Workers, "worker")
		images = append(images, image(q.ToImage))
		upgrade = []stage{{fmt.Sprintf("replacing %s: new machines from image %s", count(q.Workers, "worker"), q.ToImage), q.upgrade}}
	}
	return slices.Concat([]stage{
		{"checking this machine", q.checkHost},
		{"building programs", q.buildPrograms},
	}, images, []stage{
		{"starting a private libvirt", q.startHypervisor},
		{"starting a management cluster", q.startManagement},
		{"clusterctl init", q.initProviders},
		{fmt.Sprintf("creating cluster %s: %s from image %s", clusterName, nodes, q.FromImage), q.createCluster},
	}, upgrade)
}

// buildImage builds a version of our node image, or finds it in the cache.
func (q *quickstart) buildImage(ctx context.Context, version string) error {
	builder := &nodeimage.Builder{Repo: q.Repo, Cache: q.Cache, Programs: q.programs, Report: q.indented}
	_, err := builder.Build(ctx, version, q.imageDir())
	return err
}

// finish shows the nodes before and after, the times, and how to go on.
func (q *quickstart) finish(ctx context.Context) error {
	after, err := q.nodes(ctx)
	if err != nil {
		return err
	}
	if q.Workers > 0 {
		before, err := q.recallBefore()
		if err != nil {
			return fmt.Errorf("what the nodes ran before: %w", err)
		}
		q.print("\nNodes before the replacement:\n" + table(before))
	}
	q.print("\nNodes now:\n" + table(after) + "\n" + q.summary())
	q.print(fmt.Sprintf("\nThe cluster keeps running. Use it:\n  %s\n  %s\nRemove every trace:\n  make quickstart-down\n",
		q.kubectl("kubeconfig")+" get pods -A", q.kubectl("")+" get machines,ingotmachines"))
	return nil
}

// table shows nodes as kubectl would.
func table(nodes []node) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "  NAME\tSTATUS\tROLE\tVERSION\tADDRESS\tOS-IMAGE")
	for _, n := range nodes {
		status := "NotReady"
		if n.Ready {
			status = "Ready"
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\t%s\n", n.Name, status, n.Role, n.Kubelet, n.Address, n.OSImage)
	}
	_ = w.Flush()
	return text.String()
}

// count says how many of something there are.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (q *quickstart) indented(line string) { q.say("      %s", line) }
