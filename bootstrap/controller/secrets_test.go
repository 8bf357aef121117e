// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/log"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talossecrets"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/render"
)

// secretBlock is an operating system block, and the Secrets that its family lets a config refer to.
type secretBlock struct {
	choose            func(*bootstrapv1.IngotConfigSpec)
	registries, files bool
	// workers says that the family has no other roles.
	workers bool
}

func secretBlocks() map[string]secretBlock {
	ignition := func(variant bootstrapv1.IgnitionVariant) secretBlock {
		return secretBlock{choose: func(c *bootstrapv1.IngotConfigSpec) { c.Ignition.Variant = variant }, registries: true, files: true}
	}
	kairos := func(distribution bootstrapv1.KairosDistribution) func(*bootstrapv1.IngotConfigSpec) {
		return func(c *bootstrapv1.IngotConfigSpec) { c.Kairos.Distribution = distribution }
	}
	return map[string]secretBlock{
		"Generic":             ignition(bootstrapv1.IgnitionVariantGeneric),
		"Flatcar":             ignition(bootstrapv1.IgnitionVariantFlatcar),
		"Fedora CoreOS":       ignition(bootstrapv1.IgnitionVariantFedoraCoreOS),
		"cloud-init":          {choose: func(c *bootstrapv1.IngotConfigSpec) { c.CloudInit = &bootstrapv1.CloudInitConfig{} }, registries: true, files: true},
		"Talos":               {choose: func(c *bootstrapv1.IngotConfigSpec) { c.Talos = &bootstrapv1.TalosConfig{} }, registries: true},
		"Bottlerocket":        {choose: func(c *bootstrapv1.IngotConfigSpec) { c.Bottlerocket = &bootstrapv1.BottlerocketConfig{} }, registries: true, workers: true},
		"Kairos with kubeadm": {choose: kairos(bootstrapv1.KairosDistributionKubeadm), registries: true, files: true},
		"Kairos with k3s":     {choose: kairos(bootstrapv1.KairosDistributionK3s), registries: true, files: true, workers: true},
		"Kairos with k0s":     {choose: kairos(bootstrapv1.KairosDistributionK0s), files: true, workers: true},
	}
}

func secretStories() map[string]func(*story) {
	stories := map[string]func(*story){}
	for name, block := range secretBlocks() {
		for _, role := range []bootstrapv1.Role{bootstrapv1.RoleInit, bootstrapv1.RoleControlPlane, bootstrapv1.RoleWorker} {
			if !block.workers || role == bootstrapv1.RoleWorker {
				stories["what is written of a machine with role "+string(role)+" and "+name+" holds no secret"] = func(s *story) { s.tellSecrets(role, block) }
			}
		}
	}
	return stories
}

// config chooses the operating system, and refers to all Secrets that it can use.
func (b secretBlock) config(c *bootstrapv1.IngotConfig) {
	c.Spec.Ignition = bootstrapv1.IgnitionConfig{}
	b.choose(&c.Spec)
	all := c.DeepCopy()
	settingsWithSecrets(all)
	if b.registries {
		c.Spec.Registries = all.Spec.Registries
	}
	if b.files {
		c.Spec.Files = all.Spec.Files
	}
}

// tellSecrets takes a machine from nothing to a joined Node, through everything that can go wrong with what is secret, and
// then searches every object but the Secrets that hold it, every write, every line of the log up to verbosity 7, and what
// ingotctl render shows.
func (s *story) tellSecrets(role bootstrapv1.Role, block secretBlock) {
	s.Helper()
	heard := &listener{}
	s.reconciler = s.newReconciler(heard.through(s.client))
	s.workload.through = heard.through
	ctx := log.IntoContext(s.Context(), heard.logger())
	passes := func() {
		s.Helper()
		for range 4 {
			if _, err := s.reconciler.Reconcile(ctx, ctrl.Request{NamespacedName: s.key(machineName)}); err != nil {
				heard.add(err.Error()) // the queue logs it
			}
		}
	}
	s.readyToPublish(role, block.config)
	s.tellReferred(block, passes)
	secrets := s.secretValues()
	if len(secrets) == 0 {
		s.Fatal("there are no secrets to search for")
	}
	if role != bootstrapv1.RoleInit && s.config().Spec.Talos == nil { // Talos joins without a token
		lent := s.lentToken()
		if lent == nil {
			s.Fatal("no token was lent")
		}
		patch(s, lent, func(t *corev1.Secret) {
			t.Data["description"], t.Data["token-secret"] = []byte("somebody's"), []byte("0123456789abcdef")
		})
		passes()
		if err := s.client.Delete(s.Context(), lent); err != nil {
			s.Fatal(err)
		}
	}
	shown, err := s.show(withoutSecrets(s.client), render.Hidden)
	if err != nil || shown == "" {
		s.Errorf("ingotctl render shows %d bytes (%v)", len(shown), err)
	}
	patch(s, s.dataSecret(), func(d *corev1.Secret) { d.OwnerReferences = nil })
	passes()
	s.disconnect()
	s.join()
	passes()
	texts := append(heard.texts(), s.everythingElse()...)
	texts = append(texts, shown)
	must := []string{"Created bootstrap data", bootstrapv1.DataSecretAvailableCondition, bootstrapv1.WaitingForSecretReason}
	if role != bootstrapv1.RoleInit {
		must = append(must, bootstrapv1.WaitingForCertificatesReason)
	}
	if block.registries {
		must = append(must, "line break")
	}
	s.expectHeard(texts, must)
	for _, text := range texts {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				s.Errorf("a secret of %d characters is in: %.60s...", len(secret), text)
			}
		}
	}
}

// expectHeard demands that each word was said somewhere: a search of nothing finds nothing.
func (s *story) expectHeard(texts, words []string) {
	s.Helper()
	for _, word := range words {
		if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, word) }) {
			s.Errorf("the log and the writes are not heard: %q is nowhere", word)
		}
	}
}

// tellReferred goes from no Secret at all to published data. Every Secret that the machine needs is missing first, then holds
// what is of no use, and then what it should.
func (s *story) tellReferred(block secretBlock, passes func()) {
	s.Helper()
	ca := &corev1.Secret{}
	s.get("demo-ca", ca)
	whole := ca.DeepCopy().Data
	patch(s, ca, func(c *corev1.Secret) { c.Data["tls.crt"] = whole["tls.key"] }) // somebody mixed them up
	passes()
	patch(s, ca, func(c *corev1.Secret) { c.Data = whole })
	if s.config().Spec.Talos != nil {
		passes()
		s.createTalosSecret()
		s.pinImage("v1.14.1")
	}
	passes()
	s.createSecret("agent", map[string][]byte{"other": []byte(agentToken)})
	s.createSecret("registry", map[string][]byte{"password": []byte(registryPassword + "\n")})
	passes()
	s.putIntoSecret("agent", "token", agentToken)
	passes()
	s.putIntoSecret("registry", "password", registryPassword)
	passes()
	s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
	if value := string(s.dataSecret().Data["value"]); value == "" {
		s.Errorf("nothing was rendered for %v", block)
	}
}

// secretValues are the secrets of the story: keys line by line, tokens, passwords and contents, as they are and in base64.
func (s *story) secretValues() []string {
	s.Helper()
	list := &corev1.SecretList{}
	if err := s.client.List(s.Context(), list, client.InNamespace(s.namespace)); err != nil {
		s.Fatal(err)
	}
	values := []string{registryPassword, strings.TrimSpace(agentToken), "robot:" + registryPassword}
	for _, secret := range list.Items {
		for _, key := range []string{
			"tls.key", talossecrets.CAKeyKey, talossecrets.ClusterSecretKey, talossecrets.MachineTokenKey, talossecrets.BootstrapTokenKey, talossecrets.SecretboxKeyKey,
		} {
			for line := range strings.Lines(string(secret.Data[key])) {
				if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "-----") {
					values = append(values, line)
				}
			}
		}
		if _, token, found := strings.Cut(string(secret.Data["bootstrap-token"]), "."); found {
			values = append(values, token)
		}
	}
	for _, value := range slices.Clone(values) {
		if encoded := base64.StdEncoding.EncodeToString([]byte(value)); len(encoded) > 12 {
			values = append(values, encoded[4:len(encoded)-4])
		}
	}
	return values
}

// everythingElse is every object of the namespace that is no Secret, as the API server has it.
func (s *story) everythingElse() []string {
	s.Helper()
	var texts []string
	for _, list := range []client.ObjectList{&bootstrapv1.IngotConfigList{}, &corev1.EventList{}, &corev1.ConfigMapList{}} {
		if err := s.client.List(s.Context(), list, client.InNamespace(s.namespace)); err != nil {
			s.Fatal(err)
		}
		texts = append(texts, asText(list))
	}
	return append(texts, asText(s.machine()), asText(s.cluster()))
}

func asText(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// listener hears all that a reconciler says: its log and what it writes to objects that are no Secret.
type listener struct {
	mu    sync.Mutex
	heard bytes.Buffer
}

func (l *listener) add(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard.WriteString(text + "\n")
}

func (l *listener) texts() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(l.heard.String(), "\n")
}

// logger hears what is said up to verbosity 7. From 8 on client-go itself writes the bodies of requests, those of Secrets too.
func (l *listener) logger() logr.Logger {
	return funcr.New(func(prefix, args string) { l.add(prefix + " " + args) }, funcr.Options{Verbosity: 7})
}

// through returns a client that is listened to.
func (l *listener) through(c client.WithWatch) client.WithWatch {
	hear := func(o runtime.Object, p client.Patch) {
		object, is := o.(client.Object)
		if _, secret := o.(*corev1.Secret); secret || !is {
			return
		}
		if p != nil {
			data, err := p.Data(object)
			l.add(string(data))
			if err != nil {
				l.add(err.Error())
			}
		}
		l.add(asText(object))
	}
	return interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			hear(o, nil)
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			hear(o, nil)
			return c.Update(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			hear(o, p)
			return c.Patch(ctx, o, p, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			hear(o, p)
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
}
