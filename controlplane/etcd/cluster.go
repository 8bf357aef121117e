// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

const (
	// memberBound is how long one member may take to answer, or to have the members changed. One that hangs costs no more,
	// whatever the number of members.
	memberBound = 8 * time.Second
	// dials is how often it is tried to connect to a member.
	dials = 2
	// endpoint is what etcd's client calls every member: the name that all of them have a certificate for. Where it leads is
	// Dial's.
	endpoint = "https://localhost"
	// peerPort is where kubeadm has members listen for each other.
	peerPort = "2380"
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

// Members returns all members with their health, sorted by ID. All nodes are asked at the same time. A list that the members
// agree on is preferred: one that is cut off from the others may know a member no more, or not yet. Only where nobody can
// agree, which means that there is no quorum, what one knows by itself is returned, and none of them counts as healthy: such a
// list may be old, and nothing must be built on it, even if etcd is well again a moment later. Errors wrap ErrUnreachable.
func (c Cluster) Members(ctx context.Context) ([]plan.Member, error) {
	answers := c.ask(ctx)
	said, errs := map[string]answer{}, []error{ErrUnreachable}
	for i, a := range answers {
		said[c.Nodes[i]] = a
		errs = append(errs, fmt.Errorf("on node %s: %w", c.Nodes[i], a.err))
	}
	if i := slices.IndexFunc(answers, func(a answer) bool { return a.agreed != nil }); i >= 0 {
		return judged(answers[i].agreed, said), nil
	}
	if i := slices.IndexFunc(answers, func(a answer) bool { return a.known != nil }); i >= 0 {
		return judged(answers[i].known, nil), nil
	}
	return nil, errors.Join(errs...)
}

// answer is what a member says: nothing where it does not answer.
type answer struct {
	// StatusResponse is how it is.
	*etcdserverpb.StatusResponse

	// certificateEnds is when the certificate ends that it showed.
	certificateEnds time.Time
	// agreed are the members that all agree on, known those that it knows by itself; learners say neither.
	agreed, known *clientv3.MemberListResponse
	err           error
}

// ask asks the members on all nodes how they are and who the members are.
func (c Cluster) ask(ctx context.Context) []answer {
	return AskAll(ctx, c.Nodes, func(ctx context.Context, node string, agreeing Agreeing) answer {
		return c.status(ctx, node, func(ctx context.Context, client *clientv3.Client, said *answer) {
			if said.known, said.err = client.MemberList(ctx, clientv3.WithSerializable()); said.err != nil || said.Leader == 0 {
				return
			}
			said.err = agreeing(ctx, func(ctx context.Context) (err error) {
				said.agreed, err = client.MemberList(ctx)
				return err
			})
		})
	})
}

// status asks the member on a node how it is, and whatever is to be asked besides.
func (c Cluster) status(ctx context.Context, node string, besides func(context.Context, *clientv3.Client, *answer)) (said answer) {
	var ends atomic.Pointer[time.Time]
	c.TLS = c.TLS.Clone()
	c.TLS.VerifyConnection = func(state tls.ConnectionState) error { // after what TLS verifies by itself
		ends.Store(&state.PeerCertificates[0].NotAfter)
		return nil
	}
	err := c.on(ctx, node, func(ctx context.Context, client *clientv3.Client) (err error) {
		if said.StatusResponse, err = statusOf(ctx, client); err == nil && besides != nil {
			besides(ctx, client, &said)
		}
		return err
	})
	said.err = cmp.Or(err, said.err)
	if end := ends.Load(); end != nil {
		said.certificateEnds = *end
	}
	return said
}

// statusOf asks through the connection of a client. Its own method opens another one each time.
func statusOf(ctx context.Context, client *clientv3.Client) (*etcdserverpb.StatusResponse, error) {
	return etcdserverpb.NewMaintenanceClient(client.ActiveConnection()).Status(ctx, &etcdserverpb.StatusRequest{}, grpc.WaitForReady(true))
}

// judged are the members with what they said of themselves, sorted by ID.
func judged(listed *clientv3.MemberListResponse, answers map[string]answer) []plan.Member {
	said, ends := map[string]*Said{}, map[string]time.Time{}
	for name, a := range answers {
		if a.StatusResponse != nil {
			said[name] = &Said{Leader: a.Leader, Applied: a.RaftAppliedIndex, Complaints: a.Errors}
		}
		if !a.certificateEnds.IsZero() {
			ends[name] = a.certificateEnds
		}
	}
	known := make([]Listed, len(listed.Members))
	for i, m := range listed.Members {
		known[i] = Listed{ID: m.ID, Name: m.Name, Learner: m.IsLearner, Peers: m.PeerURLs}
	}
	return certificate(Judge(known, said), ends)
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
	return c.through(ctx, "settling etcd", c.Nodes, settle)
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
	id, err := ID(to)
	if err != nil {
		return err
	}
	if status := c.status(ctx, from.Name, nil); status.StatusResponse == nil || strconv.FormatUint(status.Leader, 16) != from.ID {
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

// change changes the members.
func (c Cluster) change(ctx context.Context, doing string, member plan.Member, do func(context.Context, *clientv3.Client, uint64) error) error {
	id, err := ID(member)
	if err != nil {
		return err
	}
	return c.through(ctx, doing+" etcd member "+member.ID, Others(c.Nodes, member), func(ctx context.Context, client *clientv3.Client) error { return do(ctx, client, id) })
}

// through does something that may be done twice through the first node that does it.
func (c Cluster) through(ctx context.Context, doing string, nodes []string, do func(context.Context, *clientv3.Client) error) error {
	return Through(ctx, doing, nodes, func(ctx context.Context, node string) error { return c.on(ctx, node, do) })
}

// on runs do with a client of the member on one node, and of no other.
func (c Cluster) on(ctx context.Context, node string, do func(context.Context, *clientv3.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, memberBound)
	defer cancel()
	return c.with(ctx, node, do)
}

// with is on without a bound of its own. A node that lets nobody in is not worth the while that etcd's client would go on.
func (c Cluster) with(ctx context.Context, node string, do func(context.Context, *clientv3.Client) error) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	var failed atomic.Int32
	client, err := clientv3.New(clientv3.Config{
		Context:   ctx,
		Endpoints: []string{endpoint},
		TLS:       c.TLS,
		Logger:    zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				conn, err := c.Dial(ctx, node)
				if err != nil && failed.Add(1) == dials {
					giveUp(err)
				}
				return conn, err
			}),
		},
	})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	err = do(ctx, client)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause // it says more than that nothing came
	}
	return err
}
