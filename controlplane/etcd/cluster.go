// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

const (
	// memberBound is how long one member may take to answer, or to have the members changed. One that hangs costs no more,
	// whatever the number of members.
	memberBound = 8 * time.Second
	// endpoint is what etcd's client calls every member: the name that all of them have a certificate for. Where it leads is
	// Dial's.
	endpoint = "https://localhost"
	// peerPort is where kubeadm has members listen for each other.
	peerPort = "2380"
	// maxLag is how many entries a member may be behind the leader and still keep up.
	maxLag = 5000
)

// Misplaced is where the others find a member that was restored, until Place says better: nowhere.
const Misplaced = "https://restored.ingot.invalid:2380"

// Dial opens a connection to the etcd member on a node.
type Dial func(ctx context.Context, node string) (net.Conn, error)

// Cluster is the etcd of one workload cluster. Every field is required, except Stall. It is safe for concurrent use.
type Cluster struct {
	// Dial reaches members.
	Dial Dial
	// TLS holds the client certificate and the authority of the members' certificates.
	TLS *tls.Config
	// Nodes are the names of the nodes that may have a member.
	Nodes []string
	// Stall is how long a snapshot may go without a byte before the next member is tried; 0 is 30 seconds.
	Stall time.Duration
}

// ErrUnreachable means that no member has answered: nothing can be told.
var ErrUnreachable = errors.New("no etcd member answers")

// Members returns all members with their health, sorted by ID. A list that the members agree on is preferred: one that is
// cut off from the others may know a member no more, or not yet. Only where nobody can agree, which means that there is no
// quorum, what one knows by itself is returned, and none of them counts as healthy: such a list may be old, and nothing must
// be built on it, even if etcd is well again a moment later. Errors wrap ErrUnreachable.
func (c Cluster) Members(ctx context.Context) ([]plan.Member, error) {
	var errs []error
	for _, node := range c.Nodes {
		listed, err := c.list(ctx, node)
		if err == nil {
			return c.judge(ctx, listed), nil
		}
		errs = append(errs, fmt.Errorf("on node %s: %w", node, err))
	}
	for _, node := range c.Nodes {
		if listed, err := c.list(ctx, node, clientv3.WithSerializable()); err == nil {
			return judged(listed, make([]answer, len(listed.Members))), nil
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrUnreachable, errors.Join(errs...))
}

// list asks the member on one node who the members are.
func (c Cluster) list(ctx context.Context, node string, options ...clientv3.OpOption) (listed *clientv3.MemberListResponse, err error) {
	err = c.on(ctx, node, func(ctx context.Context, client *clientv3.Client) (err error) {
		listed, err = client.MemberList(ctx, options...)
		return err
	})
	return listed, err
}

// judge asks each member how it is, all at the same time.
func (c Cluster) judge(ctx context.Context, listed *clientv3.MemberListResponse) []plan.Member {
	statuses := make([]answer, len(listed.Members))
	var all sync.WaitGroup
	for i, m := range listed.Members {
		if m.Name != "" && slices.Contains(c.Nodes, m.Name) {
			all.Go(func() { statuses[i] = c.status(ctx, m.Name) })
		}
	}
	all.Wait()
	return judged(listed, statuses)
}

// judged are the members with what they said of themselves, sorted by ID.
func judged(listed *clientv3.MemberListResponse, statuses []answer) []plan.Member {
	members := make([]plan.Member, len(listed.Members))
	for i, m := range listed.Members {
		members[i] = judgeMember(m, statuses[i], statuses)
	}
	slices.SortFunc(members, func(a, b plan.Member) int { return strings.Compare(a.ID, b.ID) })
	return members
}

// judgeMember says how a member is: healthy is one that answers without complaint, knows a leader, and keeps up.
func judgeMember(m *etcdserverpb.Member, status answer, all []answer) plan.Member {
	member := plan.Member{ID: strconv.FormatUint(m.ID, 16), Name: m.Name, Learner: m.IsLearner, CertificateEnds: status.certificateEnds, Misplaced: slices.Contains(m.PeerURLs, Misplaced)}
	if status.StatusResponse == nil || status.Leader == 0 || len(status.Errors) > 0 {
		return member
	}
	newest := uint64(0)
	for _, s := range all {
		if s.StatusResponse != nil {
			newest = max(newest, s.RaftAppliedIndex)
		}
	}
	member.Healthy = newest-status.RaftAppliedIndex <= maxLag
	member.Leader = status.Leader == m.ID
	return member
}

// answer is what a member says of itself: nothing where it does not answer.
type answer struct {
	*clientv3.StatusResponse

	// certificateEnds is when the certificate ends that it showed.
	certificateEnds metav1.Time
}

// status asks the member on a node how it is.
func (c Cluster) status(ctx context.Context, node string) (said answer) {
	c.TLS = c.TLS.Clone()
	c.TLS.VerifyConnection = func(state tls.ConnectionState) error { // after what TLS verifies by itself
		said.certificateEnds = metav1.NewTime(state.PeerCertificates[0].NotAfter)
		return nil
	}
	_ = c.on(ctx, node, func(ctx context.Context, client *clientv3.Client) (err error) {
		said.StatusResponse, err = client.Status(ctx, endpoint)
		return err
	})
	return said
}

// Promote gives a learner its vote. One that has it already is no error.
func (c Cluster) Promote(ctx context.Context, member plan.Member) error {
	return c.change(ctx, "promoting", member, func(ctx context.Context, client *clientv3.Client, id uint64) error {
		_, err := client.MemberPromote(ctx, id)
		if errors.Is(err, rpctypes.ErrMemberNotLearner) { // not that it is one which does not keep up
			return nil
		}
		return err
	})
}

// Remove removes a member, and settles. One that is gone already is no error.
func (c Cluster) Remove(ctx context.Context, member plan.Member) error {
	return c.change(ctx, "removing", member, func(ctx context.Context, client *clientv3.Client, id uint64) error {
		_, err := client.MemberRemove(ctx, id)
		if err != nil && !errors.Is(err, rpctypes.ErrMemberNotFound) {
			return err
		}
		return settle(ctx, client)
	})
}

// Settle has a majority write down what was agreed on last. etcd keeps that in memory until the next change: a member that was
// killed just after another was removed comes back with the old list, and where it is the only one that is left it waits for
// ever for one that is gone. So whoever takes away what runs a removed member settles before, and Remove does at
// once: what a kill in the milliseconds between costs is etcd's own limit.
func (c Cluster) Settle(ctx context.Context) error {
	errs := []error{fmt.Errorf("settling etcd: %w", ErrUnreachable)}
	for _, node := range c.Nodes {
		err := c.on(ctx, node, settle)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("through node %s: %w", node, err))
	}
	return errors.Join(errs...)
}

// settle makes a change that leaves nothing behind.
func settle(ctx context.Context, client *clientv3.Client) error {
	lease, err := client.Grant(ctx, 1)
	if err != nil {
		return err
	}
	_, _ = client.Revoke(ctx, lease.ID) // or it ends by itself
	return nil
}

// Place says where the others find a member: at an address of its node.
func (c Cluster) Place(ctx context.Context, member plan.Member, address string) error {
	return c.change(ctx, "placing", member, func(ctx context.Context, client *clientv3.Client, id uint64) error {
		_, err := client.MemberUpdate(ctx, id, []string{"https://" + net.JoinHostPort(address, peerPort)})
		return err
	})
}

// MoveLeader has another member lead. Only the leader can hand over: where it cannot be reached, or leads no more, nothing
// is done, and the others elect another when it is removed.
func (c Cluster) MoveLeader(ctx context.Context, from, to plan.Member) error {
	id, err := strconv.ParseUint(to.ID, 16, 64)
	if err != nil {
		return fmt.Errorf("etcd member %q: %w", to.ID, err)
	}
	if status := c.status(ctx, from.Name); status.StatusResponse == nil || strconv.FormatUint(status.Leader, 16) != from.ID {
		return nil // it is no leader that could hand over
	}
	err = c.on(ctx, from.Name, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.MoveLeader(ctx, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("moving the leadership of etcd to %s: %w", to.Name, err)
	}
	return nil
}

// change changes the members through the first member that does it.
func (c Cluster) change(ctx context.Context, doing string, member plan.Member, do func(context.Context, *clientv3.Client, uint64) error) error {
	id, err := strconv.ParseUint(member.ID, 16, 64)
	if err != nil {
		return fmt.Errorf("etcd member %q: %w", member.ID, err)
	}
	errs := []error{fmt.Errorf("%s etcd member %s: %w", doing, member.ID, ErrUnreachable)}
	for _, node := range c.Nodes {
		if node == member.Name && len(c.Nodes) > 1 {
			continue // who goes is not asked
		}
		err := c.on(ctx, node, func(ctx context.Context, client *clientv3.Client) error { return do(ctx, client, id) })
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("through node %s: %w", node, err))
	}
	return errors.Join(errs...)
}

// on runs do with a client of the member on one node, and of no other.
func (c Cluster) on(ctx context.Context, node string, do func(context.Context, *clientv3.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, memberBound)
	defer cancel()
	return c.with(ctx, node, do)
}

// with is on without a bound of its own.
func (c Cluster) with(ctx context.Context, node string, do func(context.Context, *clientv3.Client) error) error {
	client, err := clientv3.New(clientv3.Config{
		Context:   ctx,
		Endpoints: []string{endpoint},
		TLS:       c.TLS,
		Logger:    zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.Dial(ctx, node) }),
		},
	})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	return do(ctx, client)
}
