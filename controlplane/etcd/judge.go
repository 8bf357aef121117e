// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// What follows is the same whatever way leads to the members: how they are judged, whom a snapshot is taken from, and how
// others are tried where one hangs.

const (
	// patience is how long one member may take before another is asked to do the same.
	patience = time.Second
	// maxLag is how many entries a member may be behind the leader and still keep up.
	maxLag = 5000
)

// ErrUnreachable means that no member has answered: nothing can be told.
var ErrUnreachable = errors.New("no etcd member answers")

// Listed is a member as the members know it.
type Listed struct {
	ID      uint64
	Name    string
	Learner bool
	// Peers are where the others find it.
	Peers []string
}

// Said is what a member says of itself.
type Said struct {
	// Leader is the ID of who leads, 0 where it knows nobody.
	Leader uint64
	// Applied is the last entry that it has applied.
	Applied uint64
	// Complaints are what it finds wrong with itself.
	Complaints []string
}

// Judge says how members are, sorted by ID. said is what they said of themselves, by their names; who said nothing is not
// healthy, and without said nobody is.
func Judge(listed []Listed, said map[string]*Said) []plan.Member {
	newest := uint64(0)
	for _, m := range listed {
		if s := said[m.Name]; s != nil {
			newest = max(newest, s.Applied)
		}
	}
	members := make([]plan.Member, len(listed))
	for i, m := range listed {
		members[i] = judge(m, said[m.Name], newest)
	}
	slices.SortFunc(members, func(a, b plan.Member) int { return strings.Compare(a.ID, b.ID) })
	return members
}

// judge says how a member is: healthy is one that answers without complaint, knows a leader, and keeps up with the newest.
func judge(m Listed, said *Said, newest uint64) plan.Member {
	member := plan.Member{ID: strconv.FormatUint(m.ID, 16), Name: m.Name, Learner: m.Learner, Misplaced: slices.Contains(m.Peers, Misplaced)}
	if said == nil || said.Leader == 0 || len(said.Complaints) > 0 {
		return member
	}
	member.Healthy = newest-said.Applied <= maxLag
	member.Leader = said.Leader == m.ID
	return member
}

// Agreeing asks a member for what all agree on. It ends as soon as another member has said it: one is enough, and one that cannot
// agree with the others would take all the time that it has.
type Agreeing func(ctx context.Context, ask func(context.Context) error) error

// AskAll asks the members on all nodes at the same time, and returns what each of them says, in their order.
func AskAll[N, A any](ctx context.Context, nodes []N, ask func(ctx context.Context, node N, agreeing Agreeing) A) []A {
	open, agreed := context.WithCancel(ctx)
	defer agreed()
	agreeing := func(ctx context.Context, ask func(context.Context) error) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(open, cancel)()
		err := ask(ctx)
		if err == nil {
			agreed()
		}
		return err
	}
	answers := make([]A, len(nodes))
	var all sync.WaitGroup
	for i, node := range nodes {
		all.Go(func() { answers[i] = ask(ctx, node, agreeing) })
	}
	all.Wait()
	return answers
}

// ID reads the ID of a member as the planner writes it.
func ID(member plan.Member) (uint64, error) {
	id, err := strconv.ParseUint(member.ID, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("etcd member %q: %w", member.ID, err)
	}
	return id, nil
}

// Others are the nodes without that of a member, which is not asked about itself, unless there is no other.
func Others(nodes []string, member plan.Member) []string {
	if len(nodes) > 1 {
		return slices.DeleteFunc(slices.Clone(nodes), func(node string) bool { return node == member.Name })
	}
	return nodes
}

// Through does something that may be done twice through the first node that does it. Each has a while before the next is
// tried as well, and one that fails has no more of it: a member that hangs must not be what its own replacement waits for.
// Errors wrap ErrUnreachable.
func Through(ctx context.Context, doing string, nodes []string, do func(ctx context.Context, node string) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(nodes))
	errs := []error{fmt.Errorf("%s: %w", doing, ErrUnreachable)}
	for started := 0; len(errs) <= len(nodes); {
		var next <-chan struct{}
		if started < len(nodes) {
			node := nodes[started]
			started++
			go func() {
				if err := do(ctx, node); err != nil {
					results <- fmt.Errorf("through node %s: %w", node, err)
					return
				}
				results <- nil
			}()
			wait, enough := context.WithTimeout(ctx, patience)
			defer enough() // one for each node
			next = wait.Done()
		}
		select {
		case err := <-results:
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		case <-next:
		}
	}
	return errors.Join(errs...)
}

// Sources are the nodes of the healthy voting members, the leader's last, which has enough to do. Errors wrap ErrUnreachable.
func Sources(members []plan.Member) ([]string, error) {
	members = slices.DeleteFunc(slices.Clone(members), func(m plan.Member) bool { return !m.Healthy || m.Learner })
	if len(members) == 0 {
		return nil, fmt.Errorf("none of its members is healthy, and what another holds may be old: %w", ErrUnreachable)
	}
	slices.SortStableFunc(members, func(a, b plan.Member) int {
		switch {
		case a.Leader == b.Leader:
			return strings.Compare(a.ID, b.ID)
		case a.Leader:
			return 1
		default:
			return -1
		}
	})
	nodes := make([]string, len(members))
	for i, m := range members {
		nodes[i] = m.Name
	}
	return nodes, nil
}

// certificate notes when the certificate of a member ends.
func certificate(members []plan.Member, ends map[string]time.Time) []plan.Member {
	for i := range members {
		if end, known := ends[members[i].Name]; known {
			members[i].CertificateEnds = metav1.NewTime(end)
		}
	}
	return members
}
