// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/rand"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
)

// defaultNaming is how Machines are called unless the spec says otherwise.
const defaultNaming = "{{ .ingotControlPlane.name }}-{{ .random }}"

// placeholder is what the schema lets into a template.
var placeholder = regexp.MustCompile(`\{\{ ?\.([A-Za-z.]+) ?\}\}`)

// nextName returns the name of the next Machine, at most 63 characters long, because it becomes a host name. One that is
// longer is cut, and gets a random end, so that it stays unique.
func nextName(cp *controlplanev1.IngotControlPlane, cluster string) string {
	const random, longest = 5, 63
	template := cp.Spec.MachineNaming.Template
	if template == "" {
		template = defaultNaming
	}
	end := rand.String(random)
	values := map[string]string{"cluster.name": cluster, "ingotControlPlane.name": cp.Name, "random": end}
	name := placeholder.ReplaceAllStringFunc(template, func(match string) string {
		return values[placeholder.FindStringSubmatch(match)[1]]
	})
	// Names of Clusters may hold dots, those of hosts may not.
	name = strings.ReplaceAll(name, ".", "-")
	if len(name) > longest {
		name = strings.TrimRight(name[:longest-random-1], "-") + "-" + end
	}
	return strings.Trim(name, "-")
}
