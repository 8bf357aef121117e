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
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/log"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

func secretStories() map[string]func(*story) {
	stories := map[string]func(*story){}
	for _, role := range []bootstrapv1.Role{bootstrapv1.RoleInit, bootstrapv1.RoleControlPlane, bootstrapv1.RoleWorker} {
		for block, choose := range map[string]func(*bootstrapv1.IngotConfig){
			"Ignition": func(*bootstrapv1.IngotConfig) {},
			"cloud-init": func(c *bootstrapv1.IngotConfig) {
				c.Spec.Ignition = bootstrapv1.IgnitionConfig{}
				c.Spec.CloudInit = &bootstrapv1.CloudInitConfig{}
			},
		} {
			stories["what is written of a machine with role "+string(role)+" and "+block+" holds no secret"] = func(s *story) { s.tellSecrets(role, choose) }
		}
	}
	return stories
}

// tellSecrets takes a machine from nothing to a joined Node, through everything that can go wrong with what is secret, and
// then searches every object but the Secrets that hold it, every write and every line of the log, at any verbosity.
func (s *story) tellSecrets(role bootstrapv1.Role, choose func(*bootstrapv1.IngotConfig)) {
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
	s.readyToPublish(role, choose)
	ca := &corev1.Secret{}
	s.get("demo-ca", ca)
	whole := ca.DeepCopy().Data
	patch(s, ca, func(c *corev1.Secret) { c.Data["tls.crt"] = whole["tls.key"] }) // somebody mixed them up
	passes()
	patch(s, ca, func(c *corev1.Secret) { c.Data = whole })
	passes()
	secrets := s.secretValues()
	if len(secrets) == 0 {
		s.Fatal("there are no secrets to search for")
	}
	if role != bootstrapv1.RoleInit {
		lent := s.lentToken()
		patch(s, lent, func(t *corev1.Secret) {
			t.Data["description"], t.Data["token-secret"] = []byte("somebody's"), []byte("0123456789abcdef")
		})
		passes()
		if err := s.client.Delete(s.Context(), lent); err != nil {
			s.Fatal(err)
		}
	}
	patch(s, s.dataSecret(), func(d *corev1.Secret) { d.OwnerReferences = nil })
	passes()
	s.disconnect()
	s.join()
	passes()
	texts := append(heard.texts(), s.everythingElse()...)
	for _, must := range []string{"Created bootstrap data", bootstrapv1.DataSecretAvailableCondition, bootstrapv1.WaitingForCertificatesReason} {
		if role != bootstrapv1.RoleInit && !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, must) }) {
			s.Errorf("the log and the writes are not heard: %q is nowhere", must)
		}
	}
	for _, text := range texts {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				s.Errorf("a secret of %d characters is in: %.60s...", len(secret), text)
			}
		}
	}
}

// secretValues are the secrets of the story: keys line by line and tokens, as they are and in base64.
func (s *story) secretValues() []string {
	s.Helper()
	list := &corev1.SecretList{}
	if err := s.client.List(s.Context(), list, client.InNamespace(s.namespace)); err != nil {
		s.Fatal(err)
	}
	var values []string
	for _, secret := range list.Items {
		for line := range strings.Lines(string(secret.Data["tls.key"])) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "-----") {
				values = append(values, line)
			}
		}
		if _, token, found := strings.Cut(string(secret.Data["bootstrap-token"]), "."); found {
			values = append(values, token)
		}
	}
	for _, value := range slices.Clone(values) {
		encoded := base64.StdEncoding.EncodeToString([]byte(value))
		values = append(values, encoded[4:len(encoded)-4])
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

func (l *listener) logger() logr.Logger {
	return funcr.New(func(prefix, args string) { l.add(prefix + " " + args) }, funcr.Options{Verbosity: 10})
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
