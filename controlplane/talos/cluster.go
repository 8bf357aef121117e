// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/siderolabs/talos/pkg/machinery/api/machine"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/etcd"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

const (
	// memberBound is how long one machine may take to answer, or to change the members.
	memberBound = 8 * time.Second
	// leaveBound is how long a member may take to leave. Talos itself tries for minutes; after this it is removed through
	// another.
	leaveBound = 30 * time.Second
	// settleBound is how long it may take until etcd has written something, and settleAgain is how often that is looked at.
	// Every kubelet renews its lease every ten seconds.
	settleBound = 30 * time.Second
	settleAgain = time.Second
)

// Services and states of Talos that something here depends on.
const (
	serviceEtcd    = "etcd"
	statePreparing = "Preparing"
	stateRunning   = "Running"
)

// Cluster is the etcd of a workload cluster whose control plane runs Talos. It is safe for concurrent use. Every field is
// required, except Stall.
type Cluster struct {
	// TLS holds a client certificate that Talos takes for an administrator's, and the authority of the machines.
	TLS *tls.Config
	// Nodes are the machines that may have a member.
	Nodes []Node
	// Stall is how long a snapshot may go without a byte before the next member is tried; 0 is 30 seconds.
	Stall time.Duration
}

// errNoEtcd means that etcd does not run on a machine.
var errNoEtcd = errors.New("etcd does not run")

// Members returns all members with their health, sorted by ID. All machines are asked at the same time. Talos lists members
// only where they agree on the list, so that an error means too that there may be no quorum. Errors wrap etcd.ErrUnreachable.
func (c Cluster) Members(ctx context.Context) ([]plan.Member, error) {
	members, _, err := c.look(ctx)
	return members, err
}

// answer is what one machine says: nothing where it does not answer.
type answer struct {
	status *machine.EtcdMemberStatus
	listed []etcd.Listed
	err    error
}

// look returns the members, and what they said of themselves by the names of their nodes.
func (c Cluster) look(ctx context.Context) ([]plan.Member, map[string]*machine.EtcdMemberStatus, error) {
	answers := c.ask(ctx)
	said, all := map[string]*etcd.Said{}, map[string]*machine.EtcdMemberStatus{}
	errs := []error{etcd.ErrUnreachable}
	for i, a := range answers {
		name := c.Nodes[i].Name
		if a.status != nil {
			all[name] = a.status
			said[name] = &etcd.Said{Leader: a.status.GetLeader(), Applied: a.status.GetRaftAppliedIndex(), Complaints: a.status.GetErrors()}
		}
		errs = append(errs, fmt.Errorf("on node %s: %w", name, a.err))
	}
	if i := slices.IndexFunc(answers, func(a answer) bool { return a.listed != nil }); i >= 0 {
		return etcd.Judge(answers[i].listed, said), all, nil
	}
	return nil, all, errors.Join(errs...)
}

// ask asks all machines how their members are and who the members are.
func (c Cluster) ask(ctx context.Context) []answer {
	return etcd.AskAll(ctx, c.Nodes, func(ctx context.Context, node Node, agreeing etcd.Agreeing) (said answer) {
		said.err = c.on(ctx, node, memberBound, func(ctx context.Context, a *api) (err error) {
			if said.status, err = a.member(ctx); err != nil || said.status.GetIsLearner() || said.status.GetLeader() == 0 {
				return err
			}
			return agreeing(ctx, func(ctx context.Context) (err error) {
				said.listed, err = a.members(ctx)
				return err
			})
		})
		return said
	})
}

// member is how the member on the machine is. A machine without one would answer only when its patience ends, so it is
// asked first whether there is one.
func (a *api) member(ctx context.Context) (*machine.EtcdMemberStatus, error) {
	service, err := a.service(ctx, serviceEtcd)
	if err != nil {
		return nil, err
	}
	if service.GetState() != stateRunning {
		return nil, fmt.Errorf("%w: its service is %s", errNoEtcd, stateOf(service))
	}
	said, err := a.EtcdStatus(ctx, &emptypb.Empty{})
	if err != nil {
		return nil, err
	}
	for _, message := range said.GetMessages() {
		return message.GetMemberStatus(), nil
	}
	return nil, errors.New("it says nothing of its member")
}

// members are the members as they agree on them.
func (a *api) members(ctx context.Context) ([]etcd.Listed, error) {
	said, err := a.EtcdMemberList(ctx, &machine.EtcdMemberListRequest{QueryLocal: true})
	if err != nil {
		return nil, err
	}
	listed := []etcd.Listed{}
	for _, message := range said.GetMessages() {
		for _, m := range message.GetMembers() {
			listed = append(listed, etcd.Listed{ID: m.GetId(), Name: m.GetHostname(), Learner: m.GetIsLearner(), Peers: m.GetPeerUrls()})
		}
	}
	return listed, nil
}

// Promote always fails: a machine gets the vote of its member by itself, and nobody else can.
func (Cluster) Promote(_ context.Context, member plan.Member) error {
	return fmt.Errorf("member %s gets its vote from its machine, and Talos lets nobody else promote it", member.Called())
}

// Place always fails: Talos restores by itself, and knows where its members are.
func (Cluster) Place(_ context.Context, member plan.Member, _ string) error {
	return fmt.Errorf("talos knows itself where others find member %s", member.Called())
}

// MoveLeader has another member lead. Talos chooses which: the first of the others. Where that one may have no vote, or who
// leads cannot be reached or leads no more, nothing is done, and the others elect another when it goes.
func (c Cluster) MoveLeader(ctx context.Context, from, _ plan.Member) error {
	node, known := c.node(from.Name)
	if !known || !c.leads(ctx, node, from) {
		return nil
	}
	err := c.on(ctx, node, memberBound, func(ctx context.Context, a *api) error {
		_, err := a.EtcdForfeitLeadership(ctx, &machine.EtcdForfeitLeadershipRequest{})
		return err
	})
	if err != nil {
		return fmt.Errorf("moving the leadership of etcd away from %s: %w", from.Name, err)
	}
	return nil
}

// leads is whether a member leads, and can hand over to whoever comes first.
func (c Cluster) leads(ctx context.Context, node Node, member plan.Member) (leads bool) {
	err := c.on(ctx, node, memberBound, func(ctx context.Context, a *api) error {
		said, err := a.member(ctx)
		if err != nil || !is(said, member) || said.GetLeader() != said.GetMemberId() {
			return err
		}
		members, err := a.members(ctx)
		leads = len(members) > 1 && !slices.ContainsFunc(members, func(m etcd.Listed) bool { return m.Learner })
		return err
	})
	return err == nil && leads
}

// Remove removes a member. If its machine answers, it leaves: Talos then ends etcd there and clears its data, so that it never
// comes back. One whose machine is gone, or cannot leave, is removed through another. One that is gone already is no error.
// What was agreed on is not settled: that is what Settle is for.
func (c Cluster) Remove(ctx context.Context, member plan.Member) error {
	id, err := etcd.ID(member)
	if err != nil {
		return err
	}
	left := c.leave(ctx, member)
	if left == nil {
		return nil
	}
	err = etcd.Through(ctx, "removing etcd member "+member.ID, etcd.Others(c.names(), member), func(ctx context.Context, name string) error {
		node, _ := c.node(name)
		return c.on(ctx, node, memberBound, func(ctx context.Context, a *api) error {
			_, err := a.EtcdRemoveMemberByID(ctx, &machine.EtcdRemoveMemberByIDRequest{MemberId: id})
			if status.Code(err) == codes.NotFound {
				return nil
			}
			return err
		})
	})
	if err != nil {
		return errors.Join(fmt.Errorf("etcd member %s does not leave by itself: %w", member.Called(), left), err)
	}
	return nil
}

// leave has a member leave, if its machine answers.
func (c Cluster) leave(ctx context.Context, member plan.Member) error {
	node, known := c.node(member.Name)
	if !known {
		return errors.New("its machine is not known")
	}
	return c.on(ctx, node, leaveBound, func(ctx context.Context, a *api) error { return a.leave(ctx, member) })
}

// leave has the member of a machine leave, if it still is that member.
func (a *api) leave(ctx context.Context, member plan.Member) error {
	said, err := a.member(ctx)
	if err != nil {
		return err
	}
	if !is(said, member) {
		return fmt.Errorf("the member of its machine is %x now", said.GetMemberId())
	}
	_, err = a.EtcdLeaveCluster(ctx, &machine.EtcdLeaveClusterRequest{})
	return err
}

func is(said *machine.EtcdMemberStatus, member plan.Member) bool {
	id, err := etcd.ID(member)
	return err == nil && said.GetMemberId() == id
}

// Settle waits until a majority has written something after what was agreed on last (see etcd.Cluster.Settle). Talos has no
// call that writes; Kubernetes does all the time, because every kubelet renews a lease.
func (c Cluster) Settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleBound)
	defer cancel()
	_, said, err := c.look(ctx)
	if err != nil {
		return fmt.Errorf("settling etcd: %w", err)
	}
	agreed := committed(said)
	for pause(ctx, settleAgain) == nil {
		members, said, err := c.look(ctx)
		if err == nil && beyond(agreed, members, said) {
			return nil
		}
	}
	return fmt.Errorf("settling etcd: a majority has written nothing for %s, and nothing is taken away until it has; see whether an API server runs", settleBound)
}

// beyond is whether a majority has applied more than an entry.
func beyond(entry uint64, members []plan.Member, said map[string]*machine.EtcdMemberStatus) bool {
	voters, have := 0, 0
	for _, m := range members {
		if m.Learner {
			continue
		}
		voters++
		if said[m.Name].GetRaftAppliedIndex() > entry {
			have++
		}
	}
	return have > voters/2
}

// committed is the last entry that any member knows to be agreed on.
func committed(said map[string]*machine.EtcdMemberStatus) uint64 {
	newest := uint64(0)
	for _, s := range said {
		newest = max(newest, s.GetRaftIndex())
	}
	return newest
}

// Snapshot writes a snapshot of one healthy member to the sink, as etcd.Cluster does. It is taken from a member that has applied
// all that was agreed on before: that takes the place of a revision, which Talos does not tell.
func (c Cluster) Snapshot(ctx context.Context, sink etcd.Sink) (etcd.Snapshot, error) {
	members, said, err := c.look(ctx)
	var nodes []string
	if err == nil {
		nodes, err = etcd.Sources(members)
	}
	if err != nil {
		return etcd.Snapshot{}, fmt.Errorf("taking a snapshot of etcd: %w", err)
	}
	agreed := committed(said)
	return etcd.Take(ctx, nodes, sink, c.Stall, func(ctx context.Context, name string, to io.Writer, progress func()) (taken etcd.Snapshot, err error) {
		node, _ := c.node(name)
		err = c.with(ctx, node, func(ctx context.Context, a *api) error {
			if taken.Version, err = a.reach(ctx, agreed); err != nil {
				return err
			}
			progress()
			return a.snapshot(ctx, to)
		})
		return taken, err
	})
}

// reach waits until the member has applied an entry, and returns its version.
func (a *api) reach(ctx context.Context, entry uint64) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, memberBound)
	defer cancel()
	for {
		said, err := a.member(ctx)
		if err != nil {
			return "", err
		}
		if said.GetRaftAppliedIndex() >= entry {
			return said.GetProtocolVersion(), nil
		}
		if pause(ctx, settleAgain) != nil {
			return "", fmt.Errorf("it has applied entry %d, and %d is agreed on", said.GetRaftAppliedIndex(), entry)
		}
	}
}

func (a *api) snapshot(ctx context.Context, to io.Writer) error {
	stream, err := a.EtcdSnapshot(ctx, &machine.EtcdSnapshotRequest{})
	if err != nil {
		return err
	}
	for {
		data, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := to.Write(data.GetBytes()); err != nil {
			return err
		}
	}
}

// HashKV always fails: Talos has no call for it. A backup is written down as not compared with a living member then.
func (Cluster) HashKV(context.Context, int64, string) (etcd.Hash, error) {
	return etcd.Hash{}, errors.New("talos does not tell the hash of a member")
}

func (c Cluster) node(name string) (Node, bool) {
	i := slices.IndexFunc(c.Nodes, func(n Node) bool { return n.Name == name })
	if i < 0 {
		return Node{}, false
	}
	return c.Nodes[i], true
}

func (c Cluster) names() []string {
	names := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		names[i] = n.Name
	}
	return names
}
