// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package bottlerocket

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/node"
	portable "github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

// bundleName is the name of the portable trust bundle among those of the host.
const bundleName = "ingot-additional-trust-bundle"

// checkPortable finds portable settings that the user's own settings say as well, and values that Bottlerocket has no words
// for.
func checkPortable(report *osfamily.Report, s settings, in osfamily.Input) {
	config := in.Config
	twice := func(setting portable.Setting, said, again bool, key string) {
		if said && again {
			report.Errorf(string(setting), "settings.%s in %s says it as well: say it in one place", key, settingsPath)
		}
	}
	kubelet := config.Node.Kubelet
	k := s.Kubernetes
	if k == nil {
		k = &kubernetes{}
	}
	twice(portable.KubeletMaxPods, kubelet.MaxPods != nil, k.MaxPods != nil, "kubernetes.max-pods")
	twice(portable.KubeletPodPidsLimit, kubelet.PodPidsLimit != nil, k.PodPidsLimit != nil, "kubernetes.pod-pids-limit")
	twice(portable.KubeletSystemReserved, kubelet.SystemReserved != nil, k.SystemReserved != nil, "kubernetes.system-reserved")
	twice(portable.KubeletKubeReserved, kubelet.KubeReserved != nil, k.KubeReserved != nil, "kubernetes.kube-reserved")
	twice(portable.KubeletEvictionHard, kubelet.EvictionHard != nil, k.EvictionHard != nil, "kubernetes.eviction-hard")
	twice(portable.KubeletShutdown, kubelet.ShutdownGracePeriodSeconds != nil, k.ShutdownGracePeriod != "", "kubernetes.shutdown-grace-period")
	twice(portable.KubeletShutdownCritical, kubelet.ShutdownGracePeriodCriticalPodsSeconds != nil,
		k.ShutdownGracePeriodForCriticalPods != "", "kubernetes.shutdown-grace-period-for-critical-pods")
	twice("spec.registries", len(config.Registries) > 0, s.ContainerRegistry != nil, "container-registry")
	_, bundled := s.PKI[bundleName]
	twice(portable.TrustBundle, config.AdditionalTrustBundle != "", bundled, "pki."+bundleName)
	twice(portable.NTPServers, len(config.NTP.Servers) > 0, s.NTP != nil, "ntp")
	proxied := s.Network != nil && (s.Network.HTTPSProxy != "" || s.Network.NoProxy != nil)
	twice(portable.HTTPSProxy, config.Proxy.HTTPSProxy != "", proxied, "network")
	checkKernel(report, s.Kernel, config)
	checkRegistries(report, in)
	checkValues(report, config)
	for _, signal := range slices.Sorted(maps.Keys(kubelet.EvictionHard)) {
		if strings.HasPrefix(signal, "containerfs.") {
			report.Errorf(fmt.Sprintf("%s[%s]", portable.KubeletEvictionHard, signal), "Bottlerocket does not know this signal: use imagefs, which is the same file system there")
		}
	}
}

// checkValues refuses values that the kubelet would take, and that keep the host from booting.
func checkValues(report *osfamily.Report, config bootstrapv1.IngotConfigSpec) {
	kubelet := config.Node.Kubelet
	all := func(setting portable.Setting, values map[string]string, taken func(string) bool, why string) {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if !taken(values[name]) {
				report.Errorf(fmt.Sprintf("%s[%s]", setting, name), "is %q, %s", values[name], why)
			}
		}
	}
	all(portable.KubeletEvictionHard, kubelet.EvictionHard, isThreshold, noThreshold)
	all(portable.KubeletSystemReserved, kubelet.SystemReserved, isQuantity, noQuantity)
	all(portable.KubeletKubeReserved, kubelet.KubeReserved, isQuantity, noQuantity)
	for i, server := range config.NTP.Servers {
		if !isTimeServer(server) {
			report.Errorf(fmt.Sprintf("%s[%d]", portable.NTPServers, i), "is %q, %s", server, noServer)
		}
	}
}

func checkKernel(report *osfamily.Report, k *kernel, config bootstrapv1.IngotConfigSpec) {
	if k == nil {
		k = &kernel{}
	}
	for _, name := range slices.Sorted(maps.Keys(config.Sysctls)) {
		at := fmt.Sprintf("%s[%s]", portable.Sysctls, name)
		if strings.Contains(name, "/") {
			report.Errorf(at, "Bottlerocket separates the parts of a name by dots only: write it with dots")
		}
		if _, said := k.Sysctl[name]; said {
			report.Errorf(at, "settings.kernel.sysctl in %s says it as well: say it in one place", settingsPath)
		}
	}
	for i, module := range config.KernelModules {
		if _, said := k.Modules[module.Name]; said {
			report.Errorf(fmt.Sprintf("%s[%d]", portable.KernelModules, i), "settings.kernel.modules.%s in %s says it as well: say it in one place", module.Name, settingsPath)
		}
	}
}

// checkRegistries refuses mirrors with a path.
func checkRegistries(report *osfamily.Report, in osfamily.Input) {
	portable.CheckServers(report, in.Config.Registries)
	for i, registry := range in.Config.Registries {
		for j, mirror := range registry.Mirrors {
			if address, err := url.Parse(mirror.URL); err == nil && address.Path != "" {
				report.Errorf(fmt.Sprintf("spec.registries[%d].mirrors[%d].url", i, j), "has a path, and Bottlerocket documents mirrors without one only: give the mirror a name of its own")
			}
		}
	}
}

// addPortable writes the portable settings. Its input was checked.
func addPortable(s *settings, in osfamily.Input) error {
	config := in.Config
	if err := addKubelet(s, config.Node.Kubelet); err != nil {
		return err
	}
	if err := addRegistries(s, in); err != nil {
		return err
	}
	if bundle := config.AdditionalTrustBundle; bundle != "" {
		if s.PKI == nil {
			s.PKI = map[string]pkiBundle{}
		}
		s.PKI[bundleName] = pkiBundle{Data: base64.StdEncoding.EncodeToString([]byte(strings.TrimRight(bundle, "\n") + "\n")), Trusted: new(true)}
	}
	if len(config.NTP.Servers) > 0 {
		s.NTP = &ntp{TimeServers: config.NTP.Servers}
	}
	if config.Proxy.HTTPSProxy != "" {
		s.network().HTTPSProxy = config.Proxy.HTTPSProxy
		s.network().NoProxy = node.Direct(in)
	}
	addKernel(s, config)
	return nil
}

func addKubelet(s *settings, kubelet bootstrapv1.KubeletSettings) error {
	k := s.kubernetes()
	if pods := kubelet.MaxPods; pods != nil {
		if err := flags()["max-pods"](k, strconv.Itoa(int(*pods))); err != nil {
			return err
		}
	}
	if kubelet.PodPidsLimit != nil {
		k.PodPidsLimit = kubelet.PodPidsLimit
	}
	if len(kubelet.SystemReserved) > 0 {
		k.SystemReserved = kubelet.SystemReserved
	}
	if len(kubelet.KubeReserved) > 0 {
		k.KubeReserved = kubelet.KubeReserved
	}
	if len(kubelet.EvictionHard) > 0 {
		k.EvictionHard = kubelet.EvictionHard
	}
	if seconds := kubelet.ShutdownGracePeriodSeconds; seconds != nil {
		k.ShutdownGracePeriod = fmt.Sprintf("%ds", *seconds)
	}
	if seconds := kubelet.ShutdownGracePeriodCriticalPodsSeconds; seconds != nil {
		k.ShutdownGracePeriodForCriticalPods = fmt.Sprintf("%ds", *seconds)
	}
	return nil
}

// addRegistries writes mirrors by registry and credentials by server, in the order of the config.
func addRegistries(s *settings, in osfamily.Input) error {
	if len(in.Config.Registries) == 0 {
		return nil
	}
	out := &containerRegistry{}
	known := map[string]bool{}
	login := func(server string, credentials bootstrapv1.RegistryCredentials) error {
		if credentials == (bootstrapv1.RegistryCredentials{}) || known[server] {
			return nil
		}
		known[server] = true
		ref := credentials.PasswordFrom.Secret
		password, read := in.Secrets.Value(ref)
		if !read {
			return fmt.Errorf("key %q of Secret %q was not read", ref.Key, ref.Name)
		}
		out.Credentials = append(out.Credentials, credentialOf(server, credentials.Username, string(password)))
		return nil
	}
	for _, registry := range in.Config.Registries {
		if err := login(registry.Host, registry.Credentials); err != nil {
			return err
		}
		mirrors := registryMirror{Registry: registry.Host}
		for _, mirror := range registry.Mirrors {
			address, err := url.Parse(mirror.URL)
			if err != nil {
				return err
			}
			mirrors.Endpoint = append(mirrors.Endpoint, mirror.URL)
			if err := login(address.Host, mirror.Credentials); err != nil {
				return err
			}
		}
		if len(mirrors.Endpoint) > 0 {
			out.Mirrors = append(out.Mirrors, mirrors)
		}
	}
	s.ContainerRegistry = out
	return nil
}

// credentialOf says a login so that it reaches containerd. The host writes user and password between quotes into containerd's
// configuration as they are, so one with a quote would keep containerd from starting. Both together in base64 hold none.
func credentialOf(server, username, password string) registryCredential {
	awkward := func(r rune) bool { return r == '"' || r == '\\' || r == utf8.RuneError || unicode.IsControl(r) }
	if strings.ContainsFunc(username+password, awkward) {
		return registryCredential{Registry: server, Auth: base64.StdEncoding.EncodeToString([]byte(username + ":" + password))}
	}
	return registryCredential{Registry: server, Username: username, Password: password}
}

// addKernel adds to what the user's settings say of the kernel.
func addKernel(s *settings, config bootstrapv1.IngotConfigSpec) {
	if len(config.Sysctls) == 0 && len(config.KernelModules) == 0 {
		return
	}
	if s.Kernel == nil {
		s.Kernel = &kernel{}
	}
	for name, value := range config.Sysctls {
		if s.Kernel.Sysctl == nil {
			s.Kernel.Sysctl = map[string]string{}
		}
		s.Kernel.Sysctl[name] = string(value)
	}
	for _, module := range config.KernelModules {
		if s.Kernel.Modules == nil {
			s.Kernel.Modules = map[string]kernelModule{}
		}
		s.Kernel.Modules[module.Name] = kernelModule{Allowed: new(true), Autoload: new(true)}
	}
}
