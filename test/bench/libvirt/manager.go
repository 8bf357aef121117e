// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// What the manager counts.
const (
	requestMetric = "rest_client_requests_total"
	callMetric    = "ingot_platform_rpcs_total"
)

// manager is our manager as a process of its own.
type manager struct {
	command *exec.Cmd
	metrics string
	log     string
	ended   chan error
}

func startManager(ctx context.Context, binary, kubeconfig, dir string) (*manager, error) {
	metrics, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	m := &manager{metrics: "http://" + metrics + "/metrics", log: filepath.Join(dir, "manager.log"), ended: make(chan error, 1)}
	log, err := os.Create(m.log)
	if err != nil {
		return nil, err
	}
	m.command = exec.CommandContext(context.WithoutCancel(ctx), binary, "--kubeconfig", kubeconfig, "--role=infrastructure",
		"--health-addr=0", "--diagnostics-address="+metrics, "--insecure-diagnostics")
	m.command.Stdout, m.command.Stderr = log, log
	m.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.command.Start(); err != nil {
		return nil, err
	}
	go func() { m.ended <- m.command.Wait() }()
	return m, poll(ctx, time.Minute, func() (string, error) {
		if _, err := m.scrape(ctx); err != nil {
			return err.Error(), nil //nolint:nilerr // it is asked again
		}
		return "", nil
	})
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// stop ends the manager.
func (m *manager) stop() error {
	if err := m.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-m.ended:
		return err
	case <-time.After(30 * time.Second):
		return m.command.Process.Kill()
	}
}

// peak is the manager's resident memory at its peak, in MiB.
func (m *manager) peak() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.command.Process.Pid))
	if err != nil {
		return 0
	}
	var kib int
	for line := range strings.Lines(string(status)) {
		if text, is := strings.CutPrefix(line, "VmHWM:"); is {
			_, _ = fmt.Sscan(text, &kib)
		}
	}
	return kib >> 10
}

// sample is what the manager had counted at one moment, by metric and labels.
type sample struct {
	counts map[string]map[string]float64
	cpu    float64 // seconds
}

// scrape reads the manager's metrics.
func (m *manager) scrape(ctx context.Context) (sample, error) {
	s := sample{counts: map[string]map[string]float64{}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.metrics, http.NoBody)
	if err != nil {
		return s, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return s, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return s, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		return s, err
	}
	for _, name := range []string{requestMetric, callMetric} {
		s.counts[name] = map[string]float64{}
		for _, metric := range families[name].GetMetric() {
			s.counts[name][labels(metric)] += metric.GetCounter().GetValue()
		}
	}
	for _, metric := range families["process_cpu_seconds_total"].GetMetric() {
		s.cpu = metric.GetCounter().GetValue()
	}
	return s, nil
}

// labels are the values that tell what was asked.
func labels(metric *dto.Metric) string {
	var values []string
	for _, l := range metric.GetLabel() {
		if slices.Contains([]string{"method", "verb", "code"}, l.GetName()) {
			values = append(values, l.GetValue())
		}
	}
	slices.Reverse(values) // method before code
	return strings.Join(values, " ")
}

func (s sample) total(metric string) float64 {
	sum := 0.0
	for what, n := range s.counts[metric] {
		if metric != callMetric || what != "ping" {
			sum += n
		}
	}
	return sum
}

// minus says what was counted after from, per unit, most first.
func (s sample) minus(from sample, metric string, per int) string {
	var lines []string
	for what, n := range s.counts[metric] {
		if d := n - from.counts[metric][what]; d > 0 {
			lines = append(lines, fmt.Sprintf("%.4g %s", d/float64(per), what))
		}
	}
	slices.Sort(lines)
	slices.Reverse(lines)
	if len(lines) == 0 {
		return "none"
	}
	return strings.Join(lines, ", ")
}
