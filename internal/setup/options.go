// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package setup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	"sigs.k8s.io/cluster-api/util/flags"
)

// Role is one of the three provider roles that the manager can run.
type Role string

const (
	// RoleInfrastructure runs IngotCluster, IngotMachine, NodeImage, ImageReplica and PlatformEndpoint.
	RoleInfrastructure Role = "infrastructure"
	// RoleBootstrap runs IngotConfig.
	RoleBootstrap Role = "bootstrap"
	// RoleControlPlane runs IngotControlPlane.
	RoleControlPlane Role = "control-plane"
)

// Options are the command line options of the manager.
type Options struct {
	// Roles are the provider roles to run. clusterctl installs one Deployment for each.
	Roles []string
	// Namespace restricts the manager to one namespace; empty means all.
	Namespace string
	// WatchFilter restricts the manager to objects with this value of the watch-filter label.
	WatchFilter string
	// LeaderElect makes replicas of one role take turns.
	LeaderElect bool
	// HealthAddress is where /healthz and /readyz are served.
	HealthAddress string
	// SyncPeriod is how often every object is looked at again although nothing happened.
	SyncPeriod time.Duration
	// Concurrency is how many objects of a kind are reconciled at the same time.
	Concurrency int
	// QPS and Burst limit requests to the management cluster's API server, per second.
	QPS   float32
	Burst int
	// Snapshots is the folder of snapshots of etcd whose control planes name no other storage. It must survive the manager.
	Snapshots string
	// Scratch is a folder for what is being restored. It needs room for the two largest etcds, twice.
	Scratch string
	// Restored is a folder for snapshots that were restored, until the Machines that they are for have fetched them. It should
	// survive the manager.
	Restored string
	// RestoreURL is the https address under which Machines reach RestoreAddress, or "none", and then nothing is restored.
	RestoreURL     string
	RestoreAddress string
	// AmbientCredentials lets control planes keep snapshots in buckets under the identity of the manager.
	AmbientCredentials bool
	// WebhookPort is where what people write is judged before it is stored; 0 means nowhere. It is served by every replica.
	WebhookPort int
	// WebhookCerts is a folder with tls.crt and tls.key for it. What changes there is taken up.
	WebhookCerts string
	// Verbosity is how much is logged from the start. What is logged of requests grows with it, but never their bodies.
	Verbosity int
	// Manager holds the TLS and diagnostics options that all Cluster API managers share.
	Manager flags.ManagerOptions
}

// noURL is what says that Machines reach nothing. clusterctl's templates have no default that is empty.
const noURL = "none"

// AddFlags adds the options to a flag set.
func (o *Options) AddFlags(fs *pflag.FlagSet) {
	fs.StringSliceVar(&o.Roles, "role", []string{string(RoleInfrastructure), string(RoleBootstrap), string(RoleControlPlane)},
		"Provider roles to run: infrastructure, bootstrap, control-plane.")
	fs.StringVar(&o.Namespace, "namespace", "", "Namespace to watch. Empty means all namespaces.")
	fs.StringVar(&o.WatchFilter, "watch-filter", "", "Value of the label cluster.x-k8s.io/watch-filter that objects must have. Empty means all objects.")
	fs.BoolVar(&o.LeaderElect, "leader-elect", false, "Let only one replica of the manager work at a time.")
	fs.StringVar(&o.HealthAddress, "health-addr", ":9440", "Address where /healthz and /readyz are served.")
	fs.DurationVar(&o.SyncPeriod, "sync-period", 10*time.Minute, "How often every object is looked at again although nothing happened.")
	fs.IntVar(&o.Concurrency, "concurrency", 32, "How many objects of a kind are reconciled at the same time. Most of that time they wait for answers.")
	fs.Float32Var(&o.QPS, "kube-api-qps", 100, "Requests per second to the management cluster's API server.")
	fs.IntVar(&o.Burst, "kube-api-burst", 200, "Requests that may be sent at once to the management cluster's API server.")
	fs.StringVar(&o.Snapshots, "snapshot-directory", "/var/lib/ingot/snapshots", "Folder for snapshots of etcd of control planes that name no other storage. It must outlive the manager's Pod.")
	fs.StringVar(&o.Scratch, "scratch-directory", filepath.Join(os.TempDir(), "ingot-scratch"), "Folder for snapshots that are being taken and restored, with room for the two largest etcds, twice.")
	fs.StringVar(&o.Restored, "restore-directory", "/var/lib/ingot/restored", "Folder for snapshots that were restored, until the Machines that they are for have fetched them. It should outlive the manager's Pod.")
	fs.StringVar(&o.RestoreURL, "restore-url", noURL, "Address under which Machines reach --restore-bind-address, such as https://10.0.0.5:9444; none means that no snapshot is restored.")
	fs.StringVar(&o.RestoreAddress, "restore-bind-address", ":9444", "Address where Machines fetch restored snapshots, with TLS. Nothing listens there without --restore-url.")
	fs.BoolVar(&o.AmbientCredentials, "snapshot-ambient-credentials", false, "Let control planes without credentials use the manager's own cloud identity for their buckets.")
	fs.IntVar(&o.WebhookPort, "webhook-port", 0, "Port where webhooks judge configs before they are stored; 0 means that none is served.")
	fs.StringVar(&o.WebhookCerts, "webhook-cert-dir", "/tmp/k8s-webhook-server/serving-certs", "Folder with tls.crt and tls.key for --webhook-port.")
	fs.IntVarP(&o.Verbosity, "v", "v", 0, fmt.Sprintf("How much is logged, 0 to %d. More would write Secrets.", mostVerbose))
	flags.AddManagerOptions(fs, &o.Manager)
}

// Validate says what is wrong with the options, or nil.
func (o *Options) Validate() error {
	known := []Role{RoleInfrastructure, RoleBootstrap, RoleControlPlane}
	if len(o.Roles) == 0 {
		return fmt.Errorf("--role is empty: name at least one of %v", known)
	}
	for _, role := range o.Roles {
		if !slices.Contains(known, Role(role)) {
			return fmt.Errorf("--role %q is unknown: use one of %v", role, known)
		}
	}
	if o.WebhookPort < 0 || o.WebhookPort > 65535 {
		return fmt.Errorf("--webhook-port %d is not a port", o.WebhookPort)
	}
	if o.Concurrency < 1 {
		return fmt.Errorf("--concurrency %d is too small: use at least 1", o.Concurrency)
	}
	if err := checkVerbosity(strconv.Itoa(o.Verbosity)); err != nil {
		return fmt.Errorf("--v: %w", err)
	}
	return nil
}

func (o *Options) runs(role Role) bool { return slices.Contains(o.Roles, string(role)) }

// restoreURL is empty where there is none.
func (o *Options) restoreURL() string {
	if o.RestoreURL == noURL {
		return ""
	}
	return o.RestoreURL
}
