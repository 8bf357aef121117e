// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/version"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/etcd"
)

const (
	memberName = "rehearsal"
	// clients and peers are sockets in the scratch folder. etcd takes their names for hosts with ports.
	clients = "clients:1"
	peers   = "peers:1"
	// startBound is how long etcd may take to lead itself, and readBound how long to answer.
	startBound = 10 * time.Minute
	readBound  = 10 * time.Minute
)

// run rehearses in this process, which may end at any time.
func run(ctx context.Context, r Request, log io.Writer, inspected func(Inspection)) (Report, error) {
	began := clock.RealClock{}.Now()
	logger := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(log), zap.ErrorLevel))
	if err := checkFile(r.Snapshot); err != nil {
		return Report{}, err
	}
	found, err := inspect(logger, r.Snapshot)
	if err != nil {
		return Report{}, err
	}
	inspected(found)
	if err := enter(r.Dir); err != nil {
		return Report{}, err
	}
	wal.SegmentSizeBytes = 1 << 20 // what is reserved of the scratch disk
	err = snapshot.NewV3(logger).Restore(snapshot.RestoreConfig{
		SnapshotPath: r.Snapshot, Name: memberName, OutputDataDir: Data,
		PeerURLs: []string{unix(peers)}, InitialCluster: memberName + "=" + unix(peers), InitialClusterToken: memberName,
	})
	if err != nil {
		return Report{}, blame(err, "restoring it")
	}
	report, err := serve(ctx, logger, r, found)
	report.Took = clock.RealClock{}.Since(began)
	if err == nil && r.Keep {
		err = keep(logger, r)
	}
	return report, err
}

// revisionBump is more than etcd can have written between the snapshot and its loss.
const revisionBump = 1_000_000_000

// keep restores once more, for a cluster that goes on.
func keep(logger *zap.Logger, r Request) error {
	if err := os.RemoveAll(Data); err != nil {
		return err
	}
	err := snapshot.NewV3(logger).Restore(snapshot.RestoreConfig{
		SnapshotPath: r.Snapshot, Name: memberName, OutputDataDir: Data,
		PeerURLs: []string{etcd.Misplaced}, InitialCluster: memberName + "=" + etcd.Misplaced, InitialClusterToken: memberName,
		RevisionBump: revisionBump, MarkCompacted: true,
	})
	if err != nil {
		return blame(err, "restoring it for a cluster")
	}
	return nil
}

func checkFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := etcd.Check(file); errors.Is(err, etcd.ErrBroken) {
		return fmt.Errorf("%w: %w", ErrUnusable, err)
	} else if err != nil {
		return err
	}
	return nil
}

// inspect reads every page of the database, and every key.
func inspect(logger *zap.Logger, path string) (Inspection, error) {
	status, err := snapshot.NewV3(logger).Status(path)
	if err != nil {
		return Inspection{}, blame(err, "reading its database")
	}
	if status.TotalKey == 0 {
		return Inspection{}, fmt.Errorf("%w: there is no key in it", ErrUnusable)
	}
	return Inspection{Revision: status.Revision, TotalKeys: status.TotalKey, StorageVersion: status.Version}, nil
}

// blame says that the snapshot is at fault, unless the scratch disk is.
func blame(err error, doing string) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%s: %w: the scratch folder needs room for the snapshot twice", doing, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnusable, doing, err)
}

// serve starts etcd on what was restored, and reads through it.
func serve(ctx context.Context, logger *zap.Logger, r Request, found Inspection) (Report, error) {
	server, err := embed.StartEtcd(configuration(logger))
	if err != nil {
		return Report{}, blame(err, "starting etcd on it")
	}
	defer server.Close()
	clock := clock.RealClock{}
	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		return Report{}, blame(err, "running etcd on it")
	case <-clock.After(startBound):
		return Report{}, fmt.Errorf("etcd was not ready %s after it was started on it", startBound)
	}
	ctx, cancel := context.WithTimeout(ctx, readBound)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{Context: ctx, Endpoints: []string{unix(clients)}, Logger: zap.NewNop()})
	if err != nil {
		return Report{}, err
	}
	defer func() { _ = client.Close() }()
	return read(ctx, client, r, found)
}

func configuration(logger *zap.Logger) *embed.Config {
	config := embed.NewConfig()
	config.Name, config.Dir = memberName, Data
	config.ListenClientUrls, config.AdvertiseClientUrls = socket(clients), socket(clients)
	config.ListenPeerUrls, config.AdvertisePeerUrls = socket(peers), socket(peers)
	config.InitialCluster, config.InitialClusterToken = memberName+"="+unix(peers), memberName
	config.TickMs, config.ElectionMs = 10, 100 // nobody else votes
	config.EnableGRPCGateway = false
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)
	return config
}

func unix(name string) string { return "unix://" + name }

func socket(name string) []url.URL { return []url.URL{{Scheme: "unix", Host: name}} }

// read compares what etcd says with what the file said of itself, and looks for the canary.
func read(ctx context.Context, client *clientv3.Client, r Request, found Inspection) (Report, error) {
	all, err := client.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly())
	if err != nil {
		return Report{}, blame(err, "reading through etcd")
	}
	if all.Header.Revision < found.Revision || all.Count != int64(found.TotalKeys) {
		return Report{}, fmt.Errorf("%w: its database ends at revision %d and holds %d keys, etcd says %d and %d",
			ErrUnusable, found.Revision, found.TotalKeys, all.Header.Revision, all.Count)
	}
	found.Revision = all.Header.Revision // where the newest was deleted and compacted, the database does not hold it any more
	if r.Canary != "" {
		canary, err := client.Get(ctx, r.Canary)
		if err != nil {
			return Report{}, blame(err, "reading through etcd")
		}
		if len(canary.Kvs) == 0 {
			return Report{}, fmt.Errorf("%w: it holds %d keys, but not %s, which every cluster of ours has", ErrUnusable, all.Count, r.Canary)
		}
	}
	hash, err := client.HashKV(ctx, unix(clients), found.Revision)
	if err != nil {
		return Report{}, blame(err, "hashing what etcd holds")
	}
	return Report{Inspection: found, HashKV: hash.Hash, CompactRevision: hash.CompactRevision, RehearsedWith: version.Version}, nil
}
