// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/siderolabs/talos/pkg/machinery/api/common"
	"github.com/siderolabs/talos/pkg/machinery/api/machine"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// Machine is the first machine of a control plane, which makes etcd when it is told to.
type Machine struct {
	// Cluster has this machine as its only node.
	Cluster
}

// errOne means that a Machine was not made of one node.
var errOne = errors.New("exactly one machine makes etcd")

// Look tells how far the machine is with making etcd, and what it waits for, in words that stay the same while it does.
func (m Machine) Look(ctx context.Context) (state plan.Founding, message string, err error) {
	if len(m.Nodes) != 1 {
		return plan.FoundingWaits, "", errOne
	}
	var service *machine.ServiceInfo
	err = m.on(ctx, m.Nodes[0], memberBound, func(ctx context.Context, a *api) (err error) {
		service, err = a.service(ctx, serviceEtcd)
		return err
	})
	switch {
	case err != nil:
		return plan.FoundingWaits, "the API of Talos does not answer there yet", err
	case service.GetState() == statePreparing: // it looks for others to join, for half an hour
		return plan.FoundingWanted, "", nil
	case service.GetState() == stateRunning:
		return plan.FoundingDone, "", nil
	default:
		return plan.FoundingWaits, "its service etcd is " + stateOf(service), nil
	}
}

// Found has the machine make etcd. It may return before etcd runs. A machine that has made it already is no error: Talos
// refuses where there are data of etcd, so that nothing is lost by asking again.
func (m Machine) Found(ctx context.Context) error {
	if len(m.Nodes) != 1 {
		return errOne
	}
	err := m.on(ctx, m.Nodes[0], foundBound, func(ctx context.Context, a *api) error {
		_, err := a.Bootstrap(ctx, &machine.BootstrapRequest{})
		if status.Code(err) == codes.AlreadyExists {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("asking machine %s to make etcd: %w", m.Nodes[0].Name, err)
	}
	return nil
}

// Recover has the machine make etcd from a snapshot. It takes the snapshot there first, and tells it over the same connection, so
// that both reach this machine. Talos takes what was brought last; where there are data of etcd it refuses, which is no
// error: it was told before.
func (m Machine) Recover(ctx context.Context, snapshot io.Reader) error {
	if len(m.Nodes) != 1 {
		return errOne
	}
	err := m.on(ctx, m.Nodes[0], recoverBound, func(ctx context.Context, a *api) error {
		if err := a.upload(ctx, snapshot); err != nil {
			return fmt.Errorf("taking the snapshot there: %w", err)
		}
		_, err := a.Bootstrap(ctx, &machine.BootstrapRequest{RecoverEtcd: true})
		if status.Code(err) == codes.AlreadyExists {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("asking machine %s to make etcd from a snapshot: %w", m.Nodes[0].Name, err)
	}
	return nil
}

// upload takes a snapshot to the machine. One that does not come to its end is kept by nobody.
func (a *api) upload(ctx context.Context, snapshot io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := a.EtcdRecover(ctx)
	if err != nil {
		return err
	}
	for buffer := make([]byte, chunkBytes); ; {
		n, readErr := snapshot.Read(buffer)
		if n > 0 {
			if err := stream.Send(&common.Data{Bytes: buffer[:n]}); errors.Is(err, io.EOF) {
				break // the machine has ended it, and says why below
			} else if err != nil {
				return err
			}
		}
		if errors.Is(readErr, io.EOF) {
			break
		}
		if readErr != nil {
			return readErr
		}
	}
	_, err = stream.CloseAndRecv()
	return err
}

const (
	// chunkBytes is how much of a snapshot is sent at once.
	chunkBytes = 64 << 10
	// recoverBound is how long Recover takes at most, as its port demands.
	recoverBound = 5 * time.Minute
)

// foundBound is how long Found takes at most, as its port demands.
const foundBound = 10 * time.Second

// stateOf is how a service is, as Talos calls it.
func stateOf(service *machine.ServiceInfo) string {
	return cmp.Or(service.GetState(), "not known yet")
}
