// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/rules"
)

// The copy of an image is a template on the storage that needs it, with an instance UUID that follows from digest and
// storage. It is made in three steps, each visible in what is there, so that a crash between them is no loss: a clone of the
// template that the NodeImage names or an import of its OVA or VMDK (see import.go), a snapshot (what linked clones are layers
// over), and the mark as template, which seals it: only a template is ready.

// templateScheme is the scheme of the source of an artefact that is a template; the template's instance UUID follows.
const templateScheme = "template://"

// EnsureImage implements platform.Platform.
func (s *Session) EnsureImage(ctx context.Context, req platform.ImageRequest) (platform.ImageObservation, error) {
	var none platform.ImageObservation
	if err := checkImageRequest(req); err != nil {
		return none, err
	}
	unlock, err := s.locks.Lock(ctx, imageUUID(req.ImageIdentity))
	if err != nil {
		return none, err
	}
	defer unlock()
	job, finished := s.imports.Take(req.ImageIdentity)
	if finished {
		if err := s.imported(ctx, req.ImageIdentity, job.Err); err != nil {
			return none, err
		}
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return none, err
	}
	if job != nil && !finished {
		return platform.ImageObservation{BytesDone: job.Progress()}, nil
	}
	of := subject{image: req.ImageIdentity}
	w, working := s.works.get(of)
	if working && w.silent(s.config.Clock.Now()) {
		return progress(req, w.percent), nil
	}
	if working {
		_, t, err := c.read(ctx, nil, w.task)
		if err != nil {
			return none, told(err)
		}
		var v view
		s.settle(of, w, t, &v)
		if v.making != "" {
			return progress(req, t.percent), nil
		}
		if err := s.copyFailed(ctx, c, req.ImageIdentity, v.failed); err != nil {
			return none, told(err)
		}
	}
	o, err := s.store(ctx, c, req)
	return o, told(err)
}

// copyFailed says why a step of a copy has failed, unless another manager has taken it: then there is no trouble.
func (s *Session) copyFailed(ctx context.Context, c *client, id platform.ImageIdentity, failed error) error {
	var taken nameTakenError
	switch {
	case failed == nil || errors.As(failed, &taken):
		return nil
	case errors.Is(failed, platform.ErrUnreachable):
		return failed
	}
	copied, err := s.findCopy(ctx, c, id)
	if err == nil && copied != nil && (copied.template || !copied.snapshot.zero()) {
		return nil
	}
	return fmt.Errorf("the copy of the image: %w", failed)
}

// progress is how much of a copy is there, in bytes of its source. What is left to do with an import reads nothing any more.
func progress(req platform.ImageRequest, percent int32) platform.ImageObservation {
	if req.Format != formatTemplate {
		return platform.ImageObservation{BytesDone: req.SizeBytes}
	}
	return platform.ImageObservation{BytesDone: req.SizeBytes / 100 * int64(percent)}
}

// store takes the copy of an image one step further.
func (s *Session) store(ctx context.Context, c *client, req platform.ImageRequest) (platform.ImageObservation, error) {
	var none platform.ImageObservation
	of := subject{image: req.ImageIdentity}
	at, err := whereOf(req.Storage, req.Folder, "")
	if err != nil {
		return none, err
	}
	datastore, err := s.locate(ctx, c, "the storage", at.datastore)
	if err != nil {
		return none, err
	}
	copied, err := s.findCopy(ctx, c, req.ImageIdentity)
	switch {
	case err != nil:
		return none, err
	case copied == nil && req.Format == formatTemplate:
		return none, s.beginCopy(ctx, c, req, datastore)
	case copied == nil:
		return none, s.beginImport(ctx, c, req, at, datastore)
	case copied.template:
		s.sweep(ctx, c, req.ImageIdentity)
		s.known.putSource(imageUUID(req.ImageIdentity), copied)
		return platform.ImageObservation{Ready: true, BytesDone: req.SizeBytes, ExternalID: copied.ref.value}, nil
	case copied.snapshot.zero():
		task, err := c.takeSnapshot(ctx, copied.ref)
		if err != nil {
			return none, s.copyFailed(ctx, c, req.ImageIdentity, ignoreBusy(err))
		}
		s.note(of, work{task: task, what: "taking a snapshot"}, nil)
		return progress(req, 100), nil
	default:
		return progress(req, 100), s.sealed(ctx, c, req.ImageIdentity, ignoreBusy(c.markAsTemplate(ctx, copied.ref)))
	}
}

// sealed says why a copy could not be marked as template, unless it is one: another manager was faster.
func (s *Session) sealed(ctx context.Context, c *client, id platform.ImageIdentity, failed error) error {
	if failed == nil || errors.Is(failed, platform.ErrUnreachable) {
		return failed
	}
	if copied, err := s.findCopy(ctx, c, id); err == nil && copied != nil && copied.template {
		return nil
	}
	return failed
}

// ignoreBusy drops the error of a step that somebody else is taking. The next call looks again.
func ignoreBusy(err error) error {
	if errors.Is(err, errBusy) || errors.Is(err, errNotFound) {
		return nil
	}
	return err
}

// findCopy returns the copy of an image, complete or not; nil when there is none.
func (s *Session) findCopy(ctx context.Context, c *client, id platform.ImageIdentity) (*source, error) {
	refs, err := c.find(ctx, imageUUID(id))
	if err != nil || len(refs) == 0 {
		return nil, err
	}
	copied, err := c.source(ctx, refs[0])
	if err != nil || copied == nil || copied.mark.copyOf == withdrawnMark(id) {
		return nil, err
	}
	if copied.mark.copyOf != copyMark(id) {
		return nil, fmt.Errorf("%w: virtual machine %s has the instance UUID of the copy of %s and does not say that it is one", platform.ErrInvalid, copied.name, id.SHA256)
	}
	return copied, nil
}

// copied returns the copy of an image if it is complete.
func (s *Session) copied(ctx context.Context, c *client, id platform.ImageIdentity) (*source, error) {
	if found := s.known.source(imageUUID(id)); found != nil {
		return found, nil
	}
	found, err := s.findCopy(ctx, c, id)
	if err != nil {
		return nil, err
	}
	if found == nil || !found.template {
		return nil, fmt.Errorf("%w: image %s is not on %s", platform.ErrImageNotReady, id.SHA256, id.Storage)
	}
	s.known.putSource(imageUUID(id), found)
	return found, nil
}

// beginCopy proves that the template is what the NodeImage says, and begins to copy it to the storage.
func (s *Session) beginCopy(ctx context.Context, c *client, req platform.ImageRequest, datastore ref) error {
	template, err := s.named(ctx, c, req)
	if err != nil {
		return err
	}
	host, pool, err := s.hostOf(ctx, c, req, datastore)
	if err != nil {
		return err
	}
	task, err := c.clone(ctx, order{
		from: *template, name: imageName(req.ImageIdentity), uuid: imageUUID(req.ImageIdentity),
		folder: template.parent, pool: pool, host: host, datastore: datastore,
		extra: map[string]string{copyKey: copyMark(req.ImageIdentity), digestKey: req.SHA256},
	})
	if err != nil {
		if _, taken := errors.AsType[nameTakenError](err); taken {
			return nil
		}
		return err
	}
	s.note(subject{image: req.ImageIdentity}, work{task: task, what: "copying the template"}, nil)
	return nil
}

// named returns the template that a NodeImage names, if it is what the NodeImage says.
func (s *Session) named(ctx context.Context, c *client, req platform.ImageRequest) (*source, error) {
	uuid := strings.TrimPrefix(req.Source, templateScheme)
	refs, err := c.find(ctx, uuid)
	if err != nil {
		return nil, err
	}
	if len(refs) > 1 {
		return nil, fmt.Errorf("%w: %d virtual machines have the instance UUID %s: give all but one another", platform.ErrInvalid, len(refs), uuid)
	}
	var template *source
	if len(refs) == 1 {
		if template, err = c.source(ctx, refs[0]); err != nil {
			return nil, err
		}
	}
	switch {
	case template == nil:
		return nil, fmt.Errorf("%w: no template has the instance UUID %s", platform.ErrSource, uuid)
	case !template.template:
		return nil, fmt.Errorf("%w: virtual machine %s is no template: what can be started can change", platform.ErrSource, template.name)
	case template.root() == nil:
		return nil, fmt.Errorf("%w: template %s has no disk", platform.ErrInvalid, template.name)
	case template.digest == "":
		return nil, fmt.Errorf("%w: template %s does not say what it was made from: record the digest of the artefact in its extra configuration as %s",
			platform.ErrDigestMismatch, template.name, digestKey)
	case template.digest != req.SHA256:
		return nil, fmt.Errorf("%w: template %s says that it was made from %s, and the NodeImage says %s", platform.ErrDigestMismatch, template.name, template.digest, req.SHA256)
	}
	return template, nil
}

// ReleaseImage implements platform.Platform. The template that the NodeImage names is never touched.
func (s *Session) ReleaseImage(ctx context.Context, id platform.ImageIdentity) error {
	if err := rules.CheckImage(id); err != nil {
		return err
	}
	unlock, err := s.locks.Lock(ctx, imageUUID(id))
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.imports.Abort(ctx, id); err != nil {
		return err
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	return told(s.releaseImage(ctx, c, id))
}

func (s *Session) releaseImage(ctx context.Context, c *client, id platform.ImageIdentity) error {
	if w, working := s.works.get(subject{image: id}); working {
		if err := s.await(ctx, c, w.task); errors.Is(err, platform.ErrUnreachable) {
			return err
		}
		s.works.end(subject{image: id})
	}
	copied, err := s.findCopy(ctx, c, id)
	if err != nil {
		return err
	}
	all, err := c.list(ctx)
	if err != nil {
		return err
	}
	user, unfinished, withdrawn := usesOf(id, all)
	if user != "" && (copied != nil || len(withdrawn) > 0) {
		return fmt.Errorf("%w: %s", platform.ErrInUse, user)
	}
	if len(unfinished) > 0 {
		if err := s.removeImports(ctx, c, id, unfinished, nil); err != nil {
			return err
		}
	}
	if copied != nil {
		s.known.putSource(imageUUID(id), nil)
		if err := s.withdraw(ctx, c, id, copied); err != nil {
			return err
		}
		withdrawn = append(withdrawn, copied.ref)
	}
	for _, left := range withdrawn {
		if err := s.removeWithdrawn(ctx, c, id, left); err != nil {
			return err
		}
	}
	if copied == nil {
		return s.seesImages(ctx, c, id)
	}
	return nil
}

// seesImages returns an error when the session does not see the folder in which this import was made, whichever is named for
// others by now: then that no copy was found proves nothing. A datacenter that is not there at all has none.
func (s *Session) seesImages(ctx context.Context, c *client, id platform.ImageIdentity) error {
	at, err := whereOf(id.Storage, id.Folder, "")
	if errors.Is(err, platform.ErrInvalid) {
		return nil // such a storage never was one
	}
	if err == nil {
		_, err = c.lookup(ctx, at.folder)
	}
	if !errors.Is(err, errNotFound) {
		return err
	}
	if _, err = c.lookup(ctx, at.datacenter); errors.Is(err, errNotFound) {
		return nil
	}
	return errors.Join(err, fmt.Errorf("%w: the session does not see the folder /%s, where the copy may be, so that nobody can tell whether it is gone: "+
		"give the user System.View and System.Read there, or make the folder again", platform.ErrUnreachable, at.folder))
}

func checkImageRequest(req platform.ImageRequest) error {
	if err := rules.CheckImage(req.ImageIdentity); err != nil {
		return err
	}
	uuid, is := strings.CutPrefix(req.Source, templateScheme)
	switch {
	case req.Format != formatTemplate && req.Format != formatOVA && req.Format != formatVMDK:
		return fmt.Errorf("%w: vSphere takes artefacts of format ova, vmdk or template, not %s", platform.ErrUnsupported, req.Format)
	case req.Format != formatTemplate && is:
		return fmt.Errorf("%w: the source %q is a template, and the format is %s: set format: template", platform.ErrInvalid, req.Source, req.Format)
	case req.Format == formatTemplate && (!is || !rules.IsUUID(uuid)):
		return fmt.Errorf("%w: the source %q is not %s and the instance UUID of a template", platform.ErrInvalid, req.Source, templateScheme)
	case req.Compression != "" && req.Compression != "None":
		return fmt.Errorf("%w: compression %s on vSphere: the disk in an OVA or a VMDK is compressed already; publish the file as it is", platform.ErrUnsupported, req.Compression)
	case req.SizeBytes < 1:
		return fmt.Errorf("%w: the size of the artefact is %d bytes", platform.ErrInvalid, req.SizeBytes)
	}
	return nil
}
