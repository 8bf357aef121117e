// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
)

// What the Secrets hold. Neither may be seen anywhere but in the bootstrap data.
const (
	registryPassword = "c0rrect-horse"
	agentToken       = "battery-staple\n"
)

// settingsWithSecrets refers to two Secrets, to one of them twice.
func settingsWithSecrets(c *bootstrapv1.IngotConfig) {
	credentials := bootstrapv1.RegistryCredentials{Username: "robot", PasswordFrom: secretValue("registry", "password")}
	c.Spec.Registries = []bootstrapv1.Registry{{
		Host: "docker.io", Credentials: credentials,
		Mirrors: []bootstrapv1.RegistryMirror{{URL: "https://mirror.example.com", Credentials: credentials}},
	}}
	c.Spec.Files = []bootstrapv1.File{{Path: "/etc/agent/token", ContentFrom: secretValue("agent", "token")}}
}

func secretValue(name, key string) bootstrapv1.ValueSource {
	return bootstrapv1.ValueSource{Secret: bootstrapv1.SecretKeyReference{Name: name, Key: key}}
}

func (s *story) createSecret(name string, data map[string][]byte) {
	s.Helper()
	s.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data})
}

func (s *story) putIntoSecret(name, key, value string) {
	s.Helper()
	found := &corev1.Secret{}
	s.get(name, found)
	patch(s, found, func(secret *corev1.Secret) {
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		secret.Data[key] = []byte(value)
	})
}

// message is the message of a condition; empty where there is none.
func (s *story) message(condition string) string {
	s.Helper()
	for _, c := range s.config().Status.Conditions {
		if c.Type == condition {
			return c.Message
		}
	}
	return ""
}

func settingsStories() map[string]func(*story) {
	stories := map[string]func(*story){
		"a config waits for the Secrets that it refers to, and says what is missing": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, settingsWithSecrets)
			expectWait := func(want string) {
				s.Helper()
				if result := s.settle(); result.RequeueAfter != 0 {
					s.Error("the Secret is watched, so nobody need look again")
				}
				s.expectCondition(bootstrapv1.DataSecretAvailableCondition, metav1.ConditionFalse, bootstrapv1.WaitingForSecretReason)
				if message := s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionFalse, bootstrapv1.WaitingForSecretReason); message != want {
					s.Errorf("the message is\n%s\nwant\n%s", message, want)
				}
				if s.hasDataSecret() {
					s.Error("a part was published")
				}
			}
			const (
				mirror   = "spec.registries[0].mirrors[0].credentials.passwordFrom.secret needs key password of Secret registry, which "
				registry = "spec.registries[0].credentials.passwordFrom.secret needs key password of Secret registry, which "
				file     = "spec.files[0].contentFrom.secret needs key token of Secret agent, which does not exist: create it"
			)
			expectWait(mirror + "does not exist: create it; " + registry + "does not exist: create it; " + file)
			s.createSecret("registry", map[string][]byte{"other": []byte(registryPassword)})
			expectWait(mirror + "has no such key: add it; " + registry + "has no such key: add it; " + file)
			s.createSecret("agent", map[string][]byte{"token": []byte(agentToken)})
			expectWait(mirror + "has no such key: add it; " + registry + "has no such key: add it")
			s.putIntoSecret("registry", "password", registryPassword)
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
			if got := s.file("/etc/agent/token"); got != agentToken {
				s.Errorf("the file holds %q", got)
			}
			header := "Basic " + base64.StdEncoding.EncodeToString([]byte("robot:"+registryPassword))
			if hosts := s.file("/etc/containerd/certs.d/docker.io/hosts.toml"); strings.Count(hosts, header) != 2 {
				s.Errorf("registry and mirror do not get the password:\n%s", hosts)
			}
		},
		"what a Secret holds is in the bootstrap data and nowhere else": tellNoLeak,
		"a disk whose key a TPM keeps needs a machine with a TPM": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, func(c *bootstrapv1.IngotConfig) {
				c.Spec.Ignition.Variant = bootstrapv1.IgnitionVariantFedoraCoreOS
				c.Spec.DiskEncryption.Key = bootstrapv1.DiskKeyTPM2
			})
			s.settle()
			message := s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionFalse, bootstrapv1.RenderFailedReason)
			if !strings.Contains(message, "spec.diskEncryption.key: the machine has no TPM: set trustedBoot.virtualTPM") || s.hasDataSecret() {
				s.Errorf("data made: %t, the message is %q", s.hasDataSecret(), message)
			}
			preview := s.preview(withoutSecrets(s.client))
			subject, _, err := preview.Look(s.Context(), s.key(machineName))
			if err != nil {
				s.Fatal(err)
			}
			rendering := preview.Render(subject)
			if err := rendering.Report.Err(); err == nil || err.Error() != message {
				s.Errorf("a preview says %v", err)
			}
			s.delete(&infrav1.IngotMachine{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: machineName}})
			machine := s.infraMachine()
			machine.Spec.ProviderID, machine.Spec.TrustedBoot.VirtualTPM = providerID, new(true)
			s.create(machine)
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
			s.expectData("ignition", "FedoraCoreOS", ignition.Validate, `"clevis":{"tpm2":true}`)
		},
		"data that was published does not follow its Secrets": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, settingsWithSecrets)
			s.createSecret("registry", map[string][]byte{"password": []byte(registryPassword)})
			s.createSecret("agent", map[string][]byte{"token": []byte(agentToken)})
			s.settle()
			before := s.dataSecret()
			s.putIntoSecret("agent", "token", "another")
			s.delete(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "registry"}})
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
			if s.dataSecret().ResourceVersion != before.ResourceVersion {
				s.Error("the data was rendered anew")
			}
		},
		"annotations are put on the Node when it has joined, and what others write stays": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, annotated)
			s.settle()
			s.joinAs(s.namespace, map[string]string{"other.example.com/a": "theirs"})
			s.disconnect()
			if result := s.settle(); result.RequeueAfter == 0 || len(s.config().Finalizers) == 0 {
				s.Error("the workload cluster does not answer, and nobody will try again")
			}
			s.connect()
			s.settle()
			if got := s.node(s.namespace).Annotations; got["example.com/rack"] != "r7, unit 12" || got["other.example.com/a"] != "theirs" {
				s.Errorf("annotations %v", got)
			}
			if s.lentToken() != nil || len(s.config().Finalizers) > 0 {
				s.Error("the token outlived the join")
			}
			node := s.node(s.namespace)
			patch(s, node, func(n *corev1.Node) { n.Annotations["example.com/rack"] = "r8" })
			s.settle()
			if s.node(s.namespace).Annotations["example.com/rack"] != "r8" {
				s.Error("annotations are written once; what an administrator changed was overwritten")
			}
		},
		"a Node that is gone again holds nothing up": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker, annotated)
			s.settle()
			s.join()
			s.settle()
			if len(s.config().Finalizers) > 0 {
				s.Error("the config waits for a Node that does not come back")
			}
		},
	}
	for at := 1; at <= mostWrites; at++ {
		for _, lost := range []bool{false, true} {
			stories[fmt.Sprintf("annotating, killed at write %d, answer lost: %t", at, lost)] = func(s *story) { tellAnnotationCrash(s, at, lost) }
		}
	}
	return stories
}

func annotated(c *bootstrapv1.IngotConfig) {
	c.Spec.Node.Annotations = map[string]bootstrapv1.AnnotationValue{"example.com/rack": "r7, unit 12"}
}

func tellAnnotationCrash(s *story, at int, lost bool) {
	s.readyToPublish(bootstrapv1.RoleWorker, annotated)
	s.writes.KillAt, s.writes.Lost = at, lost
	s.settleOverCrash()
	s.joinAs(s.namespace, nil)
	s.settleOverCrash()
	if s.node(s.namespace).Annotations["example.com/rack"] == "" || len(s.config().Finalizers) > 0 || s.lentToken() != nil {
		s.Error("the Node has no annotation, or the token outlived the join")
	}
}

// tellNoLeak looks at all that a person may read: conditions, events, the log. Values are bad in every way on the way.
func tellNoLeak(s *story) {
	var log bytes.Buffer
	logger := funcr.New(func(prefix, args string) { fmt.Fprintln(&log, prefix, args) }, funcr.Options{Verbosity: 10})
	pass := func() {
		s.Helper()
		for range 5 {
			if _, err := s.reconciler.Reconcile(logr.NewContext(s.Context(), logger), ctrl.Request{NamespacedName: s.key(machineName)}); err != nil {
				fmt.Fprintln(&log, err)
			}
		}
		seen, err := json.Marshal(s.config())
		if err != nil {
			s.Fatal(err)
		}
		events := &corev1.EventList{}
		if err := s.client.List(s.Context(), events, client.InNamespace(s.namespace)); err != nil {
			s.Fatal(err)
		}
		for _, secret := range []string{registryPassword, strings.TrimSpace(agentToken), base64.StdEncoding.EncodeToString([]byte("robot:" + registryPassword))} {
			if strings.Contains(string(seen)+log.String()+fmt.Sprint(events.Items), secret) {
				s.Errorf("%q can be read: config %s\nlog %s\nevents %v", secret, seen, log.String(), events.Items)
			}
		}
	}
	s.readyToPublish(bootstrapv1.RoleWorker, settingsWithSecrets)
	s.createSecret("agent", map[string][]byte{"token": []byte(agentToken)})
	s.createSecret("registry", map[string][]byte{"other": []byte(registryPassword)})
	pass()
	s.putIntoSecret("registry", "password", registryPassword+"\n")
	pass()
	message := s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionFalse, bootstrapv1.RenderFailedReason)
	if !strings.Contains(message, "line break") {
		s.Errorf("a password that no registry takes is not named: %s", message)
	}
	s.putIntoSecret("registry", "password", registryPassword)
	pass()
	s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
	if !strings.Contains(log.String(), "Created bootstrap data") {
		s.Error("the log was not looked at")
	}
}

// joinAs makes the Node and does what Cluster API does then. Nodes have no namespace, so their names must differ.
func (s *story) joinAs(name string, annotations map[string]string) {
	s.Helper()
	if err := s.client.Create(s.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}}); err != nil {
		s.Fatal(err)
	}
	patchStatus(s, s.machine(), func(m *clusterv1.Machine) { m.Status.NodeRef = clusterv1.MachineNodeReference{Name: name} })
}

func (s *story) node(name string) *corev1.Node {
	s.Helper()
	node := &corev1.Node{}
	if err := s.client.Get(s.Context(), client.ObjectKey{Name: name}, node); err != nil {
		s.Fatal(err)
	}
	return node
}
