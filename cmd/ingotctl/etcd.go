// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/rehearsal"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
)

func newEtcdCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "etcd",
		Short: "List the snapshots of control planes' etcd, and try whether one can be restored",
	}
	command.AddCommand(newEtcdSnapshotsCommand(), newEtcdRestoreCheckCommand())
	return command
}

const locationHelp = `
Snapshots are in a folder (--dir) or in a bucket (--url):
  s3://bucket/prefix?region=eu-west-1&endpoint=https://minio.example.org&pathStyle=true
  gs://bucket/prefix
  azblob://container/prefix?account=name
Credentials are read from --credentials-file: the manifest of a Secret (kubectl get secret -o yaml) or plain "key: value"
lines, with the keys
  s3      accessKeyID, secretAccessKey, sessionToken
  gs      serviceAccountJSON
  azblob  accountName, and accountKey or sasToken
  all     caCertificate
Without it those of the environment are used, as the cloud's own tools do: AWS_ACCESS_KEY_ID and AWS_PROFILE,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_CLIENT_ID and so on.`

func newEtcdSnapshotsCommand() *cobra.Command {
	var place placeFlags
	var output string
	command := &cobra.Command{
		Use:   "snapshots [NAMESPACE/CLUSTER]",
		Short: "List the snapshots of all clusters, or of one",
		Long: `List the snapshots of all clusters in a location, or of one, newest first. A snapshot whose file is gone or damaged is
named on standard error, and the exit code is 1.
` + locationHelp,
		Example: "  ingotctl etcd snapshots --dir /var/lib/ingot/snapshots\n  ingotctl etcd snapshots team/demo --url 's3://backups/prod?region=eu-west-1' -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			var of store.Cluster
			if len(args) == 1 {
				of.Namespace, of.Name, _ = strings.Cut(args[0], "/")
			}
			opened, err := place.open(command.Context())
			if err != nil {
				return err
			}
			defer func() { _ = opened.Close() }()
			listing, err := opened.List(command.Context(), of)
			if err != nil {
				return err
			}
			if err := printSnapshots(command.OutOrStdout(), output, listing.Manifests); err != nil {
				return err
			}
			if len(listing.Broken) > 0 {
				return fmt.Errorf("%d snapshots cannot be used: %w", len(listing.Broken), errors.Join(listing.Broken...))
			}
			return nil
		},
	}
	place.add(command.Flags())
	command.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return command
}

func newEtcdRestoreCheckCommand() *cobra.Command {
	var place placeFlags
	var output string
	trial := backup.Trial{}
	command := &cobra.Command{
		Use:   "restore-check SNAPSHOT",
		Short: "Restore a snapshot on this machine, to try whether that can be done",
		Long: `Fetch a snapshot, check it by its manifest, restore it into a scratch folder with etcd's own library, start etcd on it, and
read through it. No cluster is touched. The exit code is 0 if the snapshot can be restored.

With --keep-dir the folder is left: snapshot.db is what "etcdutl snapshot restore" takes on each node of a control plane,
data is a data directory for "etcd --force-new-cluster --data-dir", to look into it. They hold every Secret of the cluster.
` + locationHelp,
		Example: "  ingotctl etcd restore-check team/demo/20260102T030405Z-1a2b3c4d --dir /var/lib/ingot/snapshots",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) (err error) {
			if err := checkOutput(output); err != nil {
				return err
			}
			if trial.Store, err = place.open(command.Context()); err != nil {
				return err
			}
			defer func() { _ = trial.Store.Close() }()
			if trial.Rehearser, err = rehearsal.Itself(); err != nil {
				return err
			}
			trial.Name = args[0]
			m, report, err := backup.Check(command.Context(), trial)
			if errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("%w; ingotctl etcd snapshots lists what there is", err)
			}
			if err != nil {
				return err
			}
			return printCheck(command.OutOrStdout(), output, trial.KeepDir, m, report)
		},
	}
	place.add(command.Flags())
	flags := command.Flags()
	flags.StringVarP(&output, "output", "o", "table", "table or json")
	flags.StringVar(&trial.KeepDir, "keep-dir", "", "leave what was fetched and restored in this folder, which must not exist or be empty")
	flags.StringVar(&trial.Canary, "canary", backup.KubeadmCanary, "key that must be in it; empty for none")
	flags.StringVar(&trial.Scratch, "scratch", os.TempDir(), "folder with room for the snapshot twice, unless --keep-dir is used")
	return command
}

// placeFlags name a location.
type placeFlags struct{ dir, url, credentials string }

func (f *placeFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.dir, "dir", "", "folder of snapshots, such as a copy of the manager's")
	flags.StringVar(&f.url, "url", "", "bucket of snapshots")
	flags.StringVar(&f.credentials, "credentials-file", "", "file with the credentials for the bucket (default: those of the environment)")
}

func (f *placeFlags) open(ctx context.Context) (*store.Store, error) {
	if (f.dir == "") == (f.url == "") {
		return nil, errors.New("say where the snapshots are: with --dir or with --url")
	}
	if f.dir != "" {
		if info, err := os.Stat(f.dir); err != nil || !info.IsDir() {
			return nil, errors.Join(fmt.Errorf("--dir %s is no folder", f.dir), err)
		}
	}
	location := store.Location{URL: f.url}
	if f.credentials != "" {
		var err error
		if location.Credentials, err = readCredentials(f.credentials); err != nil {
			return nil, fmt.Errorf("--credentials-file %s: %w", f.credentials, err)
		}
	}
	return store.Open(ctx, location, store.Options{Dir: f.dir, AllowAmbient: true, TrustEndpoint: true})
}

// readCredentials reads a Secret, or its data in plain text.
func readCredentials(path string) (map[string][]byte, error) {
	content, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	var secret corev1.Secret
	if err := yaml.Unmarshal(content, &secret); err == nil && secret.Kind == "Secret" {
		credentials := map[string][]byte{}
		maps.Copy(credentials, secret.Data)
		for key, value := range secret.StringData {
			credentials[key] = []byte(value)
		}
		return credentials, nil
	}
	var plain map[string]string
	if err := yaml.Unmarshal(content, &plain); err != nil {
		return nil, errors.New(`it is neither the manifest of a Secret nor lines of "key: value"`) // never what it holds
	}
	credentials := map[string][]byte{}
	for key, value := range plain {
		credentials[key] = []byte(value)
	}
	return credentials, nil
}

func checkOutput(output string) error {
	if output != "table" && output != "json" {
		return fmt.Errorf("-o %s is not known: use table or json", output)
	}
	return nil
}

func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

func printSnapshots(out io.Writer, output string, snapshots []store.Manifest) error {
	if output == "json" {
		if snapshots == nil {
			snapshots = []store.Manifest{}
		}
		return printJSON(out, snapshots)
	}
	if len(snapshots) == 0 {
		_, err := fmt.Fprintln(out, "There are no snapshots.")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAME\tAGE\tKUBERNETES\tETCD\tREVISION\tKEYS\tSIZE\tREHEARSED\tCOMPARED WITH")
	for _, m := range snapshots {
		rehearsed := "no"
		if !m.Rehearsed.IsZero() {
			rehearsed = "yes"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", m.Name, duration.HumanDuration(clock.RealClock{}.Since(m.Time)),
			orDash(m.KubernetesVersion), orDash(m.EtcdVersion), m.Revision, m.TotalKeys, humanBytes(m.SizeBytes), rehearsed, orDash(m.ComparedWith))
	}
	return table.Flush()
}

// checked is what restore-check prints as JSON.
type checked struct {
	Manifest  store.Manifest   `json:"manifest"`
	Rehearsal rehearsal.Report `json:"rehearsal"`
	KeptIn    string           `json:"keptIn,omitempty"`
}

func printCheck(out io.Writer, output, kept string, m store.Manifest, r rehearsal.Report) error {
	if output == "json" {
		return printJSON(out, checked{Manifest: m, Rehearsal: r, KeptIn: kept})
	}
	_, err := fmt.Fprintf(out, `Snapshot %s can be restored.
  taken      %s from node %s, etcd %s, Kubernetes %s
  file       %s, sum %s
  database   %s, revision %d, %d keys, hash %08x
  rehearsed  with etcd %s in %s
`, m.Name, m.Time.Format(time.RFC3339), orDash(m.Node), orDash(m.EtcdVersion), orDash(m.KubernetesVersion),
		humanBytes(m.SizeBytes), m.SHA256, humanBytes(m.SnapshotBytes), r.Revision, r.TotalKeys, r.HashKV, r.RehearsedWith, r.Took.Round(time.Millisecond))
	if err != nil || kept == "" {
		return err
	}
	_, err = fmt.Fprintf(out, "  kept       %s for etcdutl snapshot restore, %s for etcd --force-new-cluster\n",
		filepath.Join(kept, "snapshot.db"), filepath.Join(kept, rehearsal.Data))
	return err
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func humanBytes(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
