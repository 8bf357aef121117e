// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package settings judges the portable settings of a config: what each is called, where a config uses it, whether its value
// makes sense on any operating system, and which Secrets it refers to. A family says in one table what it makes of each
// setting, and the package refuses the rest, so that nothing is dropped. It renders nothing, and knows no operating system,
// no format and no path that belongs to one of them.
package settings

import (
	"fmt"

	"k8s.io/utils/ptr"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

// Setting is a portable setting that an operating system may lack. Its text is its path in a config.
type Setting string

// The portable settings, in the order of the API.
const (
	KubeletMaxPods          Setting = "spec.node.kubelet.maxPods"
	KubeletPodPidsLimit     Setting = "spec.node.kubelet.podPidsLimit"
	KubeletSystemReserved   Setting = "spec.node.kubelet.systemReserved"
	KubeletKubeReserved     Setting = "spec.node.kubelet.kubeReserved"
	KubeletEvictionHard     Setting = "spec.node.kubelet.evictionHard"
	KubeletShutdown         Setting = "spec.node.kubelet.shutdownGracePeriodSeconds"
	KubeletShutdownCritical Setting = "spec.node.kubelet.shutdownGracePeriodCriticalPodsSeconds"

	// IdentityReport is that the machine reports what its root is.
	IdentityReport Setting = "spec.node.identityReport"

	// RegistryAny is an entry for every registry that has none of its own.
	RegistryAny                Setting = "spec.registries[].host: *"
	RegistryMirrors            Setting = "spec.registries[].mirrors"
	RegistryMirrorOverridePath Setting = "spec.registries[].mirrors[].overridePath"
	RegistryMirrorAuthority    Setting = "spec.registries[].mirrors[].certificateAuthority"
	RegistryMirrorLogin        Setting = "spec.registries[].mirrors[].credentials"
	RegistrySkipFallback       Setting = "spec.registries[].skipFallback"
	RegistryAuthority          Setting = "spec.registries[].certificateAuthority"
	RegistryLogin              Setting = "spec.registries[].credentials"

	TrustBundle Setting = "spec.additionalTrustBundle"
	NTPServers  Setting = "spec.ntp.servers"

	HTTPProxy  Setting = "spec.proxy.httpProxy"
	HTTPSProxy Setting = "spec.proxy.httpsProxy"
	NoProxy    Setting = "spec.proxy.noProxy"

	Sysctls                Setting = "spec.sysctls"
	KernelModules          Setting = "spec.kernelModules"
	KernelModuleParameters Setting = "spec.kernelModules[].parameters"

	Files           Setting = "spec.files"
	FileAppend      Setting = "spec.files[].append"
	FileContentFrom Setting = "spec.files[].contentFrom"

	// Units are units of one's own, and those of the image that are enabled.
	Units       Setting = "spec.units"
	UnitDropins Setting = "spec.units[].dropins"

	// DiskEncryption is that the system disk is encrypted, whatever opens it.
	DiskEncryption Setting = "spec.diskEncryption.key"
	// DiskEncryptionNodeID is a key that is computed from the machine's UUID.
	DiskEncryptionNodeID Setting = "spec.diskEncryption.key: NodeID"
)

// All lists the settings in the order of the API.
func All() []Setting {
	return []Setting{
		KubeletMaxPods, KubeletPodPidsLimit, KubeletSystemReserved, KubeletKubeReserved, KubeletEvictionHard,
		KubeletShutdown, KubeletShutdownCritical, IdentityReport,
		RegistryAny, RegistryMirrors, RegistryMirrorOverridePath, RegistryMirrorAuthority, RegistryMirrorLogin,
		RegistrySkipFallback, RegistryAuthority, RegistryLogin,
		TrustBundle, NTPServers, HTTPProxy, HTTPSProxy, NoProxy,
		Sysctls, KernelModules, KernelModuleParameters,
		Files, FileAppend, FileContentFrom, Units, UnitDropins,
		DiskEncryption, DiskEncryptionNodeID,
	}
}

// Use is a place where a config uses a setting.
type Use struct {
	// Setting is what is used.
	Setting Setting
	// Path is where, in the user's document.
	Path string
}

// Uses lists where a config uses a portable setting, in the order of the API. What merely repeats a default is no use.
func Uses(spec bootstrapv1.IngotConfigSpec) []Use {
	var found uses
	found.kubelet(spec.Node.Kubelet)
	found.at(IdentityReport, spec.Node.IdentityReport != "" && spec.Node.IdentityReport != bootstrapv1.IdentityReportNone)
	for i, registry := range spec.Registries {
		found.registry(fmt.Sprintf("spec.registries[%d]", i), registry)
	}
	found.at(TrustBundle, spec.AdditionalTrustBundle != "")
	found.at(NTPServers, len(spec.NTP.Servers) > 0)
	found.at(HTTPProxy, spec.Proxy.HTTPProxy != "")
	found.at(HTTPSProxy, spec.Proxy.HTTPSProxy != "")
	found.at(NoProxy, len(spec.Proxy.NoProxy) > 0)
	found.at(Sysctls, len(spec.Sysctls) > 0)
	for i, module := range spec.KernelModules {
		path := fmt.Sprintf("spec.kernelModules[%d]", i)
		found.add(candidate{KernelModules, path, true})
		found.add(candidate{KernelModuleParameters, path + ".parameters", len(module.Parameters) > 0})
	}
	for i, file := range spec.Files {
		path := fmt.Sprintf("spec.files[%d]", i)
		found.add(candidate{Files, path, true})
		found.add(candidate{FileAppend, path + ".append", ptr.Deref(file.Append, false)})
		found.add(candidate{FileContentFrom, path + ".contentFrom", file.ContentFrom != (bootstrapv1.ValueSource{})})
	}
	for i, unit := range spec.Units {
		path := fmt.Sprintf("spec.units[%d]", i)
		found.add(candidate{Units, path, true})
		found.add(candidate{UnitDropins, path + ".dropins", len(unit.Dropins) > 0})
	}
	found.at(DiskEncryption, spec.DiskEncryption.Key != "")
	found.add(candidate{DiskEncryptionNodeID, string(DiskEncryption), spec.DiskEncryption.Key == bootstrapv1.DiskKeyNodeID})
	return found
}

// uses grows while a config is read.
type uses []Use

// candidate is a place where a config may use a setting.
type candidate struct {
	setting Setting
	path    string
	used    bool
}

func (u *uses) add(c candidate) {
	if c.used {
		*u = append(*u, Use{Setting: c.setting, Path: c.path})
	}
}

// at adds a setting that a config has once, so that its name is its path.
func (u *uses) at(setting Setting, used bool) { u.add(candidate{setting, string(setting), used}) }

func (u *uses) kubelet(kubelet bootstrapv1.KubeletSettings) {
	u.at(KubeletMaxPods, kubelet.MaxPods != nil)
	u.at(KubeletPodPidsLimit, kubelet.PodPidsLimit != nil)
	u.at(KubeletSystemReserved, len(kubelet.SystemReserved) > 0)
	u.at(KubeletKubeReserved, len(kubelet.KubeReserved) > 0)
	u.at(KubeletEvictionHard, len(kubelet.EvictionHard) > 0)
	u.at(KubeletShutdown, kubelet.ShutdownGracePeriodSeconds != nil)
	u.at(KubeletShutdownCritical, kubelet.ShutdownGracePeriodCriticalPodsSeconds != nil)
}

func (u *uses) registry(path string, registry bootstrapv1.Registry) {
	u.add(candidate{RegistryAny, path + ".host", registry.Host == AnyRegistry})
	for i, mirror := range registry.Mirrors {
		at := fmt.Sprintf("%s.mirrors[%d]", path, i)
		u.add(candidate{RegistryMirrors, at, true})
		u.add(candidate{RegistryMirrorOverridePath, at + ".overridePath", ptr.Deref(mirror.OverridePath, false)})
		u.add(candidate{RegistryMirrorAuthority, at + ".certificateAuthority", mirror.CertificateAuthority != ""})
		u.add(candidate{RegistryMirrorLogin, at + ".credentials", mirror.Credentials != (bootstrapv1.RegistryCredentials{})})
	}
	u.add(candidate{RegistrySkipFallback, path + ".skipFallback", ptr.Deref(registry.SkipFallback, false)})
	u.add(candidate{RegistryAuthority, path + ".certificateAuthority", registry.CertificateAuthority != ""})
	u.add(candidate{RegistryLogin, path + ".credentials", registry.Credentials != (bootstrapv1.RegistryCredentials{})})
}

// AnyRegistry is the host of an entry for every registry that has none of its own.
const AnyRegistry = "*"

// Reference is a place where a config refers to a Secret.
type Reference struct {
	// Path is where, in the user's document.
	Path string
	// Secret is what it refers to.
	Secret bootstrapv1.SecretKeyReference
}

// References lists the Secrets that a config refers to. Whoever renders it reads them first.
func References(spec bootstrapv1.IngotConfigSpec) []Reference {
	var found []Reference
	add := func(path string, source bootstrapv1.ValueSource) {
		if source != (bootstrapv1.ValueSource{}) {
			found = append(found, Reference{Path: path + ".secret", Secret: source.Secret})
		}
	}
	for i, registry := range spec.Registries {
		path := fmt.Sprintf("spec.registries[%d]", i)
		for j, mirror := range registry.Mirrors {
			add(fmt.Sprintf("%s.mirrors[%d].credentials.passwordFrom", path, j), mirror.Credentials.PasswordFrom)
		}
		add(path+".credentials.passwordFrom", registry.Credentials.PasswordFrom)
	}
	for i, file := range spec.Files {
		add(fmt.Sprintf("spec.files[%d].contentFrom", i), file.ContentFrom)
	}
	return found
}
