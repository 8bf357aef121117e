// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/copying"
)

// An import makes the copy of an image from an OVA or a VMDK that is read from where it is published. It is a virtual machine
// with a name and an instance UUID of its own until the last byte was read and their digest is the declared one. Only then is
// the lease completed, and the virtual machine given the name of the copy, which a folder holds once: of two managers that
// import at once, one gets it, and the other removes what it has made. What has the name gets the instance UUID and the mark
// of the copy; the snapshot and the mark as template follow, as with a copy of a template.
//
// So a crash leaves either an import that has the name, with which the next manager goes on, or one that has not. That one
// proves to be ours and not to be finished by its mark, which names the image and its own instance UUID, and goes when the
// copy is complete or released. Before that, another manager may be at work on it.

const (
	// tidyBound is how long cleaning up may take.
	tidyBound = 30 * time.Second
	// sessionBound is how long an import waits for a session that was lost.
	sessionBound = 20 * time.Second
	// poolsField is where whoever has an endpoint says in which pools images are made.
	poolsField = "spec.vsphere.images[].resourcePools of the PlatformEndpoint"
)

// berth is where in vCenter the imports to a storage are made.
type berth struct {
	datastoreName      string
	folder, pool, host ref
	// path is where in the inventory the copy will be.
	path string
}

// beginImport takes an import that was finished and has the name of the copy already, or begins one.
func (s *Session) beginImport(ctx context.Context, c *client, req platform.ImageRequest, at where, datastore ref) error {
	folder, err := s.locate(ctx, c, "spec.folder of the ImageReplica", at.folder)
	if err != nil {
		return err
	}
	to := berth{datastoreName: path.Base(at.datastore), folder: folder, path: at.folder + "/" + imageName(req.ImageIdentity)}
	holder, err := s.holder(ctx, c, to.path)
	if err != nil {
		return err
	}
	if holder != nil {
		return s.take(ctx, c, req.ImageIdentity, *holder)
	}
	if to.host, to.pool, err = s.hostOf(ctx, c, req, datastore); err != nil {
		return err
	}
	free, err := c.freeBytes(ctx, datastore)
	if err != nil {
		return err
	}
	if free < req.SizeBytes {
		return fmt.Errorf("%w: datastore %s has %d MiB left, the artefact alone has %d: make room on it",
			platform.ErrCapacity, to.datastoreName, free>>20, req.SizeBytes>>20)
	}
	s.startImport(req, to)
	return nil
}

// startImport starts to import an artefact in the background of the session.
func (s *Session) startImport(req platform.ImageRequest, to berth) {
	s.imports.Start(s.importing, req.ImageIdentity, func(ctx context.Context, j *copying.Job) error {
		err := s.importImage(ctx, j, req, to)
		s.config.Log.V(1).Info("Image import ended", "sha256", req.SHA256, "storage", req.Storage, "error", err)
		return err
	}, func() { s.events(platform.Event{ImageSHA256: req.SHA256}) })
}

// holder returns what has the place of a copy in the inventory; nil when nothing has.
func (s *Session) holder(ctx context.Context, c *client, path string) (*source, error) {
	found, err := c.lookup(ctx, path)
	if errors.Is(err, errNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if found.kind != kindVM {
		return &source{vm: vm{ref: found, name: path}}, nil
	}
	return c.source(ctx, found)
}

// take makes an import that has the name of the copy the copy. What is somebody else's is not touched.
func (s *Session) take(ctx context.Context, c *client, id platform.ImageIdentity, holder source) error {
	switch {
	case holder.mark.copyOf == copyMark(id) && holder.instanceUUID == imageUUID(id):
		return nil // another manager was faster; the next look finds it
	case holder.mark.copyOf == copyMark(id) && holder.mark.importOf == "":
		return fmt.Errorf("%w: %s is the copy of %s and has not the instance UUID %s that copies of it have: something that the session does not see has it, "+
			"or somebody has cloned it; let the user see the folders where other management clusters have their images, and remove it",
			platform.ErrInvalid, holder.name, id.SHA256, imageUUID(id))
	case !holder.imports(id):
		return fmt.Errorf("%w: %s has the name of the copy of %s and is not one: rename it; nothing was changed", platform.ErrInvalid, holder.name, id.SHA256)
	}
	if made, err := c.find(ctx, imageUUID(id)); err != nil || len(made) > 0 {
		return err // another manager was faster, in another folder
	}
	task, err := c.identify(ctx, holder.ref, "", imageUUID(id), map[string]string{copyKey: copyMark(id), digestKey: id.SHA256, importKey: ""})
	if err != nil {
		return ignoreBusy(err)
	}
	s.note(subject{image: id}, work{task: task, what: "naming the import"}, nil)
	return nil
}

// imports tells whether a virtual machine is an import of an image, and not what a person has cloned from one.
func (m *vm) imports(id platform.ImageIdentity) bool {
	return m.instanceUUID != "" && m.mark.importOf == importMark(m.instanceUUID, id)
}

// hostOf returns a host that has a datastore mounted, and the resource pool in which an image is made there.
func (s *Session) hostOf(ctx context.Context, c *client, req platform.ImageRequest, datastore ref) (host, pool ref, err error) {
	mounted, err := c.mountedOn(ctx, datastore)
	if err != nil {
		return host, pool, err
	}
	if len(req.ResourcePools) > 0 {
		return s.hostInPools(ctx, c, req, mounted)
	}
	if host, err = c.working(ctx, mounted); err != nil {
		return host, pool, err
	}
	compute, err := c.reference(ctx, host, "parent")
	if err != nil {
		return host, pool, err
	}
	pool, err = s.poolOf(ctx, c, compute)
	return host, pool, err
}

// hostInPools returns the first of the pools that has one of some hosts which works, and that host.
func (s *Session) hostInPools(ctx context.Context, c *client, req platform.ImageRequest, mounted []ref) (host, pool ref, err error) {
	datacenter, _, _ := strings.Cut(req.Storage, "/")
	var reasons []string
	for _, path := range req.ResourcePools {
		pool, err = s.locate(ctx, c, poolsField, whereIn(datacenter, "", path).pool)
		if err == nil {
			pool, err = s.poolOf(ctx, c, pool)
		}
		if err != nil {
			return host, pool, err
		}
		behind, err := c.hostsBehind(ctx, pool)
		if err != nil {
			return host, pool, err
		}
		behind = slices.DeleteFunc(behind, func(h ref) bool { return !slices.Contains(mounted, h) })
		if len(behind) == 0 {
			reasons = append(reasons, path+": no host there has it mounted")
			continue
		}
		if host, err = c.working(ctx, behind); err == nil || !errors.Is(err, errNoHost) {
			return host, pool, err
		}
		reasons = append(reasons, path+": "+err.Error())
	}
	return ref{}, ref{}, fmt.Errorf("%w: %s: images cannot be put on %s in any of them: %s: name a pool of a cluster that has the datastore", platform.ErrInvalid,
		poolsField, req.Storage, strings.Join(reasons, "; "))
}

// importImage makes one import. Whatever goes wrong, the lease is not completed, and what was made is removed.
func (s *Session) importImage(ctx context.Context, j *copying.Job, req platform.ImageRequest, to berth) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	source, err := copying.Open(ctx, s.config.Clock, j, req)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	defer copying.Watch(s.config.Clock, j, cancel)()

	content := &content{from: source}
	disk, err := unpack(req.Format, content, req.SizeBytes)
	switch {
	case content.failure() != nil:
		return content.failure()
	case err != nil:
		return copying.Refuse(content, req, err)
	}
	own := uuid.NewString()
	made, err := s.fill(ctx, cancel, j, req, to, own, disk, content)
	if err == nil {
		err = s.settleName(ctx, req.ImageIdentity, to, made)
	}
	if err != nil {
		s.discard(ctx, req.ImageIdentity, own)
	}
	return err
}

// fill makes a virtual machine and sends it its disk. It is there for good only when everything was read and is what was
// declared.
func (s *Session) fill(
	ctx context.Context, cancel context.CancelCauseFunc, j *copying.Job, req platform.ImageRequest, to berth, own string, disk *parcel, content *content,
) (ref, error) {
	c, err := s.session(ctx)
	if err != nil {
		return ref{}, err
	}
	begun, err := c.importVApp(ctx, importing{
		name: importName(own), uuid: own, datastoreName: to.datastoreName, folder: to.folder, pool: to.pool, host: to.host,
		extra: map[string]string{importKey: importMark(own, req.ImageIdentity)}, blueprint: disk.blueprint, capacity: disk.capacity,
	})
	if err != nil {
		return ref{}, fmt.Errorf("the import of the disk: %w", err)
	}
	l, err := s.leaseReady(ctx, begun)
	if err == nil {
		stop := s.keepLease(ctx, l, func() int32 { return int32(min(j.Progress()*100/req.SizeBytes, 99)) }, cancel)
		err = s.send(ctx, l, disk, content)
		stop()
	}
	if err == nil {
		err = s.complete(ctx, l.ref)
	}
	if err != nil {
		err = s.leaseFailure(ctx, begun, err)
		s.abort(ctx, begun)
		return ref{}, err
	}
	return l.made, nil
}

// settleName gives a finished import the name of the copy. Where another manager's has it already, that is the copy.
func (s *Session) settleName(ctx context.Context, id platform.ImageIdentity, to berth, made ref) error {
	c, err := s.session(ctx)
	if err != nil {
		return err
	}
	task, err := c.rename(ctx, made, path.Base(to.path))
	if err == nil {
		err = s.await(ctx, c, task)
	}
	if err == nil {
		return nil
	}
	holder, lookErr := s.holder(ctx, c, to.path)
	switch {
	case lookErr != nil:
		return lookErr
	case holder != nil && holder.ref == made:
		return nil // only the answer was lost
	case errors.Is(err, platform.ErrUnreachable):
		return err
	case holder == nil && errors.Is(err, errNotFound):
		return leaseGone(err)
	case holder == nil:
		return fmt.Errorf("the import could not be given its name: %w", err)
	case holder.imports(id) || holder.mark.copyOf == copyMark(id):
		return errLate
	default:
		return s.take(ctx, c, id, *holder)
	}
}

// errLate says that another manager has made the copy meanwhile. It is no failure.
var errLate = errors.New("another manager was faster")

// tidying is a context for cleaning up after an import, also after one that was cancelled. It ends with the session: a vCenter
// that does not answer must not hold up whoever closes that.
func (s *Session) tidying(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyBound)
	go func() {
		select {
		case <-s.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// discard removes an import that was not finished. What it cannot remove is swept later. One that has the name of the copy is
// complete, and another manager may have taken it already: it stays.
func (s *Session) discard(ctx context.Context, id platform.ImageIdentity, own string) {
	ctx, cancel := s.tidying(ctx)
	defer cancel()
	c, err := s.acquire(ctx)
	var refs []ref
	if err == nil {
		refs, err = c.find(ctx, own)
	}
	if err == nil {
		err = s.removeImports(ctx, c, id, refs, func(m vm) bool { return m.name == imageName(id) })
	}
	if err != nil {
		s.config.Log.V(1).Info("An import was not removed, and is swept later", "uuid", own, "reason", err.Error())
	}
}

// sweep removes the imports of an image whose copy is complete: none of them will be used. That one is left is no trouble:
// the next look, or the end of the copy, removes it.
func (s *Session) sweep(ctx context.Context, c *client, id platform.ImageIdentity) {
	refs := s.mirror.imports(copyMark(id))
	if len(refs) == 0 {
		return
	}
	if err := s.removeImports(ctx, c, id, refs, nil); err != nil {
		s.config.Log.V(1).Info("Imports were not removed, and are swept later", "sha256", id.SHA256, "reason", err.Error())
	}
}

// removeImports removes the virtual machines that prove to be unfinished imports of an image, but for those that stay; nil means
// that none does. What they are is read anew.
func (s *Session) removeImports(ctx context.Context, c *client, id platform.ImageIdentity, refs []ref, stays func(vm) bool) error {
	vms, _, err := c.read(ctx, refs, ref{})
	if err != nil {
		return err
	}
	var failed []error
	for _, m := range vms {
		if !m.imports(id) || stays != nil && stays(m) {
			continue
		}
		task, err := c.destroy(ctx, m.ref)
		if err == nil {
			err = s.await(ctx, c, task)
		}
		if err != nil && !errors.Is(err, errNotFound) {
			failed = append(failed, fmt.Errorf("import %s: %w", m.name, err))
		}
	}
	return errors.Join(failed...)
}

// imported says why an import has failed, unless the copy is there all the same: another manager has made it.
func (s *Session) imported(ctx context.Context, id platform.ImageIdentity, failed error) error {
	if failed == nil || errors.Is(failed, errLate) {
		return nil
	}
	if c, err := s.acquire(ctx); err == nil {
		if copied, err := s.findCopy(ctx, c, id); err == nil && copied != nil {
			return nil
		}
	}
	return told(failed)
}

// session returns the client, and waits a while for it: an import that has run for an hour does not end because the session
// was renewed.
func (s *Session) session(ctx context.Context) (*client, error) {
	for end := s.config.Clock.Now().Add(sessionBound); ; {
		c, err := s.acquire(ctx)
		if err == nil || ctx.Err() != nil || !s.config.Clock.Now().Before(end) {
			return c, err
		}
		s.pause(ctx, 200*time.Millisecond)
	}
}
