// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/siderolabs/talos/pkg/machinery/api/machine"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	// port is where machines serve their API.
	port = "50000"
	// dialBound is how long one address of a machine may take.
	dialBound = 3 * time.Second
)

// Node is a machine of a control plane.
type Node struct {
	// Name is its host name, which is the name of its Node and of its member of etcd too.
	Name string
	// Addresses are where it may be reached, tried in this order.
	Addresses []string
}

// errOtherMachine means that an address has led to a machine that is not the one asked for.
var errOtherMachine = errors.New("another machine answers")

// api is the API of one machine, through one connection.
type api struct {
	machine.MachineServiceClient

	conn *grpc.ClientConn
}

// open connects to a machine, and makes sure that it is the one: an address may have gone to another since it was written down,
// and what is asked of a machine here cannot be taken back. The connection is never made anew, so that whatever is asked
// afterwards reaches this machine or none.
func (c Cluster) open(ctx context.Context, node Node) (*api, error) {
	if len(node.Addresses) == 0 {
		return nil, fmt.Errorf("machine %s has no address yet", node.Name)
	}
	var errs []error
	for _, address := range node.Addresses {
		opened, err := c.openAt(ctx, node.Name, net.JoinHostPort(address, port))
		if err == nil {
			return opened, nil
		}
		errs = append(errs, fmt.Errorf("at %s: %w", address, err))
	}
	return nil, errors.Join(errs...)
}

func (c Cluster) openAt(ctx context.Context, name, address string) (*api, error) {
	dialing, cancel := context.WithTimeout(ctx, dialBound)
	defer cancel()
	config := c.TLS.Clone()
	config.NextProtos = []string{"h2"}
	secured, err := (&tls.Dialer{Config: config}).DialContext(dialing, "tcp", address)
	if err != nil {
		return nil, err
	}
	opened, err := over(secured)
	if err != nil {
		return nil, errors.Join(err, secured.Close())
	}
	said, err := opened.Hostname(dialing, &emptypb.Empty{})
	switch {
	case err != nil:
	case len(said.GetMessages()) != 1:
		err = errors.New("it does not tell its name")
	case said.GetMessages()[0].GetHostname() != name:
		err = fmt.Errorf("%w: it is called %s", errOtherMachine, said.GetMessages()[0].GetHostname())
	}
	if err != nil {
		return nil, errors.Join(err, opened.close())
	}
	return opened, nil
}

// over speaks over a connection, and over no other once it has broken.
func over(secured net.Conn) (*api, error) {
	var used atomic.Bool
	conn, err := grpc.NewClient("passthrough:///talos",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the connection is secured already
		grpc.WithDisableServiceConfig(),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			if used.Swap(true) {
				return nil, errors.New("the connection has broken")
			}
			return secured, nil
		}))
	if err != nil {
		return nil, err
	}
	return &api{MachineServiceClient: machine.NewMachineServiceClient(conn), conn: conn}, nil
}

func (a *api) close() error { return a.conn.Close() }

// on does something on a machine, within a bound.
func (c Cluster) on(ctx context.Context, node Node, bound time.Duration, do func(context.Context, *api) error) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	return c.with(ctx, node, do)
}

// with is on without a bound of its own.
func (c Cluster) with(ctx context.Context, node Node, do func(context.Context, *api) error) error {
	opened, err := c.open(ctx, node)
	if err != nil {
		return err
	}
	defer func() { _ = opened.close() }()
	return do(ctx, opened)
}

// service is how a service of a machine is, nil where the machine does not know it yet.
func (a *api) service(ctx context.Context, id string) (*machine.ServiceInfo, error) {
	listed, err := a.ServiceList(ctx, &emptypb.Empty{})
	if err != nil {
		return nil, err
	}
	for _, message := range listed.GetMessages() {
		for _, s := range message.GetServices() {
			if s.GetId() == id {
				return s, nil
			}
		}
	}
	return nil, nil
}

// pause waits a while. It returns an error when the context ends before.
func pause(ctx context.Context, while time.Duration) error {
	wait, enough := context.WithTimeout(ctx, while)
	defer enough()
	<-wait.Done()
	return ctx.Err()
}
