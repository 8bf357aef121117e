// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package bottlerocket

// kubernetes are the settings of the kubelet. They are its own, by other names.
type kubernetes struct {
	// What Ingot sets.
	APIServer          string              `toml:"api-server,omitempty"`
	AuthenticationMode string              `toml:"authentication-mode,omitempty"`
	BootstrapToken     string              `toml:"bootstrap-token,omitempty"`
	CloudProvider      *string             `toml:"cloud-provider,omitempty"`
	ClusterCertificate string              `toml:"cluster-certificate,omitempty"`
	ClusterDNSIP       []string            `toml:"cluster-dns-ip,omitempty"`
	ClusterDomain      string              `toml:"cluster-domain,omitempty"`
	NodeLabels         map[string]string   `toml:"node-labels,omitempty"`
	NodeTaints         map[string][]string `toml:"node-taints,omitempty"`
	ProviderID         string              `toml:"provider-id,omitempty"`
	StandaloneMode     *bool               `toml:"standalone-mode,omitempty"`

	// What nobody may set here.
	ClusterName            string `toml:"cluster-name,omitempty"`
	HostnameOverride       string `toml:"hostname-override,omitempty"`
	HostnameOverrideSource string `toml:"hostname-override-source,omitempty"`
	ServerKey              string `toml:"server-key,omitempty"`

	// What the user may set.
	AllowedUnsafeSysctls               []string                      `toml:"allowed-unsafe-sysctls,omitempty"`
	ContainerLogMaxFiles               *int32                        `toml:"container-log-max-files,omitempty"`
	ContainerLogMaxSize                string                        `toml:"container-log-max-size,omitempty"`
	ContainerLogMaxWorkers             *int32                        `toml:"container-log-max-workers,omitempty"`
	ContainerLogMonitorInterval        string                        `toml:"container-log-monitor-interval,omitempty"`
	CPUCFSQuotaEnforced                *bool                         `toml:"cpu-cfs-quota-enforced,omitempty"`
	CPUManagerPolicy                   string                        `toml:"cpu-manager-policy,omitempty"`
	CPUManagerPolicyOptions            []string                      `toml:"cpu-manager-policy-options,omitempty"`
	CPUManagerReconcilePeriod          string                        `toml:"cpu-manager-reconcile-period,omitempty"`
	CredentialProviders                map[string]credentialProvider `toml:"credential-providers,omitempty"`
	DeviceOwnershipFromSecurityContext *bool                         `toml:"device-ownership-from-security-context,omitempty"`
	EventBurst                         *int32                        `toml:"event-burst,omitempty"`
	EventQPS                           *int32                        `toml:"event-qps,omitempty"`
	EvictionHard                       map[string]string             `toml:"eviction-hard,omitempty"`
	EvictionMaxPodGracePeriod          *int32                        `toml:"eviction-max-pod-grace-period,omitempty"`
	EvictionSoft                       map[string]string             `toml:"eviction-soft,omitempty"`
	EvictionSoftGracePeriod            map[string]string             `toml:"eviction-soft-grace-period,omitempty"`
	IDsPerPod                          *int64                        `toml:"ids-per-pod,omitempty"`
	ImageGCHighThresholdPercent        *int32                        `toml:"image-gc-high-threshold-percent,omitempty"`
	ImageGCLowThresholdPercent         *int32                        `toml:"image-gc-low-threshold-percent,omitempty"`
	ImageMaximumGCAge                  string                        `toml:"image-maximum-gc-age,omitempty"`
	ImageMinimumGCAge                  string                        `toml:"image-minimum-gc-age,omitempty"`
	KubeAPIBurst                       *int32                        `toml:"kube-api-burst,omitempty"`
	KubeAPIQPS                         *int32                        `toml:"kube-api-qps,omitempty"`
	KubeReserved                       map[string]string             `toml:"kube-reserved,omitempty"`
	LogLevel                           *uint8                        `toml:"log-level,omitempty"`
	MaxParallelImagePulls              *int32                        `toml:"max-parallel-image-pulls,omitempty"`
	MaxPods                            *uint32                       `toml:"max-pods,omitempty"`
	MemoryManagerPolicy                string                        `toml:"memory-manager-policy,omitempty"`
	MemoryManagerReservedMemory        map[string]memoryReservation  `toml:"memory-manager-reserved-memory,omitempty"`
	NodeIP                             string                        `toml:"node-ip,omitempty"`
	PodInfraContainerImage             string                        `toml:"pod-infra-container-image,omitempty"`
	PodPidsLimit                       *int64                        `toml:"pod-pids-limit,omitempty"`
	RegistryBurst                      *int32                        `toml:"registry-burst,omitempty"`
	RegistryQPS                        *int32                        `toml:"registry-qps,omitempty"`
	ReservedCPUs                       string                        `toml:"reserved-cpus,omitempty"`
	SeccompDefault                     *bool                         `toml:"seccomp-default,omitempty"`
	ServerCertificate                  string                        `toml:"server-certificate,omitempty"`
	ServerTLSBootstrap                 *bool                         `toml:"server-tls-bootstrap,omitempty"`
	ShutdownGracePeriod                string                        `toml:"shutdown-grace-period,omitempty"`
	ShutdownGracePeriodForCriticalPods string                        `toml:"shutdown-grace-period-for-critical-pods,omitempty"`
	SingleProcessOOMKill               *bool                         `toml:"single-process-oom-kill,omitempty"`
	StaticPods                         map[string]staticPod          `toml:"static-pods,omitempty"`
	SystemReserved                     map[string]string             `toml:"system-reserved,omitempty"`
	TopologyManagerPolicy              string                        `toml:"topology-manager-policy,omitempty"`
	TopologyManagerScope               string                        `toml:"topology-manager-scope,omitempty"`
}

type credentialProvider struct {
	CacheDuration string            `toml:"cache-duration,omitempty"`
	Enabled       *bool             `toml:"enabled,omitempty"`
	Environment   map[string]string `toml:"environment,omitempty"`
	ImagePatterns []string          `toml:"image-patterns,omitempty"`
}

type memoryReservation struct {
	Enabled *bool  `toml:"enabled,omitempty"`
	Memory  string `toml:"memory,omitempty"`
}

type staticPod struct {
	Enabled  *bool  `toml:"enabled,omitempty"`
	Manifest string `toml:"manifest,omitempty"`
}
