// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package bottlerocket

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// setting writes the value of a flag into its setting.
type setting func(k *kubernetes, value string) error

// flags are the kubelet's flags that have a setting. Bottlerocket takes no others.
func flags() map[string]setting {
	return map[string]setting{
		"allowed-unsafe-sysctls":       list(func(k *kubernetes) *[]string { return &k.AllowedUnsafeSysctls }),
		"cloud-provider":               text(func(k *kubernetes) **string { return &k.CloudProvider }),
		"cluster-dns":                  list(func(k *kubernetes) *[]string { return &k.ClusterDNSIP }),
		"container-log-max-files":      number(func(k *kubernetes) **int32 { return &k.ContainerLogMaxFiles }),
		"container-log-max-size":       word(func(k *kubernetes) *string { return &k.ContainerLogMaxSize }),
		"cpu-cfs-quota":                truth(func(k *kubernetes) **bool { return &k.CPUCFSQuotaEnforced }),
		"cpu-manager-policy":           word(func(k *kubernetes) *string { return &k.CPUManagerPolicy }),
		"cpu-manager-reconcile-period": word(func(k *kubernetes) *string { return &k.CPUManagerReconcilePeriod }),
		"event-burst":                  number(func(k *kubernetes) **int32 { return &k.EventBurst }),
		"event-qps":                    number(func(k *kubernetes) **int32 { return &k.EventQPS }),
		"image-gc-high-threshold":      number(func(k *kubernetes) **int32 { return &k.ImageGCHighThresholdPercent }),
		"image-gc-low-threshold":       number(func(k *kubernetes) **int32 { return &k.ImageGCLowThresholdPercent }),
		"kube-api-burst":               number(func(k *kubernetes) **int32 { return &k.KubeAPIBurst }),
		"kube-api-qps":                 number(func(k *kubernetes) **int32 { return &k.KubeAPIQPS }),
		"max-pods":                     number(func(k *kubernetes) **uint32 { return &k.MaxPods }),
		"memory-manager-policy":        word(func(k *kubernetes) *string { return &k.MemoryManagerPolicy }),
		"node-ip":                      word(func(k *kubernetes) *string { return &k.NodeIP }),
		"pod-max-pids":                 number(func(k *kubernetes) **int64 { return &k.PodPidsLimit }),
		"registry-burst":               number(func(k *kubernetes) **int32 { return &k.RegistryBurst }),
		"registry-qps":                 number(func(k *kubernetes) **int32 { return &k.RegistryQPS }),
		"reserved-cpus":                word(func(k *kubernetes) *string { return &k.ReservedCPUs }),
		"seccomp-default":              truth(func(k *kubernetes) **bool { return &k.SeccompDefault }),
		"topology-manager-policy":      word(func(k *kubernetes) *string { return &k.TopologyManagerPolicy }),
		"topology-manager-scope":       word(func(k *kubernetes) *string { return &k.TopologyManagerScope }),
		"v":                            number(func(k *kubernetes) **uint8 { return &k.LogLevel }),
	}
}

// translateArgs writes the kubelet's flags as settings. What has none is refused, as is what the settings say as well.
func translateArgs(report *osfamily.Report, s *settings, config bootstrapv1.IngotConfigSpec) {
	if len(config.Node.KubeletExtraArgs) == 0 {
		return
	}
	known := flags()
	var before, after problems
	s.kubernetes().problems(&before)
	for i, arg := range config.Node.KubeletExtraArgs {
		path := fmt.Sprintf("spec.node.kubeletExtraArgs[%d]", i)
		set, ok := known[arg.Name]
		if !ok {
			report.Errorf(path, "Bottlerocket takes no kubelet flag %s: look for a setting to write into %s; flags that are translated are %s",
				arg.Name, settingsPath, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
			continue
		}
		if err := set(s.kubernetes(), arg.Value); err != nil {
			report.Errorf(path, "%s: %v", arg.Name, err)
		}
	}
	s.kubernetes().problems(&after)
	for _, problem := range after {
		if !slices.Contains(before, problem) {
			report.Errorf("spec.node.kubeletExtraArgs", "%s", problem)
		}
	}
}

// errTwice is no error of the host: one of two values would win, and nobody could see which.
func errTwice() error { return errors.New("it is said twice: say it here or in " + settingsPath) }

type integer interface {
	int32 | int64 | uint8 | uint32
}

func number[N integer](field func(*kubernetes) **N) setting {
	return func(k *kubernetes, value string) error {
		at := field(k)
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case *at != nil:
			return errTwice()
		case err != nil || int64(N(n)) != n:
			return fmt.Errorf("%q is not a number that it can hold", value)
		}
		*at = new(N(n))
		return nil
	}
}

func truth(field func(*kubernetes) **bool) setting {
	return func(k *kubernetes, value string) error {
		at := field(k)
		if *at != nil {
			return errTwice()
		}
		switch value {
		case "true", "false":
			*at = new(value == "true")
			return nil
		default:
			return fmt.Errorf("%q is neither true nor false", value)
		}
	}
}

func text(field func(*kubernetes) **string) setting {
	return func(k *kubernetes, value string) error {
		at := field(k)
		if *at != nil {
			return errTwice()
		}
		*at = new(value)
		return nil
	}
}

func word(field func(*kubernetes) *string) setting {
	return func(k *kubernetes, value string) error {
		at := field(k)
		if *at != "" {
			return errTwice()
		}
		*at = value
		return nil
	}
}

func list(field func(*kubernetes) *[]string) setting {
	return func(k *kubernetes, value string) error {
		at := field(k)
		if *at != nil {
			return errTwice()
		}
		*at = strings.Split(value, ",")
		return nil
	}
}
