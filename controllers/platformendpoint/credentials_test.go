// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint_test

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/platformendpoint"
)

func TestCredentials(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"the session is opened with what is in the Secret":         opensWithSecret,
		"a Secret that does not exist is named, with its keys":     missingSecret,
		"a key that is not there is named":                         missingKey,
		"a key that is empty is as good as none":                   emptyKey,
		"a vCenter lets nobody in without a password":              missingPassword,
		"a Secret that may not be read says what right is missing": forbiddenSecret,
		"an API server that hiccups says nothing about the Secret": hiccup,
		"a session that is open goes on without its Secret":        goesOn,
	})
}

func overTLS(e *ingotv1.PlatformEndpoint) { e.Spec.Libvirt.URI = "qemu+tls://host.example.com/system" }

func overSSH(e *ingotv1.PlatformEndpoint) {
	e.Spec.Libvirt.URI = "qemu+libssh://admin@host.example.com/system"
}

func withSecret(secret *corev1.Secret) func(*ingotv1.PlatformEndpoint) {
	return func(e *ingotv1.PlatformEndpoint) {
		e.Spec.CredentialsRef = ingotv1.SecretReference{Namespace: secret.Namespace, Name: secret.Name}
	}
}

func tlsKeys(key string) map[string][]byte {
	return map[string][]byte{"ca.crt": []byte("ca"), "tls.crt": []byte("certificate"), "tls.key": []byte(key)}
}

// secret creates a Secret for the story's endpoint; without data it only says what it would be called.
func (s *story) secret(data map[string][]byte) *corev1.Secret {
	s.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace(), Name: "host"}, Data: data}
	if data != nil {
		s.create(secret)
	}
	return secret
}

func opensWithSecret(s *story) {
	s.begin(overTLS, withSecret(s.secret(tlsKeys("private"))))
	manager := s.manager()
	s.pass(manager)
	s.expect(metav1.ConditionTrue, ingotv1.PlatformEndpointReadyReason, "")
	if got := string(s.host.last().Credentials["tls.key"]); got != "private" {
		s.Errorf("the session was opened with the key %q", got)
	}
	s.pass(manager)
	if n := len(s.host.settings); n != 1 {
		s.Errorf("%d sessions were opened for one Secret", n)
	}
}

// missingSecret: the person who reads this has made the endpoint a minute ago, and makes the Secret next.
func missingSecret(s *story) {
	secret := s.secret(nil)
	s.begin(overTLS, withSecret(secret))
	manager := s.manager()
	result := s.pass(manager)
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointCredentialsReason, s.name+"/host")
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointCredentialsReason, "ca.crt, tls.crt, tls.key")
	if result.RequeueAfter == 0 {
		s.Error("a manager that may not watch the namespace of the Secret would never see it")
	}
	if n := s.host.sessions(); n != 0 {
		s.Errorf("%d sessions are open without credentials", n)
	}
	secret.Data = tlsKeys("private")
	s.create(secret)
	s.pass(manager)
	s.expect(metav1.ConditionTrue, ingotv1.PlatformEndpointReadyReason, "")
}

func missingKey(s *story) {
	s.begin(overSSH, withSecret(s.secret(map[string][]byte{"ssh-privatekey": []byte("private")})))
	s.pass(s.manager())
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointCredentialsReason, s.name+"/host of spec.credentialsRef has no key known_hosts")
}

func missingPassword(s *story) {
	vCenter := func(e *ingotv1.PlatformEndpoint) {
		e.Spec.Libvirt, e.Spec.VSphere = ingotv1.LibvirtEndpoint{}, ingotv1.VSphereEndpoint{Server: "vcenter.example.org"}
	}
	s.begin(vCenter, withSecret(s.secret(map[string][]byte{"username": []byte("ingot")})))
	s.pass(s.manager())
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointCredentialsReason, s.name+"/host of spec.credentialsRef has no key password, which vCenter needs")
}

func emptyKey(s *story) {
	data := tlsKeys("private")
	data["tls.key"] = nil
	s.begin(overTLS, withSecret(s.secret(data)))
	s.pass(s.manager())
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointCredentialsReason, s.name+"/host of spec.credentialsRef has no key tls.key")
}

// failing is a reader that fails.
type failing struct {
	client.Reader

	err error
}

// Get implements client.Reader.
func (f failing) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return f.err
}

func secretsFail(err error) func(*platformendpoint.Reconciler) {
	return func(r *platformendpoint.Reconciler) { r.SecretReader = failing{r.SecretReader, err} }
}

func forbiddenSecret(s *story) {
	s.begin(overTLS, withSecret(s.secret(tlsKeys("private"))))
	s.pass(s.manager(secretsFail(apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "host", errors.New("no right")))))
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointCredentialsReason, "get Secrets in namespace "+s.name)
}

// hiccup: a person must not be sent to look at a Secret that is in order.
func hiccup(s *story) {
	s.begin(overTLS, withSecret(s.secret(tlsKeys("private"))))
	s.pass(s.manager())
	if _, err := s.reconcile(s.manager(secretsFail(errors.New("etcd is electing a leader")))); err == nil {
		s.Error("it is not tried again soon")
	}
	s.expect(metav1.ConditionTrue, ingotv1.PlatformEndpointReadyReason, "")
}

// goesOn: machines on the endpoint live on what was read before. That the Secret is gone is told, and costs nobody a
// machine.
func goesOn(s *story) {
	secret := s.secret(tlsKeys("private"))
	s.begin(overTLS, withSecret(secret))
	manager := s.manager()
	s.pass(manager)
	delete(secret.Data, "tls.key")
	if err := apiServer.Update(s.Context(), secret); err != nil {
		s.Fatal(err)
	}
	s.pass(manager)
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointCredentialsReason, "tls.key")
	s.delete(secret)
	s.after(time.Hour, manager)
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointCredentialsReason, "does not exist")
	if _, err := manager.Sessions.Platform(s.name); err != nil || s.host.sessions() != 1 || len(s.host.settings) != 1 {
		s.Errorf("the session does not go on: %v; %d are open, %d were opened", err, s.host.sessions(), len(s.host.settings))
	}
}
