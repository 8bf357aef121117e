// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/artefact"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/copying"
)

// image is what the endpoint has of one artefact. A copy is finished by the first call after the one that started it,
// unless the test holds it.
type image struct {
	ready   bool
	copying bool
	held    bool
	done    int64
	fails   error
}

// EnsureImage implements platform.Platform.
func (p *Platform) EnsureImage(ctx context.Context, req platform.ImageRequest) (platform.ImageObservation, error) {
	o, ended, err := p.ensureImage(ctx, req)
	if ended {
		p.emit(platform.Event{ImageSHA256: req.SHA256})
	}
	return o, err
}

func (p *Platform) ensureImage(ctx context.Context, req platform.ImageRequest) (o platform.ImageObservation, ended bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.begin(Call{Method: "EnsureImage", ImageSHA256: req.SHA256}); err != nil {
		return o, false, err
	}
	if err := p.admitImage(req); err != nil {
		return o, false, err
	}
	i := p.image(req.ImageIdentity)
	switch {
	case i.ready:
	case !i.copying:
		i.copying = true
		return o, false, nil
	case i.held:
		return platform.ImageObservation{BytesDone: i.done}, false, nil
	default:
		i.copying = false
		if err := p.copy(ctx, req, i); err != nil {
			return o, true, err
		}
		ended = true
	}
	return platform.ImageObservation{Ready: true, BytesDone: req.SizeBytes, ExternalID: "fake/" + req.Storage + "/" + req.SHA256}, ended, nil
}

func (p *Platform) admitImage(req platform.ImageRequest) error {
	switch {
	case req.SHA256 == "" || req.SizeBytes < 1:
		return fmt.Errorf("%w: the artefact is incomplete", platform.ErrInvalid)
	case req.Format != "qcow2" && req.Format != "raw":
		return fmt.Errorf("%w: format %s", platform.ErrUnsupported, req.Format)
	case !p.hasStorage(req.Storage):
		return fmt.Errorf("%w: there is no storage %s", platform.ErrInvalid, req.Storage)
	}
	return nil
}

// copy finishes a copy: as scripted, or as its source says.
func (p *Platform) copy(ctx context.Context, req platform.ImageRequest, i *image) error {
	if err := i.fails; err != nil {
		i.fails = nil
		return err
	}
	if p.options.ReadSources {
		if err := read(ctx, req); err != nil {
			return err
		}
	}
	return p.effect(StoreImage, func() { i.ready = true })
}

// read reads an artefact to its end.
func read(ctx context.Context, req platform.ImageRequest) error {
	r, err := artefact.Opener{}.Open(ctx, artefact.Source{
		URL: req.Source, Compression: req.Compression, SHA256: req.SHA256, SizeBytes: req.SizeBytes,
	})
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		err = errors.Join(err, r.Close())
	}
	if err != nil {
		return copying.Translate(err)
	}
	return nil
}

// ReleaseImage implements platform.Platform.
func (p *Platform) ReleaseImage(_ context.Context, id platform.ImageIdentity) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.begin(Call{Method: "ReleaseImage", ImageSHA256: id.SHA256}); err != nil {
		return err
	}
	for uuid, i := range p.instances {
		if i.disk && i.req.ImageSHA256 == id.SHA256 && i.req.Storage == id.Storage {
			return fmt.Errorf("%w: instance %s", platform.ErrInUse, uuid)
		}
	}
	if p.images[id] == nil {
		return nil
	}
	return p.effect(DeleteImage, func() { delete(p.images, id) })
}

// image returns the record of an artefact. The caller holds the lock.
func (p *Platform) image(id platform.ImageIdentity) *image {
	i := p.images[id]
	if i == nil {
		i = &image{}
		p.images[id] = i
	}
	return i
}
