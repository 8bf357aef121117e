// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/bootstrap/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/render"
)

func previewStories() map[string]func(*story) {
	return map[string]func(*story){
		"a preview is what is published, but for what is secret": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			if _, err := s.show(s.client, render.Shown); !errors.Is(err, controller.ErrNotPublished) {
				s.Errorf("before anything is published: %v", err)
			}
			s.settle()
			shown, err := s.show(s.client, render.Shown)
			if err != nil {
				s.Fatal(err)
			}
			hidden, err := s.show(withoutSecrets(s.client), render.Hidden)
			if err != nil {
				s.Fatal(err)
			}
			if !strings.Contains(shown, s.token()) || strings.Contains(hidden, s.token()) {
				s.Error("the token is not shown where it is asked for, or shown where it is not")
			}
			shown = strings.ReplaceAll(shown, s.token(), osfamily.PlaceholderToken)
			shown = regexp.MustCompile(`sha256:[0-9a-f]{64}`).ReplaceAllString(shown, "sha256:"+strings.Repeat("0", 64))
			if diff := cmp.Diff(shown, hidden); diff != "" {
				s.Errorf("what is shown is not what is published (-published +shown):\n%s", diff)
			}
		},
		"a preview of a machine without identity says so": func(s *story) {
			s.begin(bootstrapv1.RoleWorker)
			_, note, err := s.preview(withoutSecrets(s.client)).Look(s.Context(), s.key(machineName))
			if err != nil || !strings.Contains(note, "provider ID") {
				s.Errorf("note %q (%v)", note, err)
			}
		},
		"with secrets the right to read them is needed": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			s.settle()
			if _, err := s.show(withoutSecrets(s.client), render.Shown); !apierrors.IsForbidden(err) {
				s.Errorf("want a refusal, got %v", err)
			}
		},
	}
}

func (s *story) preview(c client.Client) controller.Preview {
	return controller.Preview{Client: c, Families: s.reconciler.Families}
}

// show is the configuration of the Machine as ingotctl render shows it.
func (s *story) show(c client.Client, secrets render.Secrets) (string, error) {
	report, err := render.FromMachine(s.Context(), s.preview(c), s.key(machineName), secrets)
	if err != nil {
		return "", err
	}
	return report.Machines[0].Config, report.Err()
}

// withoutSecrets is the client of somebody who may not read Secrets.
func withoutSecrets(c client.WithWatch) client.Client {
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, secret := o.(*corev1.Secret); secret {
				return apierrors.NewForbidden(corev1.Resource("secrets"), key.Name, errors.New("not you"))
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
}
