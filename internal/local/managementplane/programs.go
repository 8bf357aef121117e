// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package managementplane

import (
	"fmt"
	"strings"
)

// Programs of the plane, by the names of package components, and the names under which their ports are kept.
const (
	etcd              = "etcd"
	apiServer         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
	coreManager       = "cluster-api-core"

	etcdPort        = "etcd"
	apiPort         = "kube-apiserver"
	controllerPort  = "kube-controller-manager"
	corePort        = "cluster-api-core"
	coreHealthPort  = "cluster-api-core-health"
	coreMetricsPort = "cluster-api-core-metrics"
)

// programs lists the names of all programs in the order in which they start.
func programs() []string { return []string{etcd, apiServer, controllerManager, coreManager} }

// program is a part of the plane: what to run, which kept ports it listens on, and the URL that answers 200 when it is
// ready.
type program struct {
	name  string
	args  []string
	ports []string
	ready string
}

func (p *Plane) etcd() program {
	url := p.local(etcdPort)
	return program{
		name: etcd, ports: []string{etcdPort}, ready: url + "/health",
		args: []string{
			"--data-dir=" + p.layout.data(),
			"--listen-client-urls=" + url,
			"--advertise-client-urls=" + url,
			"--listen-peer-urls=http://127.0.0.1:0", // there are no peers
			"--cert-file=" + p.layout.pki("serving", "tls.crt"),
			"--key-file=" + p.layout.pki("serving", "tls.key"),
			"--client-cert-auth",
			"--trusted-ca-file=" + p.layout.pki("ca.crt"),
			"--unsafe-no-fsync", // a management plane on one machine does not survive that machine anyway
			"--log-level=warn",
		},
	}
}

func (p *Plane) apiServer() program {
	return program{
		name: apiServer, ports: []string{apiPort}, ready: p.local(apiPort) + "/readyz",
		args: []string{
			"--bind-address=127.0.0.1",
			fmt.Sprintf("--secure-port=%d", p.ports[apiPort]),
			"--tls-cert-file=" + p.layout.pki("serving", "tls.crt"),
			"--tls-private-key-file=" + p.layout.pki("serving", "tls.key"),
			"--client-ca-file=" + p.layout.pki("ca.crt"),
			"--etcd-servers=" + p.local(etcdPort),
			"--etcd-cafile=" + p.layout.pki("ca.crt"),
			"--etcd-certfile=" + p.layout.pki("admin.crt"),
			"--etcd-keyfile=" + p.layout.pki("admin.key"),
			"--authorization-mode=RBAC",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + p.layout.pki("service-accounts.pub"),
			"--service-account-signing-key-file=" + p.layout.pki("service-accounts.key"),
			"--service-cluster-ip-range=10.0.0.0/24",
			"--endpoint-reconciler-type=none", // nobody reaches loopback through a Service
			"--enable-priority-and-fairness=false",
			"--profiling=false",
		},
	}
}

// controllers are those that do something useful in a cluster without Nodes.
func controllers() []string {
	return []string{
		"namespace-controller",
		"garbage-collector-controller",
		"serviceaccount-controller",
		"root-ca-certificate-publisher-controller",
		"clusterrole-aggregation-controller",
		"validatingadmissionpolicy-status-controller",
	}
}

func (p *Plane) controllerManager() program {
	return program{
		name: controllerManager, ports: []string{controllerPort}, ready: p.local(controllerPort) + "/healthz",
		args: []string{
			"--kubeconfig=" + p.Kubeconfig,
			"--authentication-kubeconfig=" + p.Kubeconfig,
			"--authorization-kubeconfig=" + p.Kubeconfig,
			"--controllers=" + strings.Join(controllers(), ","),
			"--bind-address=127.0.0.1",
			fmt.Sprintf("--secure-port=%d", p.ports[controllerPort]),
			"--tls-cert-file=" + p.layout.pki("serving", "tls.crt"),
			"--tls-private-key-file=" + p.layout.pki("serving", "tls.key"),
			"--root-ca-file=" + p.layout.pki("ca.crt"),
			"--leader-elect=false",
			"--profiling=false",
		},
	}
}

func (p *Plane) coreManager() program {
	health := fmt.Sprintf("127.0.0.1:%d", p.ports[coreHealthPort])
	return program{
		name: coreManager, ports: []string{corePort, coreHealthPort, coreMetricsPort}, ready: "http://" + health + "/readyz",
		args: []string{
			"--kubeconfig=" + p.Kubeconfig,
			fmt.Sprintf("--webhook-port=%d", p.ports[corePort]),
			"--webhook-cert-dir=" + p.ServingDir,
			"--health-addr=" + health,
			fmt.Sprintf("--diagnostics-address=127.0.0.1:%d", p.ports[coreMetricsPort]),
			"--insecure-diagnostics",
			"--feature-gates=" + strings.Join(append([]string{"ClusterTopology=true"}, p.options.CoreFeatures...), ","),
		},
	}
}

func (p *Plane) local(port string) string { return fmt.Sprintf("https://127.0.0.1:%d", p.ports[port]) }
