// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"encoding/base64"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/secret"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/bottlerocket"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/cloudconfig"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kairos"
)

func waitStories() map[string]func(*story) {
	return map[string]func(*story){
		"a config that nobody owns is left alone": func(s *story) {
			s.begin(bootstrapv1.RoleWorker)
			patch(s, s.config(), func(c *bootstrapv1.IngotConfig) { c.OwnerReferences = nil })
			s.settle()
			if s.writes.Count() > 0 {
				s.Errorf("wrote %v", s.writes.Done())
			}
		},
		"a worker says what it waits for, one thing after the other": func(s *story) {
			s.begin(bootstrapv1.RoleWorker)
			expectWait := func(reason string) {
				s.Helper()
				s.settle()
				s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionFalse, reason)
				if ptr.Deref(s.config().Status.Initialization.DataSecretCreated, false) {
					s.Errorf("Cluster API was told to go on while waiting for %s", reason)
				}
			}
			expectWait(bootstrapv1.WaitingForClusterInfrastructureReason)
			s.provisionInfrastructure()
			expectWait(bootstrapv1.WaitingForControlPlaneEndpointReason)
			s.setEndpoint()
			expectWait(bootstrapv1.WaitingForControlPlaneReason)
			s.initializeControlPlane()
			expectWait(bootstrapv1.WaitingForCertificatesReason)
			s.createCertificates(secret.ClusterCA)
			expectWait(bootstrapv1.WaitingForProviderIDReason)
			s.chooseProviderID()
			expectWait(bootstrapv1.WorkloadClusterUnreachableReason)
			s.connect()
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
		},
		"a control plane node names every certificate that is missing": func(s *story) {
			s.begin(bootstrapv1.RoleInit)
			s.provisionInfrastructure()
			s.setEndpoint()
			s.createCertificates(secret.ClusterCA, secret.ServiceAccount)
			s.settle()
			message := s.expectCondition(bootstrapv1.CertificatesAvailableCondition, metav1.ConditionFalse, bootstrapv1.WaitingForCertificatesReason)
			if !strings.Contains(message, "demo-etcd, demo-proxy;") {
				s.Errorf("the message does not name what is missing: %s", message)
			}
		},
		"an authority that is none is named": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			ca := &corev1.Secret{}
			s.get("demo-ca", ca)
			patch(s, ca, func(c *corev1.Secret) { c.Data["tls.crt"] = []byte("rubbish") })
			s.settle()
			message := s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionFalse, bootstrapv1.WaitingForCertificatesReason)
			if !strings.Contains(message, "demo-ca") || strings.Contains(message, "rubbish") {
				s.Errorf("the message must name the Secret and not quote it: %s", message)
			}
		},
		"nothing happens while the Cluster is paused": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			patch(s, s.cluster(), func(c *clusterv1.Cluster) { c.Spec.Paused = new(true) })
			s.settle()
			s.expectCondition(clusterv1.PausedCondition, metav1.ConditionTrue, clusterv1.PausedReason)
			if s.hasDataSecret() || len(s.config().Finalizers) > 0 {
				s.Error("a paused config was reconciled")
			}
		},
	}
}

func publishStories() map[string]func(*story) {
	return map[string]func(*story){
		"a worker's data follows the contract": func(s *story) {
			s.readyToPublish("")
			s.settle()
			status := s.config().Status
			if !ptr.Deref(status.Initialization.DataSecretCreated, false) || status.DataSecretName != machineName {
				s.Errorf("status does not lead to the data: %+v", status)
			}
			data := s.dataSecret()
			if data.Type != clusterv1.ClusterSecretType || data.Labels[clusterv1.ClusterNameLabel] != clusterName || !metav1.IsControlledBy(data, s.config()) {
				s.Errorf("type, label or owner of the Secret are not those of the contract: %+v", data.ObjectMeta)
			}
			if string(data.Data["format"]) != "ignition" || ignition.Validate(data.Data["value"]) != nil {
				s.Errorf("format %q, valid: %v", data.Data["format"], ignition.Validate(data.Data["value"]))
			}
			kubeadm := s.file("/etc/ingot/kubeadm.yaml")
			for _, want := range []string{"kind: JoinConfiguration", "token: " + s.token(), "sha256:", "value: " + providerID, "192.0.2.10:6443"} {
				if !strings.Contains(kubeadm, want) {
					s.Errorf("kubeadm's configuration lacks %q", want)
				}
			}
			if strings.Contains(kubeadm, "controlPlane:") || s.file("/etc/kubernetes/pki/ca.key") != "" {
				s.Error("a worker got what belongs to a control plane")
			}
		},
		"the operating system block decides the format": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, func(c *bootstrapv1.IngotConfig) {
				c.Spec.Ignition = bootstrapv1.IgnitionConfig{}
				c.Spec.CloudInit = &bootstrapv1.CloudInitConfig{}
			})
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
			data := s.dataSecret()
			config, err := cloudconfig.Decode(data.Data["value"])
			if string(data.Data["format"]) != "cloud-config" || err != nil {
				s.Fatalf("format %q, valid: %v", data.Data["format"], err)
			}
			if config.Hostname != machineName {
				s.Errorf("the host is called %q, want %q", config.Hostname, machineName)
			}
		},
		"a worker of Bottlerocket gets the authority itself, and the token that it is lent": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, func(c *bootstrapv1.IngotConfig) {
				c.Spec.Ignition = bootstrapv1.IgnitionConfig{}
				c.Spec.Bottlerocket = &bootstrapv1.BottlerocketConfig{}
			})
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
			ca := &corev1.Secret{}
			s.get("demo-ca", ca)
			s.expectData("bottlerocket", "Bottlerocket", func(data []byte) error { return bottlerocket.Validate(data, "1.50") }, "bootstrap-token = '"+s.token()+"'",
				"cluster-certificate = '"+base64.StdEncoding.EncodeToString(ca.Data["tls.crt"])+"'", "provider-id = '"+providerID+"'")
		},
		"a worker of k3s joins with the token that it is lent": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, func(c *bootstrapv1.IngotConfig) {
				c.Spec.Ignition = bootstrapv1.IgnitionConfig{}
				c.Spec.Kairos.Distribution = bootstrapv1.KairosDistributionK3s
			})
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
			s.expectData("cloud-config", "Kairos", kairos.Validate, "::"+s.token(), "--kubelet-arg=provider-id="+providerID)
			if s.lentToken() == nil {
				s.Error("the token opens nothing")
			}
		},
		"the first control plane node of Kairos with kubeadm gets its authorities, and makes a token": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleInit, func(c *bootstrapv1.IngotConfig) {
				c.Spec.Ignition = bootstrapv1.IgnitionConfig{}
				c.Spec.Kairos.Distribution = bootstrapv1.KairosDistributionKubeadm
			})
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
			s.expectData("cloud-config", "Kairos", kairos.Validate, "kind: InitConfiguration", "path: /etc/kubernetes/pki/etcd/ca.key", providerID)
		},
		"a control plane Machine of Kairos with k0s is refused with the reason": func(s *story) {
			s.readyToPublish("", func(c *bootstrapv1.IngotConfig) {
				c.Spec.Ignition = bootstrapv1.IgnitionConfig{}
				c.Spec.Kairos.Distribution = bootstrapv1.KairosDistributionK0s
			})
			patch(s, s.machine(), func(m *clusterv1.Machine) { m.Labels[clusterv1.MachineControlPlaneLabel] = "" })
			s.settle()
			message := s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionFalse, bootstrapv1.RenderFailedReason)
			if !strings.Contains(message, "Ingot drives no control plane of k3s or k0s") || s.hasDataSecret() {
				s.Errorf("message %q, data made: %t", message, s.hasDataSecret())
			}
		},
		"the variant of Ignition decides what is known of the image": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, func(c *bootstrapv1.IngotConfig) {
				c.Spec.Ignition = bootstrapv1.IgnitionConfig{
					Variant: bootstrapv1.IgnitionVariantFlatcar,
					Butane:  []string{"storage: {files: [{path: /etc/motd, contents: {inline: hello}}]}"},
				}
			})
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
			if s.file("/etc/flatcar/update.conf") == "" || s.file("/etc/motd") != "hello" {
				s.Error("neither Flatcar's own settings nor what the user adds may be missing")
			}
		},
		"a snippet that would undo what Ingot writes is named": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, func(c *bootstrapv1.IngotConfig) {
				c.Spec.Ignition = bootstrapv1.IgnitionConfig{
					Variant: bootstrapv1.IgnitionVariantFedoraCoreOS,
					Butane:  []string{"systemd: {units: [{name: zincati.service, enabled: true}]}"},
				}
			})
			s.settle()
			message := s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionFalse, bootstrapv1.RenderFailedReason)
			if !strings.Contains(message, `spec.ignition.butane[0]: unit "zincati.service"`) || s.hasDataSecret() {
				s.Errorf("the message must name the snippet and the unit: %s", message)
			}
		},
		"the first control plane node brings its own token": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleInit)
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
			if kubeadm := s.file("/etc/ingot/kubeadm.yaml"); !strings.Contains(kubeadm, "kind: InitConfiguration") || !strings.Contains(kubeadm, "token: "+s.token()) {
				s.Error("kubeadm init was not rendered with the token of the Secret")
			}
			if s.file("/etc/kubernetes/pki/etcd/ca.key") == "" {
				s.Error("the authorities are missing")
			}
		},
		"a control plane Machine joins as one": func(s *story) {
			s.readyToPublish("")
			patch(s, s.machine(), func(m *clusterv1.Machine) { m.Labels[clusterv1.MachineControlPlaneLabel] = "" })
			s.settle()
			if kubeadm := s.file("/etc/ingot/kubeadm.yaml"); !strings.Contains(kubeadm, "kind: JoinConfiguration") || !strings.Contains(kubeadm, "controlPlane:") {
				s.Error("kubeadm join was not rendered for a control plane node")
			}
			if s.lentToken() == nil {
				s.Error("a joining control plane node needs a token as well")
			}
		},
		"beside another infrastructure provider the provider ID is left to it": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			patch(s, s.machine(), func(m *clusterv1.Machine) { m.Spec.InfrastructureRef.Kind = "OtherMachine" })
			s.settle()
			if strings.Contains(s.file("/etc/ingot/kubeadm.yaml"), "provider-id") {
				s.Error("a provider ID was rendered that is not ours")
			}
		},
		"a config that cannot be rendered names the field": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, func(c *bootstrapv1.IngotConfig) {
				c.Spec.Node.Labels = map[string]string{"example.com/rack": "a b"}
			})
			s.settle()
			message := s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionFalse, bootstrapv1.RenderFailedReason)
			if !strings.HasPrefix(message, "spec.node.labels[example.com/rack]: ") || s.hasDataSecret() {
				s.Errorf("message %q, data made: %t", message, s.hasDataSecret())
			}
		},
		"a Secret of somebody else is neither used nor touched": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			s.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: machineName}, Data: map[string][]byte{"value": []byte("theirs")}})
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionFalse, bootstrapv1.DataSecretForeignReason)
			if string(s.dataSecret().Data["value"]) != "theirs" || s.config().Status.DataSecretName != "" {
				s.Error("a foreign Secret was taken over")
			}
		},
		"data that somebody deleted is made again until the node has joined": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			s.settle()
			before := s.token()
			s.delete(s.dataSecret())
			s.settle()
			if s.token() == before || s.lentToken() == nil || string(s.lentToken().Data["token-secret"]) != strings.Split(s.token(), ".")[1] {
				s.Error("the new data's token does not open the door")
			}
			s.join()
			s.settle()
			s.delete(s.dataSecret())
			s.settle()
			if s.hasDataSecret() {
				s.Error("data was made for a node that has joined")
			}
		},
		"after a move the same data is found again": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			s.settle()
			before := s.dataSecret()
			s.join()
			s.settle()
			patchStatus(s, s.config(), func(c *bootstrapv1.IngotConfig) { c.Status = bootstrapv1.IngotConfigStatus{} })
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
			if s.config().Status.DataSecretName != machineName || s.dataSecret().ResourceVersion != before.ResourceVersion {
				s.Error("a move must neither lose the data nor render it anew")
			}
		},
	}
}
