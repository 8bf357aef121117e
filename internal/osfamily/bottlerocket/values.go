// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package bottlerocket

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Patterns of values that the kubelet takes and the host need not, as the source of upstream's models has them.
const (
	quantityPattern   = `^[+-]?[0-9.]+(e?[0-9]*|[EPTGMK]i?|[numk])$`
	durationPattern   = `^(([0-9]+\.)?[0-9]+h)?(([0-9]+\.)?[0-9]+m)?(([0-9]+\.)?[0-9]+s)?(([0-9]+\.)?[0-9]+ms)?$`
	percentagePattern = `^([0-9]+\.?[0-9]*|\.[0-9]+)$`
)

// What is wrong with values that do not match, and what to do.
const (
	noQuantity  = "which Bottlerocket does not take for a quantity, and does not boot with: write it like 500m, 512Mi or 129e6"
	noThreshold = "which Bottlerocket does not take for a threshold, and does not boot with: write it like 200Mi, or as a percentage below 100%"
	noDuration  = "which Bottlerocket does not take for a duration, and does not boot with: write it like 1h30m or 500ms"
	noServer    = "which Bottlerocket does not take for the address of a server, and does not boot with: give the server a DNS name, or an IPv4 address"
)

func isQuantity(value string) bool { return regexp.MustCompile(quantityPattern).MatchString(value) }

func isDuration(value string) bool {
	return value != "" && regexp.MustCompile(durationPattern).MatchString(value)
}

// isThreshold is whether a value is a quantity, or a percentage that is not all.
func isThreshold(value string) bool {
	percentage, is := strings.CutSuffix(value, "%")
	if !is {
		return isQuantity(value)
	}
	number, err := strconv.ParseFloat(percentage, 32)
	return err == nil && number < 100 && regexp.MustCompile(percentagePattern).MatchString(percentage)
}

// isTimeServer is whether the host takes a server. It reads URLs, with or without a scheme, and an IPv6 address without brackets is
// none. With brackets chrony would not find it.
func isTimeServer(server string) bool {
	address, err := netip.ParseAddr(server)
	return err != nil || address.Is4()
}

// problems finds values that the host would refuse, as far as upstream documents what it takes. Types are checked already.
func (s *settings) problems() []string {
	var p problems
	if s.Kernel != nil {
		p.oneOf("kernel.lockdown", s.Kernel.Lockdown, "none", "integrity", "confidentiality")
	}
	if s.ContainerRuntime != nil {
		p.oneOf("container-runtime.snapshotter", s.ContainerRuntime.Snapshotter, "overlayfs", "soci")
	}
	if s.Kubernetes != nil {
		s.Kubernetes.problems(&p)
	}
	if s.Network != nil {
		p.hosts(s.Network.Hosts)
	}
	if s.NTP != nil {
		for i, server := range s.NTP.TimeServers {
			p.fits(fmt.Sprintf("ntp.time-servers[%d]", i), server, isTimeServer, noServer)
		}
	}
	if s.DNS != nil {
		for i, server := range s.DNS.NameServers {
			p.address(fmt.Sprintf("dns.name-servers[%d]", i), server)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.PKI)) {
		p.base64("pki."+name+".data", s.PKI[name].Data)
	}
	for _, name := range slices.Sorted(maps.Keys(s.BootstrapContainers)) {
		container := s.BootstrapContainers[name]
		p.oneOf("bootstrap-containers."+name+".mode", container.Mode, modes()...)
		p.base64("bootstrap-containers."+name+".user-data", container.UserData)
	}
	for _, name := range slices.Sorted(maps.Keys(s.BootstrapCommands)) {
		p.oneOf("bootstrap-commands."+name+".mode", s.BootstrapCommands[name].Mode, modes()...)
	}
	for _, name := range slices.Sorted(maps.Keys(s.HostContainers)) {
		p.base64("host-containers."+name+".user-data", s.HostContainers[name].UserData)
	}
	return p
}

func (k *kubernetes) problems(p *problems) {
	p.oneOf("kubernetes.cpu-manager-policy", k.CPUManagerPolicy, "none", "static")
	p.oneOf("kubernetes.memory-manager-policy", k.MemoryManagerPolicy, "None", "Static")
	p.oneOf("kubernetes.topology-manager-policy", k.TopologyManagerPolicy, "none", "restricted", "best-effort", "single-numa-node")
	p.oneOf("kubernetes.topology-manager-scope", k.TopologyManagerScope, "container", "pod")
	if k.CloudProvider != nil {
		p.oneOf("kubernetes.cloud-provider", *k.CloudProvider, "external")
	}
	p.percent("kubernetes.image-gc-high-threshold-percent", k.ImageGCHighThresholdPercent)
	p.percent("kubernetes.image-gc-low-threshold-percent", k.ImageGCLowThresholdPercent)
	if k.EvictionMaxPodGracePeriod != nil && *k.EvictionMaxPodGracePeriod < 0 {
		p.add("kubernetes.eviction-max-pod-grace-period", "is %d and must not be negative", *k.EvictionMaxPodGracePeriod)
	}
	for key, value := range map[string]string{
		"container-log-monitor-interval": k.ContainerLogMonitorInterval, "cpu-manager-reconcile-period": k.CPUManagerReconcilePeriod,
		"shutdown-grace-period": k.ShutdownGracePeriod, "shutdown-grace-period-for-critical-pods": k.ShutdownGracePeriodForCriticalPods,
	} {
		if value != "" {
			p.fits("kubernetes."+key, value, isDuration, noDuration)
		}
	}
	if k.ContainerLogMaxSize != "" {
		p.fits("kubernetes.container-log-max-size", k.ContainerLogMaxSize, isQuantity, noQuantity)
	}
	p.allFit("kubernetes.eviction-hard", k.EvictionHard, isThreshold, noThreshold)
	p.allFit("kubernetes.eviction-soft", k.EvictionSoft, isThreshold, noThreshold)
	p.allFit("kubernetes.eviction-soft-grace-period", k.EvictionSoftGracePeriod, isDuration, noDuration)
	p.allFit("kubernetes.kube-reserved", k.KubeReserved, isQuantity, noQuantity)
	p.allFit("kubernetes.system-reserved", k.SystemReserved, isQuantity, noQuantity)
	if k.NodeIP != "" {
		p.address("kubernetes.node-ip", k.NodeIP)
	}
	for i, address := range k.ClusterDNSIP {
		p.address(fmt.Sprintf("kubernetes.cluster-dns-ip[%d]", i), address)
	}
	p.base64("kubernetes.server-certificate", k.ServerCertificate)
	for _, name := range slices.Sorted(maps.Keys(k.StaticPods)) {
		p.base64("kubernetes.static-pods."+name+".manifest", k.StaticPods[name].Manifest)
	}
	for group, signals := range map[string]map[string]string{
		"eviction-hard": k.EvictionHard, "eviction-soft": k.EvictionSoft, "eviction-soft-grace-period": k.EvictionSoftGracePeriod,
	} {
		p.keys("kubernetes."+group, signals, "memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree", "pid.available")
	}
	p.keys("kubernetes.kube-reserved", k.KubeReserved, "cpu", "memory", "ephemeral-storage", "pid")
	p.keys("kubernetes.system-reserved", k.SystemReserved, "cpu", "memory", "ephemeral-storage", "pid")
	slices.Sort(*p)
}

// modes say when something runs at boot.
func modes() []string { return []string{"off", "once", "always"} }

// problems is a list of what is wrong, each with its key.
type problems []string

func (p *problems) add(key, format string, args ...any) {
	*p = append(*p, "settings."+key+" "+fmt.Sprintf(format, args...))
}

// oneOf accepts what is not set.
func (p *problems) oneOf(key, value string, known ...string) {
	if value != "" && !slices.Contains(known, value) {
		p.add(key, "is %q and must be one of %s", value, strings.Join(known, ", "))
	}
}

func (p *problems) keys(key string, values map[string]string, known ...string) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(known, name) {
			p.add(key, "has the key %q, and may have %s", name, strings.Join(known, ", "))
		}
	}
}

// fits demands that a value is taken.
func (p *problems) fits(key, value string, taken func(string) bool, why string) {
	if !taken(value) {
		p.add(key, "is %q, %s", value, why)
	}
}

func (p *problems) allFit(key string, values map[string]string, taken func(string) bool, why string) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		p.fits(key+"."+name, values[name], taken, why)
	}
}

func (p *problems) base64(key, value string) {
	if _, err := base64.StdEncoding.DecodeString(value); err != nil {
		p.add(key, "is not base64")
	}
}

func (p *problems) percent(key string, value *int32) {
	if value != nil && (*value < 0 || *value > 100) {
		p.add(key, "is %d and must be between 0 and 100", *value)
	}
}

func (p *problems) address(key, value string) {
	if _, err := netip.ParseAddr(value); err != nil {
		p.add(key, "%q is not an IP address", value)
	}
}

// hosts are pairs of an address and a list of names.
func (p *problems) hosts(hosts [][]any) {
	for i, entry := range hosts {
		key := fmt.Sprintf("network.hosts[%d]", i)
		if len(entry) != 2 {
			p.add(key, "must be an address and a list of names")
			continue
		}
		address, _ := entry[0].(string)
		p.address(key, address)
		names, ok := entry[1].([]any)
		for _, name := range names {
			_, isText := name.(string)
			ok = ok && isText
		}
		if !ok {
			p.add(key, "must be an address and a list of names")
		}
	}
}
