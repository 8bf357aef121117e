// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// suite is what all specs share.
type suite struct {
	repo      string // root of the checkout
	program   string // the command line program under test
	state     string // folder of the quickstart
	artefacts string // where a failed run leaves what a person needs

	manages client.Client // of the management cluster, once somebody asked for it
}

func TestE2E(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyPollingInterval(2 * time.Second)
	RunSpecs(t, "Ingot end to end")
}

// Specs run in any order, so what an earlier run left is removed before the first of them.
var _ = BeforeSuite(func() {
	Expect(os.RemoveAll(artefactsFolder())).To(Succeed())
	Expect(os.MkdirAll(artefactsFolder(), 0o755)).To(Succeed())
})

func checkout() string {
	GinkgoHelper()
	repo, err := filepath.Abs(filepath.Join("..", ".."))
	Expect(err).NotTo(HaveOccurred())
	return repo
}

func artefactsFolder() string {
	GinkgoHelper()
	if folder := os.Getenv("ARTIFACTS"); folder != "" {
		return folder
	}
	return filepath.Join(checkout(), "out", "e2e")
}

// newSuite makes the world of one container of specs.
func newSuite(name string) *suite {
	GinkgoHelper()
	artefacts := filepath.Join(artefactsFolder(), name)
	Expect(os.MkdirAll(artefacts, 0o755)).To(Succeed())
	state, err := os.MkdirTemp("", "ingot-e2e-") // short, because sockets live in it
	Expect(err).NotTo(HaveOccurred())
	s := &suite{
		repo: checkout(), program: filepath.Join(checkout(), "bin", "ingotctl"),
		state: filepath.Join(state, "q"), artefacts: artefacts,
	}
	Expect(s.program).To(BeAnExistingFile(), "make build makes it")
	return s
}

// command is a call of the program under test, in a process group of its own.
func (s *suite) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, s.program, args...)
	c.Dir = s.repo
	return c
}

// kubectl runs kubectl against the cluster of a kubeconfig file and returns what it printed.
func (s *suite) kubectl(ctx context.Context, kubeconfig, stdin string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, filepath.Join(s.state, "bin", "kubectl"), append([]string{"--kubeconfig", kubeconfig}, args...)...)
	c.Stdin = bytes.NewBufferString(stdin)
	out, err := c.CombinedOutput()
	return string(out), err
}

func (s *suite) managementKubeconfig() string { return filepath.Join(s.state, "plane", "kubeconfig") }
func (s *suite) workloadKubeconfig() string   { return filepath.Join(s.state, "kubeconfig") }

// management is a client of the management cluster.
func (s *suite) management() client.Client {
	GinkgoHelper()
	if s.manages == nil {
		s.manages = newClient(s.managementKubeconfig())
	}
	return s.manages
}

func newClient(kubeconfig string) client.Client {
	GinkgoHelper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	Expect(err).NotTo(HaveOccurred())
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, clusterv1.AddToScheme, controlplanev1.AddToScheme, infrav1.AddToScheme, ingotv1.AddToScheme} {
		Expect(add(scheme)).To(Succeed())
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// keep copies what a person needs to understand a failure into the artefacts folder.
func (s *suite) keep(ctx context.Context) {
	for name, args := range map[string][]string{
		"management.yaml": {"get", "cluster-api", "-A", "-o", "yaml"},
		"events.txt":      {"get", "events", "-A", "--sort-by=.lastTimestamp"},
	} {
		out, _ := s.kubectl(ctx, s.managementKubeconfig(), "", args...)
		_ = os.WriteFile(filepath.Join(s.artefacts, name), []byte(out), 0o600)
	}
	out, _ := s.kubectl(ctx, s.workloadKubeconfig(), "", "get", "nodes,pods,services", "-A", "-o", "wide")
	_ = os.WriteFile(filepath.Join(s.artefacts, "workload.txt"), []byte(out), 0o600)
	_ = filepath.WalkDir(s.state, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".log" {
			return nil //nolint:nilerr // what cannot be read is not kept; the rest still is
		}
		if content, err := os.ReadFile(path); err == nil {
			_ = os.WriteFile(filepath.Join(s.artefacts, filepath.Base(path)), content, 0o600)
		}
		return nil
	})
	AddReportEntry("artefacts", s.artefacts)
}
