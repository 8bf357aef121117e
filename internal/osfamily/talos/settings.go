// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/siderolabs/talos/pkg/machinery/config/types/network"
	"github.com/siderolabs/talos/pkg/machinery/config/types/runtime"
	"github.com/siderolabs/talos/pkg/machinery/config/types/security"
	"github.com/siderolabs/talos/pkg/machinery/config/types/v1alpha1"
	"github.com/siderolabs/talos/pkg/machinery/constants"
	"k8s.io/utils/ptr"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// environmentKind is the kind of the document with variables, which came with 1.13.
const environmentKind = "EnvironmentConfig"

// trustName is the name of the document with the user's authorities.
const trustName = "ingot-additional-trust-bundle"

// settings writes the portable settings in Talos' words.
func (d *documents) settings(in osfamily.Input) {
	d.kubeletSettings(in.Config.Node.Kubelet)
	d.registries(in)
	if bundle := in.Config.AdditionalTrustBundle; bundle != "" {
		roots := security.NewTrustedRootsConfigV1Alpha1()
		roots.MetaName, roots.Certificates = trustName, strings.TrimRight(bundle, "\n")+"\n"
		d.replace(roots)
	}
	if servers := in.Config.NTP.Servers; len(servers) > 0 {
		clock := network.NewTimeSyncConfigV1Alpha1()
		clock.TimeNTP = &network.NTPConfig{Servers: slices.Clone(servers)}
		d.replace(clock)
	}
	d.proxy(in)
	d.kernel(in.Config)
	d.encrypt(in.Config.DiskEncryption.Key)
}

func (d *documents) kubeletSettings(k bootstrapv1.KubeletSettings) {
	if k.MaxPods != nil {
		d.setKubelet("maxPods", int(*k.MaxPods))
	}
	if k.PodPidsLimit != nil {
		d.setKubelet("podPidsLimit", int(*k.PodPidsLimit))
	}
	for field, values := range map[string]map[string]string{
		"systemReserved": k.SystemReserved, "kubeReserved": k.KubeReserved, "evictionHard": k.EvictionHard,
	} {
		if len(values) > 0 {
			object := map[string]any{}
			for key, value := range values {
				object[key] = value
			}
			d.setKubelet(field, object)
		}
	}
	if whole := k.ShutdownGracePeriodSeconds; whole != nil {
		// Talos keeps a part for critical Pods by itself, which must not be more than the whole.
		critical := ptr.Deref(k.ShutdownGracePeriodCriticalPodsSeconds, min(*whole, int32(constants.KubeletShutdownGracePeriodCriticalPods.Seconds())))
		d.setKubelet("shutdownGracePeriod", fmt.Sprintf("%ds", *whole))
		d.setKubelet("shutdownGracePeriodCriticalPods", fmt.Sprintf("%ds", critical))
	}
}

// proxy leaves the cluster itself out. Every service of Talos, and what it starts, gets these variables.
func (d *documents) proxy(in osfamily.Input) {
	proxy := in.Config.Proxy
	if proxy.HTTPProxy == "" && proxy.HTTPSProxy == "" {
		return
	}
	variables := map[string]string{"no_proxy": strings.Join(direct(in), ",")}
	if proxy.HTTPProxy != "" {
		variables["http_proxy"] = proxy.HTTPProxy
	}
	if proxy.HTTPSProxy != "" {
		variables["https_proxy"] = proxy.HTTPSProxy
	}
	if !d.release.knows(environmentKind) {
		d.legacy.MachineConfig.MachineEnv = variables
		return
	}
	environment := runtime.NewEnvironmentV1Alpha1()
	environment.EnvironmentVariables = variables
	d.replace(environment)
}

// direct is what is reached without the proxy.
func direct(in osfamily.Input) []string {
	pods, services, domain := in.Cluster.PodCIDRs, in.Cluster.ServiceCIDRs, in.Cluster.ServiceDomain
	if len(pods) == 0 {
		pods = []string{constants.DefaultIPv4PodCIDR}
	}
	if len(services) == 0 {
		services = []string{constants.DefaultIPv4ServiceCIDR}
	}
	if domain == "" {
		domain = constants.DefaultDNSDomain
	}
	all := slices.Concat(in.Config.Proxy.NoProxy, []string{"localhost", "127.0.0.1", "::1", in.Cluster.EndpointHost}, pods, services, []string{".svc", "." + domain})
	var out []string
	for _, entry := range all {
		if !slices.Contains(out, entry) {
			out = append(out, entry)
		}
	}
	return out
}

func (d *documents) kernel(config bootstrapv1.IngotConfigSpec) {
	if len(config.Sysctls) > 0 {
		params := map[string]string{}
		for name, value := range config.Sysctls {
			params[name] = string(value)
		}
		if d.release.contract.MultidocSysctlConfigSupported() {
			sysctls := runtime.NewSysctlConfigV1Alpha1()
			sysctls.Params = params
			d.replace(sysctls)
		} else {
			d.legacy.MachineConfig.MachineSysctls = maps.Clone(params)
		}
	}
	for _, module := range config.KernelModules {
		if d.release.contract.MultidocKernelModuleConfigSupported() {
			document := runtime.NewKernelModuleConfigV1Alpha1(module.Name)
			document.ModuleParameters = slices.Clone(module.Parameters)
			d.replace(document)
			continue
		}
		if d.legacy.MachineConfig.MachineKernel == nil {
			d.legacy.MachineConfig.MachineKernel = &v1alpha1.KernelConfig{}
		}
		kernel := d.legacy.MachineConfig.MachineKernel
		kernel.KernelModules = append(kernel.KernelModules, &v1alpha1.KernelModuleConfig{ModuleName: module.Name, ModuleParameters: slices.Clone(module.Parameters)})
	}
}
