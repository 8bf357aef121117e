// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package setup_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/bottlerocket"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/cloudinit"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/fedoracoreos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/flatcar"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/generic"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kairos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talos"
)

const settingsPage = "../../docs/node-settings.md"

// column is a family in the table of the page.
type column struct {
	name    string
	support settings.Support
}

// What the page says of a family is what the family's own table says.
func TestSettingsPageSaysWhatFamiliesRender(t *testing.T) {
	columns := []column{{"Generic", generic.Support()}, {"Flatcar", flatcar.Support()}, {"FedoraCoreOS", fedoracoreos.Support()}, {"CloudInit", cloudinit.Support()}, {"Bottlerocket", bottlerocket.Support()}, {"Kairos with kubeadm", kairos.Support("kubeadm")}, {"Kairos with k3s", kairos.Support("k3s")}, {"Kairos with k0s", kairos.Support("k0s")}, {"Talos", talos.Support()}}
	var want strings.Builder
	want.WriteString("| Setting |")
	for _, c := range columns {
		fmt.Fprintf(&want, " %s |", c.name)
	}
	want.WriteString("\n|---|" + strings.Repeat("---|", len(columns)) + "\n")
	for _, setting := range settings.All() {
		fmt.Fprintf(&want, "| `%s` |", strings.TrimPrefix(string(setting), "spec."))
		for _, c := range columns {
			answer := "yes"
			if !c.support.Renders(setting) {
				answer = "refused: " + c.support.Reason(setting)
			}
			fmt.Fprintf(&want, " %s |", answer)
		}
		want.WriteString("\n")
	}
	if page := readPage(t); !strings.Contains(page, "\n"+want.String()+"\n") {
		t.Errorf("%s must have this table:\n%s", settingsPage, want.String())
	}
}

// The manifest of the page uses most settings, so that a reader sees them in their place.
func TestSettingsPageHasAManifest(t *testing.T) {
	_, rest, _ := strings.Cut(readPage(t), "```yaml\n")
	manifest, _, _ := strings.Cut(rest, "```\n")
	var template bootstrapv1.IngotConfigTemplate
	if err := yaml.UnmarshalStrict([]byte(manifest), &template); err != nil {
		t.Fatal(err)
	}
	used := map[settings.Setting]bool{}
	for _, use := range settings.Uses(template.Spec.Template.Spec) {
		used[use.Setting] = true
	}
	if len(used) < len(settings.All())/2 {
		t.Errorf("the manifest uses %d of %d settings", len(used), len(settings.All()))
	}
}

func readPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(settingsPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}
