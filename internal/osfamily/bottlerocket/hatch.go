// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package bottlerocket

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

const (
	settingsPath = "spec.bottlerocket.settings"
	// oldestRelease and newestRelease are those whose settings are known here.
	oldestRelease bootstrapv1.BottlerocketRelease = "1.50"
	newestRelease bootstrapv1.BottlerocketRelease = "1.57"
)

// userSettings reads the user's settings. They are zero where something is wrong with them, and the report says what.
func userSettings(report *osfamily.Report, config bootstrapv1.IngotConfigSpec) settings {
	if minor(release(config)) < minor(oldestRelease) || minor(release(config)) > minor(newestRelease) {
		report.Errorf("spec.bottlerocket.release", "%q is not a release whose settings are known: use %s to %s; the image may be newer",
			release(config), oldestRelease, newestRelease)
	}
	if config.Bottlerocket == nil || config.Bottlerocket.Settings == "" {
		return settings{}
	}
	text := config.Bottlerocket.Settings
	s, err := decode(text)
	if err != nil {
		report.Errorf(settingsPath, "%v", err)
		return settings{}
	}
	tree, err := readTree(text)
	if err != nil {
		report.Errorf(settingsPath, "%v", err)
		return settings{}
	}
	problems := append(owned(tree), secrets(tree)...)
	if config.SelfUpdate != bootstrapv1.SelfUpdateAllowed {
		problems = append(problems, undone(s, tree)...)
	}
	problems = append(problems, tooNew(tree, release(config))...)
	problems = append(problems, s.problems()...)
	for _, problem := range problems {
		report.Errorf(settingsPath, "%s", problem)
	}
	return s
}

// readTree reads a document without types, to ask which keys are there.
func readTree(text string) (map[string]any, error) {
	var tree map[string]any
	if err := toml.Unmarshal([]byte(text), &tree); err != nil {
		return nil, err
	}
	return tree, nil
}

// has is whether a key is there. It is written with dots.
func has(tree map[string]any, key string) bool {
	var at any = tree
	for name := range strings.SplitSeq(key, ".") {
		table, ok := at.(map[string]any)
		if !ok {
			return false
		}
		if at, ok = table[name]; !ok {
			return false
		}
	}
	return true
}

// owned finds keys that Ingot sets, and says where else the user may say it.
func owned(tree map[string]any) []string {
	return forbidden(tree, []reason{
		{"settings.kubernetes.api-server", "is the Cluster's control plane endpoint"},
		{"settings.kubernetes.authentication-mode", "is set by Ingot"},
		{"settings.kubernetes.bootstrap-token", "is lent by Ingot to each machine"},
		{"settings.kubernetes.cluster-certificate", "is the certificate of the Cluster's authority"},
		{"settings.kubernetes.cluster-dns-ip", "follows from the Cluster's services.cidrBlocks: if its DNS is elsewhere, use cluster-dns in spec.node.kubeletExtraArgs"},
		{"settings.kubernetes.cluster-domain", "is the Cluster's serviceDomain"},
		{"settings.kubernetes.cluster-name", "is for clusters of one cloud"},
		{"settings.kubernetes.hostname-override", "would rename the Node, which has the name of its Machine"},
		{"settings.kubernetes.hostname-override-source", "would rename the Node, which has the name of its Machine"},
		{"settings.kubernetes.node-labels", "is set by Ingot: use spec.node.labels"},
		{"settings.kubernetes.node-taints", "is set by Ingot: use spec.node.taints"},
		{"settings.kubernetes.provider-id", "is set by Ingot"},
		{"settings.kubernetes.standalone-mode", "would keep the machine out of its cluster"},
		{"settings.network.hostname", "is the name of the Machine"},
	})
}

// secrets finds keys whose values would lie open in the config.
func secrets(tree map[string]any) []string {
	const why = "holds a secret, which whoever may read the config could read: leave it out"
	return forbidden(tree, []reason{
		{"settings.aws.credentials", why},
		{"settings.container-registry.credentials", why},
		{"settings.kubernetes.server-key", why},
	})
}

// undone finds what turns a guard rail off.
func undone(s settings, tree map[string]any) []string {
	const allow = "; if it is meant to, set spec.selfUpdate: Allowed"
	problems := forbidden(tree, []reason{
		{"settings.host-containers", "starts a container that may change the node behind its image's back" + allow},
		{"settings.updates", "would let the operating system update itself" + allow},
	})
	for _, name := range slices.Sorted(maps.Keys(s.BootstrapContainers)) {
		source := s.BootstrapContainers[name].Source
		if !regexp.MustCompile(`@sha256:[0-9a-f]{64}$`).MatchString(source) {
			problems = append(problems, fmt.Sprintf(
				"settings.bootstrap-containers.%s.source names no digest, so what it runs could change: write it as repository@sha256:digest%s", name, allow))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.BootstrapCommands)) {
		for i, command := range s.BootstrapCommands[name].Commands {
			if !harmless(command) {
				problems = append(problems, fmt.Sprintf(
					"settings.bootstrap-commands.%s.commands[%d] may change settings or the operating system: only apiclient ephemeral-storage, get and report may not%s",
					name, i, allow))
			}
		}
	}
	return problems
}

// harmless is whether a command of the API changes neither settings nor the operating system.
func harmless(command []string) bool {
	return len(command) > 1 && command[0] == "apiclient" && slices.Contains([]string{"ephemeral-storage", "get", "report"}, command[1])
}

// sinceRelease are the keys that came after the oldest release.
func sinceRelease() map[string]bootstrapv1.BottlerocketRelease {
	return map[string]bootstrapv1.BottlerocketRelease{
		"settings.kubernetes.ids-per-pod":              "1.51",
		"settings.kubernetes.image-maximum-gc-age":     "1.51",
		"settings.kubernetes.image-minimum-gc-age":     "1.51",
		"settings.kubernetes.max-parallel-image-pulls": "1.51",
	}
}

// tooNew finds keys that the release does not know.
func tooNew(tree map[string]any, release bootstrapv1.BottlerocketRelease) []string {
	var reasons []reason
	added := sinceRelease()
	for _, key := range slices.Sorted(maps.Keys(added)) {
		if since := added[key]; minor(release) < minor(since) {
			reasons = append(reasons, reason{key, fmt.Sprintf(
				"came with Bottlerocket %s, and the config is for %s: raise spec.bottlerocket.release if the image is as new", since, release)})
		}
	}
	return forbidden(tree, reasons)
}

// reason says why a key must not be there.
type reason struct{ key, why string }

// forbidden finds keys that are there and must not be.
func forbidden(tree map[string]any, reasons []reason) []string {
	var problems []string
	for _, r := range reasons {
		if has(tree, r.key) {
			problems = append(problems, r.key+" "+r.why)
		}
	}
	return problems
}

// minor is the number by which releases are ordered; -1 where there is none.
func minor(release bootstrapv1.BottlerocketRelease) int {
	digits, ok := strings.CutPrefix(string(release), "1.")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil {
		return -1
	}
	return n
}
