// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/bootstrap/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/flatcar"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

func preview() controller.Preview { return controller.Preview{Families: registry.Families()} }

func butane(snippets ...string) bootstrapv1.IngotConfigSpec {
	return bootstrapv1.IngotConfigSpec{Ignition: bootstrapv1.IgnitionConfig{Variant: bootstrapv1.IgnitionVariantFlatcar, Butane: snippets}}
}

// files is a snippet that names many files.
func files(n int) string {
	var snippet strings.Builder
	snippet.WriteString("storage:\n  files:\n")
	for i := range n {
		fmt.Fprintf(&snippet, "  - path: /a/%d\n", i)
	}
	return snippet.String()
}

func worker(config bootstrapv1.IngotConfigSpec) subject {
	return ofConfigTemplate(&bootstrapv1.IngotConfigTemplate{Spec: bootstrapv1.IngotConfigTemplateSpec{
		Template: bootstrapv1.IngotConfigTemplateResource{Spec: config},
	}})
}

// TestEscapeHatches: what a person wrote in another language is read where it is applied, not where a machine boots.
func TestEscapeHatches(t *testing.T) {
	t.Parallel()
	old, controlPlane := &controlplanev1.IngotControlPlane{}, &controlplanev1.IngotControlPlane{}
	old.Spec.Version, controlPlane.Spec.Version = "v1.30.1", "v1.36.3"
	controlPlane.Spec.Config = butane("passwd: {users: [{name: core}]}", "storage: {files: [{path: /etc/kubernetes/admin.conf}]}")
	class := &controlplanev1.IngotControlPlaneTemplate{}
	class.Spec.Template.Spec.Config = butane("systemd: 7")
	for name, c := range map[string]struct {
		subject subject
		want    []string // path and a part of the message
	}{
		"a snippet of Butane": {
			worker(butane("storage: {files: [{path: etc/motd}]}")), []string{"spec.template.spec.ignition.butane[0]", "storage.files[0].path"},
		},
		"settings of Bottlerocket": {
			worker(bootstrapv1.IngotConfigSpec{Bottlerocket: &bootstrapv1.BottlerocketConfig{Settings: "[settings.kubernetes]\nno-such = 1\n"}}),
			[]string{"spec.template.spec.bottlerocket.settings", "settings.kubernetes.no-such"},
		},
		"a cloud-config of Kairos": {
			worker(bootstrapv1.IngotConfigSpec{Kairos: bootstrapv1.KairosConfig{
				Distribution: bootstrapv1.KairosDistributionK3s, CloudConfig: "stages: {bout: [{name: typo}]}",
			}}),
			[]string{"spec.template.spec.kairos.cloudConfig", "stages.bout"},
		},
		"user data of cloud-init": {
			worker(bootstrapv1.IngotConfigSpec{CloudInit: &bootstrapv1.CloudInitConfig{UserData: "runcmd: [reboot]\n"}}),
			[]string{"spec.template.spec.cloudInit.userData", "write a unit in spec.units"},
		},
		"a flag that Ingot sets, on an image that runs cloud-init": {
			worker(bootstrapv1.IngotConfigSpec{
				CloudInit: &bootstrapv1.CloudInitConfig{},
				Node:      bootstrapv1.NodeSettings{KubeletExtraArgs: []bootstrapv1.Arg{{Name: "v", Value: "a b"}}},
			}),
			[]string{"spec.template.spec.node.kubeletExtraArgs[0]", "white space"},
		},
		"the second snippet of a control plane": {ofControlPlane(controlPlane), []string{"spec.config.ignition.butane[1]", "is made by kubeadm"}},
		"the version of a control plane":        {ofControlPlane(old), []string{"spec.version", "v1.30.1 is too old"}},
		"the control plane of a class":          {ofControlPlaneTemplate(class), []string{"spec.template.spec.config.ignition.butane[0]", "Systemd"}},
		"a disk that the operating system cannot encrypt": {
			worker(bootstrapv1.IngotConfigSpec{CloudInit: &bootstrapv1.CloudInitConfig{}, DiskEncryption: bootstrapv1.DiskEncryption{Key: bootstrapv1.DiskKeyTPM2}}),
			[]string{"spec.template.spec.diskEncryption.key", "cloud-init runs when the root is mounted already"},
		},
		"a snippet that takes too long": {
			worker(butane(files(500), files(1500))), []string{"spec.template.spec.ignition.butane[1]", "take too long"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused, _ := judge(preview(), c.subject)
			var found []string
			for _, each := range refused {
				found = append(found, each.Error())
				if each.Field == c.want[0] && strings.Contains(each.Detail, c.want[1]) {
					return
				}
			}
			t.Errorf("want a refusal of %s with %q, got %q", c.want[0], c.want[1], found)
		})
	}
}

// TestWhatFamiliesRenderIsAdmitted: the conformance suite's good cases are everything that families render, for every role.
// Were one of them refused here, so would manifests be that work.
func TestWhatFamiliesRenderIsAdmitted(t *testing.T) {
	t.Parallel()
	for _, c := range osfamilytest.Cases(func(s *bootstrapv1.IngotConfigSpec) { s.Ignition.Variant = bootstrapv1.IgnitionVariantFlatcar }) {
		if slices.ContainsFunc(settings.Uses(c.Input.Config), func(use settings.Use) bool { return !flatcar.Support().Renders(use.Setting) }) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			config := &bootstrapv1.IngotConfig{Spec: c.Input.Config}
			config.Spec.Role = c.Input.Role
			if refused, _ := judge(preview(), ofConfig(config)); len(refused) > 0 {
				t.Errorf("refused: %v", refused.ToAggregate())
			}
		})
	}
}

// TestWhatIsNotKnownIsNotRefused: Secrets, and whatever else a placeholder stands for, may come later.
func TestWhatIsNotKnownIsNotRefused(t *testing.T) {
	t.Parallel()
	config := bootstrapv1.IngotConfigSpec{
		Ignition:     bootstrapv1.IgnitionConfig{Variant: bootstrapv1.IgnitionVariantGeneric},
		ControlPlane: bootstrapv1.ControlPlaneSettings{VIP: bootstrapv1.ControlPlaneVIP{VirtualRouterID: 7}},
		Files: []bootstrapv1.File{{
			Path: "/etc/agent", ContentFrom: bootstrapv1.ValueSource{Secret: bootstrapv1.SecretKeyReference{Name: "later", Key: "token"}},
		}},
	}
	class := &controlplanev1.IngotControlPlaneTemplate{}
	class.Spec.Template.Spec.Config = config
	for _, s := range []subject{worker(config), ofControlPlaneTemplate(class)} {
		if refused, _ := judge(preview(), s); len(refused) > 0 {
			t.Errorf("refused: %v", refused.ToAggregate())
		}
	}
}

// TestFindingsAreFew: a person reads them.
func TestFindingsAreFew(t *testing.T) {
	t.Parallel()
	refused, _ := judge(preview(), worker(bootstrapv1.IngotConfigSpec{Kairos: bootstrapv1.KairosConfig{
		Distribution: bootstrapv1.KairosDistributionK3s, CloudConfig: "users: [" + strings.Repeat("{},", 500) + "]",
	}}))
	if len(refused) != mostFindings+1 || !strings.Contains(refused[mostFindings].Detail, "more problems") {
		t.Errorf("%d refusals, the last of which is %v", len(refused), refused[len(refused)-1])
	}
}

// TestHeaviestIsQuick holds the limit to its purpose: the heaviest control plane that is let through is judged, for both of
// its roles, in a small part of the ten seconds after which the API server gives up. The time is that of the CPUs, because a
// machine that runs tests is busy.
func TestHeaviestIsQuick(t *testing.T) {
	class := &controlplanev1.IngotControlPlaneTemplate{}
	class.Spec.Template.Spec.Config = butane(files(650), strings.ReplaceAll(files(650), "/a/", "/b/"))
	begin := spent(t)
	if refused, _ := judge(preview(), ofControlPlaneTemplate(class)); len(refused) > 0 {
		t.Fatalf("refused: %v", refused.ToAggregate())
	}
	if took := spent(t) - begin; took > 4*time.Second {
		t.Errorf("judging took %s", took)
	} else {
		t.Logf("judged in %s", took.Round(time.Millisecond))
	}
	class.Spec.Template.Spec.Config = butane(files(1400))
	if refused, _ := judge(preview(), ofControlPlaneTemplate(class)); len(refused) == 0 {
		t.Error("what is heavier is let through: this test tries too little")
	}
}

// spent is the time that the CPUs have worked for this process.
func spent(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// TestRoles: a config of somebody's own says what it is by its role or its label. One that has a Machine is a copy that must
// not be refused any more.
func TestRoles(t *testing.T) {
	t.Parallel()
	config := &bootstrapv1.IngotConfig{}
	if s := ofConfig(config); !slices.Equal(s.roles, []bootstrapv1.Role{bootstrapv1.RoleWorker}) || s.cloned {
		t.Errorf("a config is %v, cloned=%t", s.roles, s.cloned)
	}
	config.Labels = map[string]string{clusterv1.MachineControlPlaneLabel: ""}
	config.OwnerReferences = []metav1.OwnerReference{{APIVersion: clusterv1.GroupVersion.String(), Kind: "Machine", Name: "m"}}
	if s := ofConfig(config); !slices.Equal(s.roles, []bootstrapv1.Role{bootstrapv1.RoleControlPlane}) || !s.cloned {
		t.Errorf("a config of a machine of the control plane is %v, cloned=%t", s.roles, s.cloned)
	}
}
