// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package console reads what a machine wrote to its serial console, for a person: it finds the machine's endpoint and its
// credentials in the management cluster and asks the endpoint itself. It writes nothing anywhere and judges nothing.
package console

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

// askAgain is how soon an endpoint that is not connected yet is asked again.
const askAgain = 200 * time.Millisecond

// Reader reads consoles.
type Reader struct {
	// Client reads the management cluster. It needs to get the machine, its endpoint and the endpoint's Secret.
	Client client.Reader
	// Open opens a session with an endpoint.
	Open session.Opener
	// Clock is the time.
	Clock clock.Clock
}

// Read returns the last maxBytes of the console log of an IngotMachine. It asks until the endpoint answers or ctx ends.
// What it returns can hold secrets: a guest prints what it likes.
func (r Reader) Read(ctx context.Context, machine client.ObjectKey, maxBytes int64) ([]byte, error) {
	infra := &infrav1.IngotMachine{}
	if err := r.Client.Get(ctx, machine, infra); err != nil {
		return nil, err
	}
	endpoint, err := r.endpoint(ctx, infra)
	if err != nil {
		return nil, err
	}
	settings := session.Settings{Spec: endpoint.Spec}
	if ref := endpoint.Spec.CredentialsRef; ref.Name != "" {
		secret := &corev1.Secret{}
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, secret); err != nil {
			return nil, fmt.Errorf("credentials of PlatformEndpoint %s: %w", endpoint.Name, err)
		}
		settings.Credentials = secret.Data
	}
	open, err := r.Open(settings, func(platform.Event) {})
	if err != nil {
		return nil, fmt.Errorf("PlatformEndpoint %s: %w", endpoint.Name, err)
	}
	defer open.Close()
	reader, can := platform.As[platform.ConsoleReader](open)
	if !can {
		return nil, fmt.Errorf("PlatformEndpoint %s: its platform keeps no console log", endpoint.Name)
	}
	return r.ask(ctx, reader, platform.Identity{
		UUID:                strings.TrimPrefix(infra.Spec.ProviderID, "ingot://"),
		ManagementClusterID: endpoint.Spec.ManagementClusterID,
		Storage:             inventory.StorageOf(infra.Spec),
	}, maxBytes)
}

// endpoint is where the machine lives.
func (r Reader) endpoint(ctx context.Context, infra *infrav1.IngotMachine) (*ingotv1.PlatformEndpoint, error) {
	name := infra.Spec.Placement.EndpointName
	if name == "" {
		name, _ = inventory.WantedEndpoint(infra.Spec)
	}
	if name == "" || infra.Spec.ProviderID == "" {
		return nil, fmt.Errorf("IngotMachine %s/%s has no place yet, so it has no console: kubectl describe tells what it waits for", infra.Namespace, infra.Name)
	}
	endpoint := &ingotv1.PlatformEndpoint{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: name}, endpoint)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("IngotMachine %s/%s lives on PlatformEndpoint %s, which does not exist", infra.Namespace, infra.Name, name)
	}
	return endpoint, err
}

// ask asks until there is an answer. A session connects in the background.
func (r Reader) ask(ctx context.Context, reader platform.ConsoleReader, id platform.Identity, maxBytes int64) ([]byte, error) {
	for {
		text, err := reader.ReadConsole(ctx, id, maxBytes)
		if !errors.Is(err, platform.ErrUnreachable) {
			return text, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-r.Clock.After(askAgain):
		}
	}
}
