// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// checkValues finds what the schema refuses as well, since not every input came through an API server, and what a schema
// cannot say.
func checkValues(report *osfamily.Report, in osfamily.Input) {
	checkAnnotations(report, in.Config.Node.Annotations)
	checkKubelet(report, in.Config.Node)
	checkRegistries(report, in)
	checkBundle(report, string(TrustBundle), in.Config.AdditionalTrustBundle)
	for i, server := range in.Config.NTP.Servers {
		if !isServer(server) {
			report.Errorf(fmt.Sprintf("spec.ntp.servers[%d]", i), "%q is neither a DNS name nor an IP address", server)
		}
	}
	checkProxy(report, in.Config.Proxy)
	checkSysctls(report, in.Config.Sysctls)
	checkModules(report, in.Config.KernelModules)
	checkFiles(report, in)
	checkUnits(report, in.Config.Units)
	checkDiskEncryption(report, in)
}

// checkDiskEncryption finds a key that nothing could keep. A machine without a TPM would stop in its first boot, where nobody
// sees why.
func checkDiskEncryption(report *osfamily.Report, in osfamily.Input) {
	switch key := in.Config.DiskEncryption.Key; {
	case key == bootstrapv1.DiskKeyTPM2 && in.Machine.NoTPM:
		report.Errorf(string(DiskEncryption), "the machine has no TPM: set trustedBoot.virtualTPM in its IngotMachineTemplate, or remove diskEncryption")
	case key != "" && key != bootstrapv1.DiskKeyTPM2 && key != bootstrapv1.DiskKeyNodeID:
		report.Errorf(string(DiskEncryption), "%q is not known: use TPM2 or NodeID", key)
	}
}

func checkAnnotations(report *osfamily.Report, annotations map[string]bootstrapv1.AnnotationValue) {
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		path := fmt.Sprintf("spec.node.annotations[%s]", key)
		if errs := validation.IsQualifiedName(strings.ToLower(key)); len(errs) > 0 {
			report.Errorf(path, "is not the key of an annotation: %s", errs[0])
		}
		if domain, _, found := strings.Cut(key, "/"); found && regexp.MustCompile(`^(.*\.)?(kubernetes|k8s|x-k8s)\.io$`).MatchString(domain) {
			report.Errorf(path, "annotations of Kubernetes and Cluster API are set by those whose they are: remove it")
		}
	}
}

func checkKubelet(report *osfamily.Report, node bootstrapv1.NodeSettings) {
	kubelet := node.Kubelet
	checkAtLeastOne(report, KubeletMaxPods, kubelet.MaxPods)
	checkAtLeastOne(report, KubeletPodPidsLimit, kubelet.PodPidsLimit)
	checkAtLeastOne(report, KubeletShutdown, kubelet.ShutdownGracePeriodSeconds)
	checkAtLeastOne(report, KubeletShutdownCritical, kubelet.ShutdownGracePeriodCriticalPodsSeconds)
	if critical := kubelet.ShutdownGracePeriodCriticalPodsSeconds; critical != nil {
		if whole := kubelet.ShutdownGracePeriodSeconds; whole == nil || *whole < *critical {
			report.Errorf(string(KubeletShutdownCritical), "is a part of shutdownGracePeriodSeconds: set both, the second at least as large")
		}
	}
	checkReserved(report, KubeletSystemReserved, kubelet.SystemReserved)
	checkReserved(report, KubeletKubeReserved, kubelet.KubeReserved)
	checkEviction(report, kubelet.EvictionHard)
	checkSaidTwice(report, node)
}

func checkAtLeastOne[T int32 | int64](report *osfamily.Report, setting Setting, value *T) {
	if value != nil && *value < 1 {
		report.Errorf(string(setting), "must be at least 1")
	}
}

func checkReserved(report *osfamily.Report, setting Setting, reserved map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(reserved)) {
		path, value := fmt.Sprintf("%s[%s]", setting, name), reserved[name]
		switch name {
		case "cpu", "memory", "ephemeral-storage":
			if !isQuantity(value) {
				report.Errorf(path, "%q is not a quantity: write it like 500m or 512Mi", value)
			}
		case "pid":
			if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < 0 {
				report.Errorf(path, "%q is not a number of processes", value)
			}
		default:
			report.Errorf(path, "cannot be reserved: use cpu, memory, ephemeral-storage or pid")
		}
	}
}

func checkEviction(report *osfamily.Report, thresholds map[string]string) {
	for _, signal := range slices.Sorted(maps.Keys(thresholds)) {
		path, value := fmt.Sprintf("%s[%s]", KubeletEvictionHard, signal), thresholds[signal]
		switch signal {
		case "memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree",
			"containerfs.available", "containerfs.inodesFree", "pid.available":
		default:
			report.Errorf(path, "is not a signal of the kubelet")
		}
		percentage, isPercentage := strings.CutSuffix(value, "%")
		switch number, err := strconv.ParseFloat(percentage, 64); {
		case isPercentage && (err != nil || !(number >= 0 && number <= 100)):
			report.Errorf(path, "%q is not a percentage", value)
		case !isPercentage && !isQuantity(value):
			report.Errorf(path, "%q is neither a quantity nor a percentage: write it like 200Mi or 10%%", value)
		}
	}
}

func isQuantity(value string) bool {
	quantity, err := resource.ParseQuantity(value)
	return err == nil && quantity.Sign() >= 0
}

// checkSaidTwice refuses flags that would win over a setting without saying so.
func checkSaidTwice(report *osfamily.Report, node bootstrapv1.NodeSettings) {
	kubelet := node.Kubelet
	for _, twin := range []struct {
		flag    string
		setting Setting
		set     bool
	}{
		{"max-pods", KubeletMaxPods, kubelet.MaxPods != nil},
		{"pod-max-pids", KubeletPodPidsLimit, kubelet.PodPidsLimit != nil},
		{"system-reserved", KubeletSystemReserved, kubelet.SystemReserved != nil},
		{"kube-reserved", KubeletKubeReserved, kubelet.KubeReserved != nil},
		{"eviction-hard", KubeletEvictionHard, kubelet.EvictionHard != nil},
	} {
		for i, arg := range node.KubeletExtraArgs {
			if twin.set && arg.Name == twin.flag {
				report.Errorf(fmt.Sprintf("spec.node.kubeletExtraArgs[%d]", i), "%s is said by %s as well: remove one of them", arg.Name, twin.setting)
			}
		}
	}
}

// checkProxy holds addresses to what survives every way to a process: environment files, units, machine configurations.
func checkProxy(report *osfamily.Report, proxy bootstrapv1.ProxySettings) {
	const pattern = `^https?://[A-Za-z0-9\[][A-Za-z0-9.:\[\]-]*/?$`
	check := func(setting Setting, address string) {
		if address != "" && (!regexp.MustCompile(pattern).MatchString(address) || !isAddress(address)) {
			report.Errorf(string(setting), "is not the address of a proxy: write it like http://proxy.example.com:3128, without user and password")
		}
	}
	check(HTTPProxy, proxy.HTTPProxy)
	check(HTTPSProxy, proxy.HTTPSProxy)
	if len(proxy.NoProxy) > 0 && proxy.HTTPProxy == "" && proxy.HTTPSProxy == "" {
		report.Errorf(string(NoProxy), "says what goes past a proxy, and there is none: set httpProxy or httpsProxy")
	}
	for i, entry := range proxy.NoProxy {
		if !regexp.MustCompile(`^[A-Za-z0-9.*\[][A-Za-z0-9.:/*\[\]-]*$`).MatchString(entry) {
			report.Errorf(fmt.Sprintf("%s[%d]", NoProxy, i), "%q is neither a host, a domain nor an address range", entry)
		}
	}
}

func checkSysctls(report *osfamily.Report, sysctls map[string]bootstrapv1.SysctlValue) {
	for _, name := range slices.Sorted(maps.Keys(sysctls)) {
		path, value := fmt.Sprintf("%s[%s]", Sysctls, name), string(sysctls[name])
		if len(name) > 128 || !regexp.MustCompile(`^[a-z0-9][A-Za-z0-9_-]*([./][A-Za-z0-9_-]+)+$`).MatchString(name) {
			report.Errorf(path, "is not the name of a sysctl: its parts have dots or slashes between them, like net.core.somaxconn")
		}
		if len(value) > 256 || !regexp.MustCompile(`^[!-~]([ -~\t]*[!-~])?$`).MatchString(value) {
			report.Errorf(path, "%q is not one line of text", value)
		}
	}
}

func checkModules(report *osfamily.Report, modules []bootstrapv1.KernelModule) {
	seen := map[string]bool{}
	for i, module := range modules {
		path := fmt.Sprintf("%s[%d]", KernelModules, i)
		// The kernel takes dashes and underscores for the same.
		name := strings.ReplaceAll(module.Name, "-", "_")
		switch {
		case !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`).MatchString(module.Name):
			report.Errorf(path+".name", "%q is not the name of a kernel module", module.Name)
		case seen[name]:
			report.Errorf(path+".name", "%s is listed twice", module.Name)
		}
		seen[name] = true
		for j, parameter := range module.Parameters {
			if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*=[A-Za-z0-9_.,:/+-]+$`).MatchString(parameter) {
				report.Errorf(fmt.Sprintf("%s.parameters[%d]", path, j), "%q is not a parameter: write it like name=value", parameter)
			}
		}
	}
}

func isServer(server string) bool {
	if address, err := netip.ParseAddr(server); err == nil {
		return address.Zone() == ""
	}
	return len(validation.IsDNS1123Subdomain(strings.ToLower(server))) == 0
}
