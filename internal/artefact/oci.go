// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// openOCI opens the layer of an OCI image or artefact whose digest is the declared one.
func (o Opener) openOCI(ctx context.Context, u *url.URL, source Source, reader *meter) (io.ReadCloser, error) {
	ref, err := name.ParseReference(strings.TrimPrefix(u.String(), "oci://"), name.StrictValidation)
	if err != nil {
		return nil, fmt.Errorf("%w: write oci://registry/repository:tag or @sha256:digest", ErrFormat)
	}
	repository := ref.Context()
	// The library's own attempts at what fails are left out with its other wrappings: they would wait on another clock.
	authorized, err := transport.NewWithContext(ctx, repository.Registry, authn.Anonymous, o.transport(),
		[]string{repository.Scope(transport.PullScope)})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSource, ofRegistry(err))
	}
	image, err := remote.Image(ref, remote.WithContext(ctx), remote.WithTransport(authorized))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSource, ofRegistry(err))
	}
	manifest, err := image.Manifest()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSource, ofRegistry(err))
	}
	layer, err := layerOf(manifest, source)
	if err != nil {
		return nil, err
	}
	// The library reads layers from their beginning only, so the layer is asked for as what it is: a file on a server.
	blob := &url.URL{
		Scheme: repository.Scheme(), Host: repository.RegistryStr(), Path: "/v2/" + repository.RepositoryStr() + "/blobs/" + layer.Digest.String(),
	}
	client := &http.Client{Transport: authorized, CheckRedirect: stayOutside}
	return o.start(ctx, &file{client: client, address: blob.String(), declared: source.SizeBytes, addressed: true}, reader)
}

// layerOf finds the layer with the declared digest.
func layerOf(manifest *v1.Manifest, source Source) (v1.Descriptor, error) {
	for _, l := range manifest.Layers {
		if l.Digest.Algorithm == "sha256" && l.Digest.Hex == source.SHA256 {
			return l, checkSize(l.Size, source.SizeBytes)
		}
	}
	return v1.Descriptor{}, fmt.Errorf("%w: none of its %d layers has the declared digest sha256:%s", ErrMismatch, len(manifest.Layers), source.SHA256)
}

// stayOutside lets a registry redirect to where it stores its layers, but not to an address behind our own walls. It is
// what the library does for manifests.
func stayOutside(req *http.Request, via []*http.Request) error {
	host := req.URL.Hostname()
	switch {
	case len(via) >= 10:
		return errors.New("the registry redirects without end")
	case host != via[0].URL.Hostname() && isInside(host):
		return fmt.Errorf("the registry redirects to the private address %s", host)
	default:
		return nil
	}
}

// isInside says whether a host is a private address, in whatever notation. Names are not looked up.
func isInside(host string) bool {
	host, _, _ = strings.Cut(host, "%")
	ip, err := netip.ParseAddr(host)
	if err != nil {
		// No name ends with a number: this is an address in an old notation, which nobody needs.
		labels := strings.Split(strings.TrimSuffix(host, "."), ".")
		last := labels[len(labels)-1]
		return last == "" || (last[0] >= '0' && last[0] <= '9')
	}
	return !ip.IsGlobalUnicast() || ip.IsPrivate()
}

// ofRegistry shortens what the library makes of a refusal, with URL and page, to what the registry says by its code.
func ofRegistry(err error) error {
	refusal, ok := errors.AsType[*transport.Error](err)
	if !ok {
		return withoutURL(err)
	}
	said := []string{answered(refusal.StatusCode)}
	for _, d := range refusal.Errors[:min(len(refusal.Errors), 3)] {
		said = append(said, fmt.Sprintf("%.40q", d.Code))
	}
	return errors.New(strings.Join(said, ", "))
}
