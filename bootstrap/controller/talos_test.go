// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"encoding/base64"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talossecrets"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// talosSecret is the name of the Secret that a cluster of Talos has beside its authorities.
const talosSecret = clusterName + "-talos"

func talosStories() map[string]func(*story) {
	return map[string]func(*story){
		"a worker of Talos waits for its cluster's secrets and for its image, and needs no token": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, ofTalos)
			s.disconnect() // nothing is made in the workload cluster
			message := s.waitsForTalos(bootstrapv1.WaitingForCertificatesReason)
			if !strings.Contains(message, talosSecret) {
				s.Errorf("the message does not name the Secret: %s", message)
			}
			secrets := s.createTalosSecret()
			s.waitsForTalos(bootstrapv1.WaitingForImageReason)
			s.pinImage("v1.13.7")
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
			s.expectData("talos", "Talos", talos.Validate, "type: worker", providerID, "hostname: "+machineName, secrets.MachineToken, secrets.BootstrapToken)
			data := s.dataSecret()
			if strings.Contains(string(data.Data["value"]), "kind: KubeletConfig") {
				s.Error("it is written for a release that is newer than the image")
			}
			if _, has := data.Data["bootstrap-token"]; has {
				s.Error("a token was made that nobody uses")
			}
			for what, value := range map[string]string{"key of the authority": base64Of(secrets.CAKey), "key of etcd": secrets.SecretboxKey} {
				if strings.Contains(string(data.Data["value"]), value) {
					s.Errorf("a worker got the %s", what)
				}
			}
		},
		"a control plane machine of Talos holds what the cluster is made with": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleInit, ofTalos)
			secrets := s.createTalosSecret()
			s.pinImage("v1.14.1")
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
			s.expectData("talos", "Talos", talos.Validate, "type: controlplane", base64Of(secrets.CAKey), secrets.SecretboxKey, "kind: KubeletConfig")
		},
		"a release that is not written for is refused with the image's field": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, ofTalos)
			s.createTalosSecret()
			s.pinImage("v1.9.0")
			s.settle()
			message := s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionFalse, bootstrapv1.RenderFailedReason)
			if !strings.Contains(message, "NodeImage.spec.os.version") || s.hasDataSecret() {
				s.Errorf("message %q, data made: %t", message, s.hasDataSecret())
			}
		},
		"an image that is gone is named": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, ofTalos)
			s.createTalosSecret()
			s.pinImage("v1.13.7")
			s.delete(builder.NodeImage(s.namespace))
			message := s.waitsForTalos(bootstrapv1.WaitingForImageReason)
			if !strings.Contains(message, "NodeImage "+s.namespace) {
				s.Errorf("the message does not name the image: %s", message)
			}
		},
		"a Secret of Talos that is of no use is named, and not quoted": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, ofTalos)
			s.createTalosSecret()
			s.pinImage("v1.13.7")
			found := &corev1.Secret{}
			s.get(talosSecret, found)
			patch(s, found, func(c *corev1.Secret) { c.Data[talossecrets.MachineTokenKey] = []byte("rubbish") })
			message := s.waitsForTalos(bootstrapv1.WaitingForCertificatesReason)
			if !strings.Contains(message, talosSecret) || !strings.Contains(message, talossecrets.MachineTokenKey) || strings.Contains(message, "rubbish") {
				s.Errorf("the message must name Secret and key, and not quote it: %s", message)
			}
		},
		"a machine of Talos leaves without a word to its cluster": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, ofTalos)
			s.disconnect()
			s.createTalosSecret()
			s.pinImage("v1.13.7")
			s.settle()
			s.delete(s.config())
			s.settle()
			if s.get(machineName, &bootstrapv1.IngotConfig{}) {
				s.Error("the config waits to take back a token that was never lent")
			}
		},
	}
}

func base64Of(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// ofTalos makes a config one for Talos.
func ofTalos(c *bootstrapv1.IngotConfig) {
	c.Spec.Ignition = bootstrapv1.IgnitionConfig{}
	c.Spec.Talos = &bootstrapv1.TalosConfig{}
}

// waitsForTalos checks what is waited for, and that nothing was told to Cluster API.
func (s *story) waitsForTalos(reason string) (message string) {
	s.Helper()
	s.settle()
	message = s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionFalse, reason)
	if s.hasDataSecret() {
		s.Errorf("data was made while it waits for %s", reason)
	}
	return message
}

// createTalosSecret does what the provider of a control plane of Talos does.
func (s *story) createTalosSecret() talossecrets.Secrets {
	s.Helper()
	secrets, err := talossecrets.New(time.Now())
	if err != nil {
		s.Fatal(err)
	}
	s.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: talosSecret}, Type: clusterv1.ClusterSecretType, Data: secrets.Data()})
	return secrets
}

// pinImage does what the infrastructure provider does: it decides for an image, of a release of Talos. The image has the name
// of the story's namespace.
func (s *story) pinImage(version string) {
	s.Helper()
	image := builder.NodeImage(s.namespace, func(i *ingotv1.NodeImage) {
		i.Spec.OS = ingotv1.NodeImageOS{Family: ingotv1.OSFamilyTalos, Version: version}
		i.Spec.BootstrapFormats = []ingotv1.BootstrapFormat{ingotv1.BootstrapFormatTalos}
	})
	if err := s.client.Create(s.Context(), image); err != nil {
		s.Fatal(err)
	}
	machine := &infrav1.IngotMachine{}
	s.get(machineName, machine)
	patch(s, machine, func(m *infrav1.IngotMachine) {
		m.Spec.PinnedImage = infrav1.PinnedImage{Name: image.Name, SHA256: strings.Repeat("0", 64)}
	})
}
