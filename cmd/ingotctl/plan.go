// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/preview"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/workload"
)

// planOptions are the flags of ingotctl plan.
type planOptions struct {
	rules     *clientcmd.ClientConfigLoadingRules
	overrides clientcmd.ConfigOverrides
	change    string
	output    string
	exitCode  bool
	timeout   time.Duration
	request   preview.Request
}

func newPlanCommand() *cobra.Command {
	o := &planOptions{rules: clientcmd.NewDefaultClientConfigLoadingRules()}
	command := &cobra.Command{
		Use:   "plan CLUSTER",
		Short: "Print what is going to be done to a control plane, now or after a change, without doing anything",
		Long: `Print which control plane Machines of a Cluster are going to be replaced and why, in which order, and what is held
by what. With -f it is asked what would follow if the manifests in the file were applied: they are sent as a dry run, as
kubectl apply --server-side --dry-run=server does, so what admission refuses is refused here. Nothing is written.

The plan is made by the planner that the controller uses, from what is there now, and foresees that all goes well. It asks
the workload cluster for the members of its etcd; where it may not, it says what is not known.

It needs the right to read what the controller reads: the Cluster, the IngotControlPlane, Machines, their IngotConfigs and
infrastructure machines, and the Secrets of the Cluster; and with -f to apply what is in the file.`,
		Example: `  ingotctl plan demo -n team
  ingotctl plan demo -n team -f upgrade.yaml
  kustomize build . | ingotctl plan demo -n team -f - -o json --exit-code`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			log.SetLogger(logr.Discard())
			ctx, cancel := context.WithTimeout(command.Context(), o.timeout)
			defer cancel()
			return o.run(ctx, args[0], command.InOrStdin(), command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	flags := command.Flags()
	flags.StringVar(&o.rules.ExplicitPath, "kubeconfig", "", "kubeconfig file of the management cluster (default $KUBECONFIG or ~/.kube/config)")
	flags.StringVar(&o.overrides.CurrentContext, "context", "", "context in the kubeconfig file")
	flags.StringVarP(&o.overrides.Context.Namespace, "namespace", "n", "", "namespace of the Cluster (default that of the context)")
	flags.StringVarP(&o.change, "filename", "f", "", "file with the manifests of a proposed change; - reads them from the standard input")
	flags.StringVarP(&o.output, "output", "o", "table", "how the plan is printed: table or json")
	flags.BoolVar(&o.exitCode, "exit-code", false, "exit with 2 if there is anything to do, under way or held, and with 0 if not")
	flags.StringVar(&o.request.FieldManager, "field-manager", "kubectl", "who would apply the change")
	flags.BoolVar(&o.request.ForceConflicts, "force-conflicts", false, "take over fields that somebody else manages, as the flag of kubectl apply does")
	flags.DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait for all answers")
	return command
}

func (o *planOptions) run(ctx context.Context, cluster string, in io.Reader, out, warnings io.Writer) error {
	if o.output != "table" && o.output != "json" {
		return fmt.Errorf("--output %q is unknown: use table or json", o.output)
	}
	config := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(o.rules, &o.overrides)
	namespace, _, err := config.Namespace()
	if err != nil {
		return err
	}
	planner, err := newPlanner(config, warnings)
	if err != nil {
		return err
	}
	o.request.Cluster = client.ObjectKey{Namespace: namespace, Name: cluster}
	if o.request.Change, err = readChange(o.change, namespace, in); err != nil {
		return err
	}
	report, err := planner.Plan(ctx, o.request)
	if err != nil {
		return err
	}
	write := report.WriteText
	if o.output == "json" {
		write = report.WriteJSON
	}
	if err := write(out); err != nil {
		return err
	}
	if o.exitCode && !report.NothingToDo {
		return &exitError{2}
	}
	return nil
}

// readChange reads the manifests of a file, or those of in where the file is called -.
func readChange(file, namespace string, in io.Reader) (change []*unstructured.Unstructured, err error) {
	if file == "" {
		return nil, nil
	}
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer func() { _ = opened.Close() }()
		in = opened
	}
	change, err = preview.ReadChange(in, namespace)
	if err == nil && len(change) == 0 {
		err = errors.New("there is no manifest")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return change, nil
}

// answerWithin is how long a request to a workload cluster may take.
const answerWithin = 10 * time.Second

func newPlanner(config clientcmd.ClientConfig, warnings io.Writer) (preview.Planner, error) {
	connection, err := config.ClientConfig()
	if err != nil {
		return preview.Planner{}, fmt.Errorf("no management cluster: set --kubeconfig or KUBECONFIG: %w", err)
	}
	connection.WarningHandler = rest.NewWarningWriter(warnings, rest.WarningWriterOptions{Deduplicate: true})
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, clusterv1.AddToScheme, bootstrapv1.AddToScheme, controlplanev1.AddToScheme} {
		if err := add(scheme); err != nil {
			return preview.Planner{}, err
		}
	}
	c, err := client.New(connection, client.Options{Scheme: scheme})
	if err != nil {
		return preview.Planner{}, err
	}
	direct := workload.Direct{Secrets: c, Timeout: answerWithin}
	return preview.Planner{Client: c, View: controller.Preview{
		Client: c, Workloads: direct, Drivers: workload.Drivers(direct, clock.RealClock{}), Clock: clock.RealClock{},
	}}, nil
}
