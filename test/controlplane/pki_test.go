// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/cluster-api/util/certs"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/certificates"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// This file holds what kubeadm init does beside etcd: certificates from the authorities that the control plane made, and an
// API server, which here leads to whichever member serves, as a load balancer before several API servers would.

func (w *world) pki() string { return shared.folder(w.namespace, "pki") }

func (w *world) authority(ctx context.Context, purpose secret.Purpose) (*corev1.Secret, error) {
	s := &corev1.Secret{}
	return s, shared.client.Get(ctx, w.key(secret.Name(builder.ClusterName, purpose)), s)
}

// writeCertificates writes what etcd and the API server need.
func (w *world) writeCertificates(ctx context.Context) error {
	if err := os.MkdirAll(w.pki(), 0o700); err != nil {
		return err
	}
	names := certs.AltNames{DNSNames: []string{"localhost"}, IPs: []net.IP{net.ParseIP(w.host)}}
	for _, wanted := range []struct {
		purpose secret.Purpose
		name    string
		config  certs.Config
	}{
		{secret.EtcdCA, "etcd", certs.Config{CommonName: "etcd", AltNames: names, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}},
		{secret.EtcdCA, "etcd-client", certs.Config{CommonName: "kube-apiserver", Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}},
		{secret.ClusterCA, "apiserver", certs.Config{CommonName: "kube-apiserver", AltNames: names, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}},
	} {
		authority, err := w.authority(ctx, wanted.purpose)
		if err != nil {
			return err
		}
		if err := w.sign(authority, string(wanted.purpose), wanted.name, wanted.config); err != nil {
			return fmt.Errorf("certificate %s: %w", wanted.name, err)
		}
	}
	accounts, err := w.authority(ctx, secret.ServiceAccount)
	if err != nil {
		return err
	}
	return w.write(map[string][]byte{"sa.pub": accounts.Data[secret.TLSCrtDataName], "sa.key": accounts.Data[secret.TLSKeyDataName]})
}

func (w *world) sign(authority *corev1.Secret, authorityName, name string, config certs.Config) error {
	ca, err := certs.DecodeCertPEM(authority.Data[secret.TLSCrtDataName])
	if err != nil {
		return err
	}
	caKey, err := certs.DecodePrivateKeyPEM(authority.Data[secret.TLSKeyDataName])
	if err != nil {
		return err
	}
	key, err := certs.NewPrivateKey()
	if err != nil {
		return err
	}
	certificate, err := config.NewSignedCert(key, ca, caKey)
	if err != nil {
		return err
	}
	if authorityName == string(secret.EtcdCA) {
		authorityName = "etcd-ca"
	}
	return w.write(map[string][]byte{
		name + ".crt": certs.EncodeCertPEM(certificate), name + ".key": certs.EncodePrivateKeyPEM(key),
		authorityName + ".crt": authority.Data[secret.TLSCrtDataName],
	})
}

func (w *world) write(files map[string][]byte) error {
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(w.pki(), name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// identity lets a client into etcd.
func (w *world) identity() (*tls.Config, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.admittance == nil {
		authority, err := w.authority(w.Context(), secret.EtcdCA)
		if err != nil {
			return nil, err
		}
		if w.admittance, err = certificates.EtcdClient(authority); err != nil {
			return nil, err
		}
	}
	return w.admittance, nil
}

// startAPIServer starts the API server of the workload cluster, which runs until the world ends, and leaves kubeadm's record.
func (w *world) startAPIServer(ctx context.Context) error {
	pki := func(name string) string { return filepath.Join(w.pki(), name) }
	front := &gate{
		lead:   w.leadAPI,
		passes: func(string, string) bool { return true }, // what must not pass is severed
	}
	if err := front.open(w.host + ":2379"); err != nil {
		return err
	}
	w.mu.Lock()
	w.front = front
	w.mu.Unlock()
	log, err := os.Create(shared.folder(w.namespace, "kube-apiserver.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	w.apiServer = exec.Command(shared.programs["kube-apiserver"],
		"--bind-address="+w.host, "--advertise-address="+w.host, "--secure-port=6443",
		"--tls-cert-file="+pki("apiserver.crt"), "--tls-private-key-file="+pki("apiserver.key"), "--client-ca-file="+pki("ca.crt"),
		"--etcd-servers=https://"+w.host+":2379", "--etcd-cafile="+pki("etcd-ca.crt"), "--etcd-certfile="+pki("etcd-client.crt"), "--etcd-keyfile="+pki("etcd-client.key"),
		"--authorization-mode=RBAC", "--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+pki("sa.pub"), "--service-account-signing-key-file="+pki("sa.key"),
		"--service-cluster-ip-range=10.0.0.0/24", "--endpoint-reconciler-type=none",
		"--enable-priority-and-fairness=false", "--profiling=false")
	w.apiServer.Stdout, w.apiServer.Stderr = log, log
	w.apiServer.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := w.apiServer.Start(); err != nil {
		return err
	}
	return w.leaveRecord(ctx)
}

// leaveRecord waits until the API server answers and leaves what kubeadm init leaves.
func (w *world) leaveRecord(ctx context.Context) error {
	last := error(nil)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		c, err := w.connect(ctx)
		if err == nil {
			err = w.waitForRecord(ctx, c)
		}
		if last = err; err == nil {
			return nil
		}
	}
	return fmt.Errorf("the API server of the workload cluster never answers: %w\n%s", last, process.Tail(shared.folder(w.namespace, "kube-apiserver.log"), 20))
}

// waitForRecord makes kubeadm's record, or waits for what the API server makes by itself, which is all that is there with Talos.
func (w *world) waitForRecord(ctx context.Context, c client.Client) error {
	if w.shape.talos {
		return c.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, &corev1.Namespace{})
	}
	return client.IgnoreAlreadyExists(c.Create(ctx, builder.ClusterConfiguration()))
}

// connect makes a client of the workload cluster with the kubeconfig that the control plane wrote.
func (w *world) connect(ctx context.Context) (client.Client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.workload != nil {
		return w.workload, nil
	}
	kubeconfig, err := w.authority(ctx, secret.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig.Data[secret.KubeconfigDataName])
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst, config.Timeout = 100, 200, 10*time.Second
	c, err := builder.NewClient(config)
	if err != nil {
		return nil, err
	}
	w.workload = c
	return c, nil
}

// leadAPI leads the API server to a member that serves, and waits a little where none does.
func (w *world) leadAPI(ctx context.Context) (address, name string, err error) {
	for range 20 {
		for _, n := range w.all() {
			if n.serves() {
				return n.clientAddress(), n.name, nil
			}
		}
		select {
		case <-ctx.Done():
			return "", "", ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return "", "", errNobodyServes
}

// severAPI leads the API server away from a node that cannot serve it.
func (w *world) severAPI(n *node) {
	w.mu.Lock()
	front := w.front
	w.mu.Unlock()
	if front != nil && !n.serves() {
		front.sever(func(p *pipe) bool { return p.to == n.name })
	}
}
