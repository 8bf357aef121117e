// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package console_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/console"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

const id = "6f0c9d2e-1111-4222-8333-444455556666"

// opened is a session with the fake that counts its end.
type opened struct {
	*fake.Platform

	closed *int
}

func (opened) Check(context.Context) (string, error) { return "1", nil }

func (o opened) Close() { *o.closed++ }

// machine lives on an endpoint with credentials, and has printed something.
func machine(t *testing.T) (p *fake.Platform, objects []client.Object) {
	t.Helper()
	p = fake.New(fake.Options{})
	p.PutImage(platform.ImageIdentity{SHA256: "ab", Storage: "default"})
	req := platform.Request{
		Identity:    platform.Identity{UUID: id, ManagementClusterID: "m", Storage: "default"},
		ImageSHA256: "ab", CPUs: 1, MemoryBytes: 1 << 30, Firmware: platform.FirmwareUEFI,
	}
	if _, err := p.Ensure(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	p.PrintOnConsole(id, "first line\nkernel panic\n")
	infra := &infrav1.IngotMachine{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "worker"},
		Spec:       builder.IngotMachineSpec("image", "host"),
	}
	infra.Spec.ProviderID, infra.Spec.Placement.EndpointName = "ingot://"+id, "host"
	endpoint := builder.PlatformEndpoint("host", func(e *ingotv1.PlatformEndpoint) {
		e.Spec.ManagementClusterID = "m"
		e.Spec.CredentialsRef = ingotv1.SecretReference{Namespace: "ingot", Name: "keys"}
	})
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ingot", Name: "keys"}, Data: map[string][]byte{"tls.key": []byte("k")}}
	return p, []client.Object{infra, endpoint, secret}
}

// reader reads through objects and the fake, and tells what sessions it was opened with and how many were closed.
func reader(t *testing.T, p *fake.Platform, objects ...client.Object) (r console.Reader, settings *session.Settings, closed *int) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, infrav1.AddToScheme, ingotv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	settings, closed = &session.Settings{}, new(int)
	return console.Reader{
		Client: clientfake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build(),
		Clock:  clock.RealClock{},
		Open: func(s session.Settings, _ func(platform.Event)) (session.Session, error) {
			*settings = s
			return opened{p, closed}, nil
		},
	}, settings, closed
}

// A node that does not come up has nothing else to say why.
func TestRead(t *testing.T) {
	p, objects := machine(t)
	r, settings, closed := reader(t, p, objects...)
	text, err := r.Read(t.Context(), client.ObjectKey{Namespace: "n", Name: "worker"}, 13)
	if err != nil || string(text) != "kernel panic\n" {
		t.Errorf("read %q, %v", text, err)
	}
	if string(settings.Credentials["tls.key"]) != "k" || *closed != 1 {
		t.Errorf("opened with %v, closed %d times", settings.Credentials, *closed)
	}
}

// An endpoint that connects in a moment is waited for, one that does not for as long as the person likes.
func TestReadWaits(t *testing.T) {
	p, objects := machine(t)
	r, _, _ := reader(t, p, objects...)
	p.SetReachable(false)
	time.AfterFunc(50*time.Millisecond, func() { p.SetReachable(true) })
	if _, err := r.Read(t.Context(), client.ObjectKey{Namespace: "n", Name: "worker"}, 10); err != nil {
		t.Error(err)
	}
	p.SetReachable(false)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Read(ctx, client.ObjectKey{Namespace: "n", Name: "worker"}, 10); !errors.Is(err, platform.ErrUnreachable) {
		t.Errorf("an endpoint that stays away gives %v", err)
	}
}

// Whoever mistypes something is told what.
func TestReadRefusals(t *testing.T) {
	p, objects := machine(t)
	for name, c := range map[string]struct {
		change func([]client.Object) []client.Object
		says   string
	}{
		"no machine":    {func(o []client.Object) []client.Object { return o[1:] }, `"worker" not found`},
		"no endpoint":   {func(o []client.Object) []client.Object { return []client.Object{o[0], o[2]} }, "PlatformEndpoint host, which does not exist"},
		"no Secret":     {func(o []client.Object) []client.Object { return o[:2] }, "credentials of PlatformEndpoint host"},
		"no place yet":  {func(o []client.Object) []client.Object { return unplaced(o) }, "no place yet"},
		"not ours here": {func(o []client.Object) []client.Object { return ofAnother(o) }, "not ours"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, _ := reader(t, p, c.change(objects)...)
			_, err := r.Read(t.Context(), client.ObjectKey{Namespace: "n", Name: "worker"}, 10)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error that says %q", err, c.says)
			}
		})
	}
}

func unplaced(o []client.Object) []client.Object {
	infra := o[0].DeepCopyObject().(*infrav1.IngotMachine)
	infra.Spec.Placement, infra.Spec.Platform.Libvirt.EndpointName = infrav1.MachinePlacement{}, ""
	return append([]client.Object{infra}, o[1:]...)
}

func ofAnother(o []client.Object) []client.Object {
	endpoint := o[1].DeepCopyObject().(*ingotv1.PlatformEndpoint)
	endpoint.Spec.ManagementClusterID = "another"
	return []client.Object{o[0], endpoint, o[2]}
}
