// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

const (
	fromImage = "v1.0.0"
	toImage   = "v1.1.0"
)

var _ = Describe("the quickstart", Ordered, Label("quickstart"), func() {
	var (
		s      *suite
		output string // what the run that ended well printed
	)

	BeforeAll(func() {
		Expect(os.Geteuid()).To(BeZero(), "network namespaces and libvirtd need root")
		s = newSuite("quickstart")
		DeferCleanup(func(ctx SpecContext) {
			out, err := s.command(ctx, "quickstart", "down", "--state", s.state).CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), string(out))
			Expect(os.RemoveAll(filepath.Dir(s.state))).To(Succeed())
		}, NodeTimeout(5*time.Minute))
	})

	AfterEach(func(ctx SpecContext) {
		if CurrentSpecReport().Failed() {
			s.keep(ctx)
		}
	}, NodeTimeout(2*time.Minute))

	// Each moment is one where a naive tool would leave something half made. The program is killed so that it cannot
	// tidy up; the manager is killed with it where it has just made something outside of its API.
	It("is killed at five stages and run again, and ends well", func(ctx SpecContext) {
		for _, moment := range []struct {
			line    string
			manager bool
		}{
			{"starting a private libvirt", false},
			{"starting a management cluster", false},
			{"clusterctl init", false},
			{"copying its image", true},
			{"replacing 1 worker", true},
		} {
			By(fmt.Sprintf("killing it at %q", moment.line))
			seen := s.killAt(ctx, moment.line, moment.manager)
			Expect(seen).To(ContainSubstring(moment.line), "the run ended before the moment came")
		}
		By("letting it end")
		out, err := s.command(ctx, "quickstart", "--yes", "--state", s.state).CombinedOutput()
		output = string(out)
		AddReportEntry("quickstart", output)
		Expect(err).NotTo(HaveOccurred(), output)
	}, SpecTimeout(45*time.Minute))

	It("shows the nodes and their images before and after", func() {
		before, after, found := strings.Cut(output, "Nodes now:")
		Expect(found).To(BeTrue())
		Expect(before).To(MatchRegexp(`Ready\s+worker\s+v\S+\s+\S+\s+Ingot OS ` + fromImage))
		Expect(after).To(MatchRegexp(`Ready\s+worker\s+v\S+\s+\S+\s+Ingot OS ` + toImage))
		Expect(after).To(MatchRegexp(`Ready\s+control plane\s+v\S+\s+\S+\s+Ingot OS ` + fromImage))
	})

	It("has made exactly one VM per machine", func(ctx SpecContext) {
		Expect(s.virsh(ctx, "list", "--all", "--uuid")).To(HaveLen(2), "one control plane, one worker: no duplicate, no orphan")
	}, SpecTimeout(time.Minute))

	It("leaves no bootstrap secret with the VMs", func(ctx SpecContext) {
		for _, uuid := range s.virsh(ctx, "list", "--all", "--uuid") {
			Expect(strings.Join(s.virsh(ctx, "dumpxml", "--inactive", uuid), "\n")).NotTo(ContainSubstring("fwcfg"))
		}
		Expect(strings.Join(s.virsh(ctx, "vol-list", "ingot"), "\n")).NotTo(ContainSubstring("bootstrap"))
	}, SpecTimeout(time.Minute))

	It("reaches pods across nodes, a Service by name, and the API server through its own address and the VIP", func(ctx SpecContext) {
		out, err := s.kubectl(ctx, s.workloadKubeconfig(), connectivity(s.endpoint(ctx)), "apply", "-f", "-")
		Expect(err).NotTo(HaveOccurred(), out)
		Eventually(func(g Gomega) {
			out, err := s.kubectl(ctx, s.workloadKubeconfig(), "", "get", "pods", "-l", "app=check", "-o", "jsonpath={.items[*].status.phase}")
			g.Expect(err).NotTo(HaveOccurred(), out)
			g.Expect(out).To(Equal("Succeeded"), s.logs(ctx, "check"))
		}).WithContext(ctx).WithTimeout(6 * time.Minute).Should(Succeed())
		AddReportEntry("connectivity", s.logs(ctx, "check"))
	}, SpecTimeout(8*time.Minute))

	It("has a root that cannot be written", func(ctx SpecContext) {
		out, err := s.kubectl(ctx, s.workloadKubeconfig(), readOnlyRoot, "apply", "-f", "-")
		Expect(err).NotTo(HaveOccurred(), out)
		Eventually(func(g Gomega) {
			out, err := s.kubectl(ctx, s.workloadKubeconfig(), "", "get", "pod", "read-only-root", "-o", "jsonpath={.status.phase}")
			g.Expect(err).NotTo(HaveOccurred(), out)
			g.Expect(out).To(Equal("Succeeded"), s.logs(ctx, "read-only-root"))
		}).WithContext(ctx).WithTimeout(4 * time.Minute).Should(Succeed())
		Expect(s.logs(ctx, "read-only-root")).To(ContainSubstring("read-only file system"))
	}, SpecTimeout(5*time.Minute))

	It("has a worker join that cloud-init configures instead of Ignition, and go again", func(ctx SpecContext) {
		s.joinWithCloudInit(ctx)
	}, SpecTimeout(30*time.Minute))

	It("finds a node that runs another version than its image declares", func(ctx SpecContext) {
		s.expectWrongImageFound(ctx)
	}, SpecTimeout(20*time.Minute))

	It("leaves nothing when it is taken down", func(ctx SpecContext) {
		out, err := s.command(ctx, "quickstart", "down", "--state", s.state).CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
		Expect(s.state).NotTo(BeADirectory())
		namespaces, err := exec.CommandContext(ctx, "ip", "netns", "list").CombinedOutput()
		Expect(err).NotTo(HaveOccurred())
		Expect(string(namespaces)).NotTo(ContainSubstring("quickstart"))
		Expect(processesOf(s.state)).To(BeEmpty())
		mounts, err := os.ReadFile("/proc/mounts")
		Expect(err).NotTo(HaveOccurred())
		Expect(string(mounts)).NotTo(ContainSubstring(s.state))
	}, SpecTimeout(5*time.Minute))
})

// killAt runs the quickstart until it prints a line that holds the text, kills it with SIGKILL, and returns what it
// printed. With manager it kills the manager too.
func (s *suite) killAt(ctx context.Context, text string, manager bool) string {
	GinkgoHelper()
	c := s.command(ctx, "quickstart", "--yes", "--state", s.state)
	stdout, err := c.StdoutPipe()
	Expect(err).NotTo(HaveOccurred())
	c.Stderr = c.Stdout
	Expect(c.Start()).To(Succeed())
	var seen strings.Builder
	lines := bufio.NewScanner(io.TeeReader(stdout, GinkgoWriter))
	for lines.Scan() {
		seen.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), text) {
			break
		}
	}
	Expect(c.Process.Kill()).To(Succeed())
	_ = c.Wait()
	if manager {
		out, err := exec.CommandContext(ctx, "pkill", "-KILL", "-f", filepath.Join(s.state, "bin", "ingot-manager")).CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
	}
	return seen.String()
}

// virsh runs virsh against the private libvirtd of the quickstart and returns the lines that are not empty.
func (s *suite) virsh(ctx context.Context, args ...string) []string {
	GinkgoHelper()
	uri, err := s.kubectl(ctx, s.managementKubeconfig(), "", "get", "platformendpoint", "local", "-o", "jsonpath={.spec.libvirt.uri}")
	Expect(err).NotTo(HaveOccurred(), uri)
	out, err := exec.CommandContext(ctx, "virsh", append([]string{"--connect", uri}, args...)...).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(out))
	return strings.Fields(strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", " "))
}

// endpoint is the control plane endpoint of the workload cluster.
func (s *suite) endpoint(ctx context.Context) string {
	GinkgoHelper()
	out, err := s.kubectl(ctx, s.managementKubeconfig(), "", "get", "cluster", "quickstart", "-o", "jsonpath={.spec.controlPlaneEndpoint.host}")
	Expect(err).NotTo(HaveOccurred(), out)
	return out
}

func (s *suite) logs(ctx context.Context, name string) string {
	out, _ := s.kubectl(ctx, s.workloadKubeconfig(), "", "logs", "pod/"+name)
	return out
}

// processesOf lists processes whose command line names the folder.
func processesOf(folder string) []string {
	var found []string
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range commands {
		content, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(content), folder) {
			found = append(found, strings.ReplaceAll(string(content), "\x00", " "))
		}
	}
	return found
}
