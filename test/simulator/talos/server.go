// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/siderolabs/talos/pkg/machinery/api/common"
	"github.com/siderolabs/talos/pkg/machinery/api/machine"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Port is where machines serve their API.
const Port = "50000"

// States of a service that Talos tells.
const (
	Waiting   = "Waiting"
	Preparing = "Preparing"
	Running   = "Running"
	Finished  = "Finished"
	Failed    = "Failed"
)

// Host is what runs etcd on the machine behind the API.
type Host interface {
	// State is how the service etcd is. It is Preparing while it waits to be told, or for others to join.
	State() string
	// HasData is whether there is anything where etcd keeps its data.
	HasData() bool
	// Found has etcd make a cluster, and returns before it has: of nothing where snapshot is nil, or of what was brought.
	Found(snapshot []byte) error
	// Local does something with the machine's own member, Through with any that serves.
	Local(do func(*clientv3.Client) error) error
	Through(do func(*clientv3.Client) error) error
	// Clear ends etcd, which never starts again by itself, and removes its data.
	Clear() error
}

// Machine is the API of one machine.
type Machine struct {
	machine.UnimplementedMachineServiceServer

	// Name is the host name.
	Name string
	Host Host

	// Founded counts how often it was told to make etcd and did, Asked how often it was told.
	Founded, Asked atomic.Int32

	server *grpc.Server

	mu sync.Mutex
	// brought is the snapshot that was brought last, whole; empty where there is none.
	brought []byte
}

// Serve serves the API at an address until Stop. authority is that of Talos' API; ip is the address that the machine is known by.
func (m *Machine) Serve(listener net.Listener, ip string, authority tls.Certificate) error {
	own, err := m.certificate(ip, authority)
	if err != nil {
		return err
	}
	clients := x509.NewCertPool()
	clients.AddCert(authority.Leaf)
	m.server = grpc.NewServer(
		grpc.Creds(credentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
		})),
		grpc.UnaryInterceptor(func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			if err := authorize(ctx, info.FullMethod); err != nil {
				return nil, err
			}
			return handler(ctx, request)
		}),
		grpc.StreamInterceptor(func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			if err := authorize(stream.Context(), info.FullMethod); err != nil {
				return err
			}
			return handler(server, stream)
		}))
	machine.RegisterMachineServiceServer(m.server, m)
	go func() { _ = m.server.Serve(listener) }()
	return nil
}

// Stop ends the API, and whoever is connected.
func (m *Machine) Stop() {
	if m.server != nil {
		m.server.Stop()
	}
}

// certificate is the one that the machine shows.
func (m *Machine) certificate(ip string, authority tls.Certificate) (tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{m.Name}, IPAddresses: []net.IP{net.ParseIP(ip)},
	}, authority.Leaf, public, authority.PrivateKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, nil
}

// authorize lets in whom Talos would, by the organizations of the client's certificate.
func authorize(ctx context.Context, method string) error {
	const service, admin = "/machine.MachineService/", "os:admin"
	readers := []string{admin, "os:operator", "os:reader"}
	allowed, known := map[string][]string{
		service + "EtcdMemberList": append(readers, "os:etcd:backup"),
		service + "EtcdStatus":     append(readers, "os:etcd:backup"),
		service + "EtcdSnapshot":   {admin, "os:operator", "os:etcd:backup"},
		service + "Hostname":       readers,
		service + "ServiceList":    readers,
		service + "Version":        readers,
	}[method]
	if !known {
		allowed = []string{admin}
	}
	caller, _ := peer.FromContext(ctx)
	if caller != nil {
		if secured, is := caller.AuthInfo.(credentials.TLSInfo); is && len(secured.State.PeerCertificates) > 0 {
			for _, role := range secured.State.PeerCertificates[0].Subject.Organization {
				if slices.Contains(allowed, role) {
					return nil
				}
			}
		}
	}
	return status.Error(codes.PermissionDenied, "not authorized")
}

// Hostname implements MachineServiceServer.
func (m *Machine) Hostname(context.Context, *emptypb.Empty) (*machine.HostnameResponse, error) {
	return &machine.HostnameResponse{Messages: []*machine.Hostname{{Hostname: m.Name}}}, nil
}

// Version implements MachineServiceServer.
func (*Machine) Version(context.Context, *emptypb.Empty) (*machine.VersionResponse, error) {
	return &machine.VersionResponse{Messages: []*machine.Version{{Version: &machine.VersionInfo{Tag: "v1.14.1"}}}}, nil
}

// ServiceList implements MachineServiceServer.
func (m *Machine) ServiceList(context.Context, *emptypb.Empty) (*machine.ServiceListResponse, error) {
	services := []*machine.ServiceInfo{
		{Id: "apid", State: Running, Health: &machine.ServiceHealth{Healthy: true}},
		{Id: "etcd", State: m.Host.State(), Health: &machine.ServiceHealth{Healthy: m.Host.State() == Running}},
		{Id: "kubelet", State: Running, Health: &machine.ServiceHealth{Healthy: true}},
	}
	return &machine.ServiceListResponse{Messages: []*machine.ServiceList{{Services: services}}}, nil
}

// Bootstrap implements MachineServiceServer.
func (m *Machine) Bootstrap(_ context.Context, request *machine.BootstrapRequest) (*machine.BootstrapResponse, error) {
	m.Asked.Add(1)
	switch {
	case m.Host.HasData():
		return nil, status.Error(codes.AlreadyExists, "etcd data directory is not empty")
	case m.Host.State() != Preparing:
		return nil, status.Error(codes.FailedPrecondition, "bootstrap is not available yet")
	}
	var snapshot []byte
	if request.GetRecoverEtcd() {
		m.mu.Lock()
		snapshot, m.brought = append([]byte{}, m.brought...), nil // it is used once
		m.mu.Unlock()
	}
	if err := m.Host.Found(snapshot); err != nil {
		return nil, err
	}
	m.Founded.Add(1)
	return &machine.BootstrapResponse{Messages: []*machine.Bootstrap{{}}}, nil
}

// EtcdRecover implements MachineServiceServer. What comes takes the place of what came before, also where it breaks off.
func (m *Machine) EtcdRecover(stream grpc.ClientStreamingServer[common.Data, machine.EtcdRecoverResponse]) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.brought = nil
	var came []byte
	for {
		data, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		came = append(came, data.GetBytes()...)
	}
	m.brought = came
	return stream.SendAndClose(&machine.EtcdRecoverResponse{Messages: []*machine.EtcdRecover{{}}})
}

// EtcdStatus implements MachineServiceServer.
func (m *Machine) EtcdStatus(ctx context.Context, _ *emptypb.Empty) (*machine.EtcdStatusResponse, error) {
	var said *clientv3.StatusResponse
	err := m.Host.Local(func(c *clientv3.Client) (err error) {
		said, err = c.Status(ctx, c.Endpoints()[0])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("failed to query etcd status: %w", err)
	}
	return &machine.EtcdStatusResponse{Messages: []*machine.EtcdStatus{{MemberStatus: &machine.EtcdMemberStatus{
		MemberId: said.Header.MemberId, ProtocolVersion: said.Version, StorageVersion: said.StorageVersion, DbSize: said.DbSize, DbSizeInUse: said.DbSizeInUse,
		Leader: said.Leader, RaftIndex: said.RaftIndex, RaftTerm: said.RaftTerm, RaftAppliedIndex: said.RaftAppliedIndex, Errors: said.Errors, IsLearner: said.IsLearner,
	}}}}, nil
}

// EtcdMemberList implements MachineServiceServer.
func (m *Machine) EtcdMemberList(ctx context.Context, request *machine.EtcdMemberListRequest) (*machine.EtcdMemberListResponse, error) {
	where := m.Host.Through
	if request.GetQueryLocal() {
		where = m.Host.Local
	}
	members := &machine.EtcdMembers{}
	err := where(func(c *clientv3.Client) error {
		listed, err := c.MemberList(clientv3.WithRequireLeader(ctx))
		if err != nil {
			return err
		}
		for _, member := range listed.Members {
			members.LegacyMembers = append(members.LegacyMembers, member.Name)
			members.Members = append(members.Members, &machine.EtcdMember{
				Id: member.ID, Hostname: member.Name, PeerUrls: member.PeerURLs, ClientUrls: member.ClientURLs, IsLearner: member.IsLearner,
			})
		}
		return nil
	})
	return &machine.EtcdMemberListResponse{Messages: []*machine.EtcdMembers{members}}, err
}

// EtcdRemoveMemberByID implements MachineServiceServer.
func (m *Machine) EtcdRemoveMemberByID(ctx context.Context, request *machine.EtcdRemoveMemberByIDRequest) (*machine.EtcdRemoveMemberByIDResponse, error) {
	err := m.remove(ctx, request.GetMemberId())
	if errors.Is(err, rpctypes.ErrMemberNotFound) {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	return &machine.EtcdRemoveMemberByIDResponse{Messages: []*machine.EtcdRemoveMemberByID{{}}}, err
}

// EtcdLeaveCluster implements MachineServiceServer.
func (m *Machine) EtcdLeaveCluster(ctx context.Context, _ *machine.EtcdLeaveClusterRequest) (*machine.EtcdLeaveClusterResponse, error) {
	own, err := m.own(ctx)
	if err != nil {
		return nil, err
	}
	err = m.remove(ctx, own)
	if err != nil && !errors.Is(err, rpctypes.ErrMemberNotFound) {
		return nil, fmt.Errorf("failed to leave cluster: %w", err)
	}
	return &machine.EtcdLeaveClusterResponse{Messages: []*machine.EtcdLeaveCluster{{}}}, m.Host.Clear()
}

// askBound is how long one member may take to remove another: one that was itself removed, and has not ended yet, says nothing.
const askBound = 5 * time.Second

// remove removes a member through one that serves.
func (m *Machine) remove(ctx context.Context, id uint64) error {
	return m.Host.Through(func(c *clientv3.Client) error {
		ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), askBound)
		defer cancel()
		_, err := c.MemberRemove(ctx, id)
		return err
	})
}

// EtcdForfeitLeadership implements MachineServiceServer.
func (m *Machine) EtcdForfeitLeadership(ctx context.Context, _ *machine.EtcdForfeitLeadershipRequest) (*machine.EtcdForfeitLeadershipResponse, error) {
	own, err := m.own(ctx)
	if err != nil {
		return nil, err
	}
	to := ""
	err = m.Host.Local(func(c *clientv3.Client) error {
		listed, err := c.MemberList(clientv3.WithRequireLeader(ctx))
		if err != nil {
			return err
		}
		if len(listed.Members) == 1 {
			return errors.New("cannot forfeit leadership, only one member")
		}
		said, err := c.Status(ctx, c.Endpoints()[0])
		if err != nil || said.Leader != own {
			return err
		}
		for _, member := range listed.Members {
			if member.ID == own {
				continue
			}
			to = member.Name
			_, err := c.MoveLeader(ctx, member.ID)
			return err
		}
		return nil
	})
	return &machine.EtcdForfeitLeadershipResponse{Messages: []*machine.EtcdForfeitLeadership{{Member: to}}}, err
}

// EtcdSnapshot implements MachineServiceServer.
func (m *Machine) EtcdSnapshot(_ *machine.EtcdSnapshotRequest, stream grpc.ServerStreamingServer[common.Data]) error {
	return m.Host.Local(func(c *clientv3.Client) error {
		taken, err := c.SnapshotWithVersion(stream.Context())
		if err != nil {
			return err
		}
		defer func() { _ = taken.Snapshot.Close() }()
		for buffer := make([]byte, 1<<16); ; {
			n, err := taken.Snapshot.Read(buffer)
			if n > 0 {
				if err := stream.Send(&common.Data{Bytes: slices.Clone(buffer[:n])}); err != nil {
					return err
				}
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
}

// own is the ID of the machine's own member.
func (m *Machine) own(ctx context.Context) (id uint64, err error) {
	err = m.Host.Local(func(c *clientv3.Client) error {
		said, err := c.Status(ctx, c.Endpoints()[0])
		if err == nil {
			id = said.Header.MemberId
		}
		return err
	})
	return id, err
}
