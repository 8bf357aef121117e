// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/rehearsal"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// RestoreRequest is a snapshot to restore for the first Machine of a control plane. Everything but Canary is required, where
// Location has a default.
type RestoreRequest struct {
	// ControlPlane is whose Machine it is for.
	ControlPlane types.NamespacedName
	// Location is where the snapshot is stored, and Snapshot its name there.
	Location store.Location
	Snapshot string
	// Canary is a key that must be in it, empty for none.
	Canary string
	// Upload is whether the manager itself takes it to the Machine. Otherwise the Machine fetches it.
	Upload bool `json:",omitempty"`
}

// check keeps namespaces apart where not the credentials of one of them decide what may be read.
func (r RestoreRequest) check() error {
	shared := r.Location.URL == "" || r.Location.Credentials == nil
	if own := r.ControlPlane.Namespace + "/"; shared && !strings.HasPrefix(r.Snapshot, own) {
		return fmt.Errorf("snapshot %s is of another namespace: from %s without credentials of its own, a control plane restores only what begins with %s", r.Snapshot, r.Location, own)
	}
	return r.Location.Validate()
}

func (r RestoreRequest) mark() [sha256.Size]byte {
	content, err := json.Marshal(r)
	if err != nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(content)
}

// Restored is a snapshot that was restored, and that a Machine can fetch, or that can be taken to it.
type Restored struct {
	// Restore says where the files are, for a Machine that fetches them. It is secret.
	Restore osfamily.Restore
	// Open opens what was restored as a snapshot in its turn, to be taken to a Machine; nil where that fetches it.
	Open func() (io.ReadCloser, error)
}

func (Restored) state() {}

// RestoreOptions are what a Restorer needs. Every field is required, except URL.
type RestoreOptions struct {
	// Dir is a folder for what was restored, until it is forgotten: it should outlive the process, and nobody else may read it. It
	// is made where there is a URL.
	Dir string
	// URL is the https address under which Machines reach the Handler, empty where they do not.
	URL string
	// Store, Rehearser and Clock are as in Options.
	Store     store.Options
	Rehearser Rehearser
	Clock     clock.PassiveClock
	// Ended is called when the job of a control plane has ended, and at the start for each that something was restored for:
	// whoever knows that it is gone forgets it. It may not block for long.
	Ended func(key types.NamespacedName)
}

// Restorer restores snapshots for the first Machines of control planes, one after the other, and serves them what it has
// restored: to whoever knows the address, which holds a secret. It is safe for concurrent use, and only Wait blocks.
type Restorer struct {
	*keeper[RestoreRequest]

	options RestoreOptions
	base    string
	// identity is what the Handler is served with.
	identity *shown
}

// NewRestorer makes a Restorer, whose jobs end with the context, and removes what killed ones have left.
func NewRestorer(ctx context.Context, options RestoreOptions) (*Restorer, error) {
	r := &Restorer{options: options, base: strings.TrimSuffix(options.URL, "/")}
	if err := r.tidy(); err != nil {
		return nil, err
	}
	if options.URL != "" {
		if err := r.prepare(); err != nil {
			return nil, err
		}
	}
	r.keeper = newKeeper(ctx, options.Clock, options.Ended, 1, r.restore)
	kept, err := r.kept()
	for _, k := range kept {
		options.Ended(k.ControlPlane)
	}
	return r, err
}

// tidy removes what killed ones have left.
func (r *Restorer) tidy() error {
	if err := sweep(r.options.Dir); err != nil {
		return fmt.Errorf("removing what killed restores left in %s: %w", r.options.Dir, err)
	}
	return r.removeBroken()
}

// prepare makes ready what a Machine can fetch from.
func (r *Restorer) prepare() error {
	u, err := url.Parse(r.options.URL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("%q is no address that Machines could fetch restored snapshots from: write https://host:port", r.options.URL)
	}
	if err := os.MkdirAll(r.options.Dir, 0o700); err != nil {
		return fmt.Errorf("making the folder for what is restored: %w", err)
	}
	r.identity = &shown{file: filepath.Join(r.options.Dir, identityFile), host: u.Hostname(), clock: r.options.Clock}
	_, err = r.identity.now()
	return err
}

// Forget ends what is under way for a control plane, and removes what was restored for it.
func (r *Restorer) Forget(key types.NamespacedName) error {
	r.keeper.Forget(key)
	return r.remove(key)
}

// restore restores a snapshot, unless that was done.
func (r *Restorer) restore(ctx context.Context, request RestoreRequest, report func(Running)) (State, error) {
	report(Running{Phase: Looking})
	if r.base == "" && !request.Upload {
		return nil, errors.New("there is nowhere for Machines to fetch what is restored: start the manager with --restore-url, the https address under which they reach its --restore-bind-address")
	}
	mark := request.mark()
	kept, err := r.kept()
	if err != nil {
		return nil, err
	}
	for token, k := range kept {
		if k.Mark == hex.EncodeToString(mark[:]) {
			return r.tell(request, token, k)
		}
	}
	if err := r.remove(request.ControlPlane); err != nil {
		return nil, err
	}
	folder, err := newScratch(r.options.Dir)
	if err != nil {
		return nil, err
	}
	token, k, err := r.make(ctx, request, folder, report)
	if err = errors.Join(err, folder.remove()); err != nil {
		return nil, err
	}
	return r.tell(request, token, k)
}

// make fetches, restores, and lays out.
func (r *Restorer) make(ctx context.Context, request RestoreRequest, folder *scratch, report func(Running)) (string, keptRestore, error) {
	report(Running{Phase: Fetching})
	mark := request.mark()
	k := keptRestore{Mark: hex.EncodeToString(mark[:]), ControlPlane: request.ControlPlane, Snapshot: request.Snapshot}
	place, err := store.Open(ctx, request.Location, r.options.Store)
	if err != nil {
		return "", k, err
	}
	defer func() { _ = place.Close() }()
	trial := Trial{Store: place, Name: request.Snapshot, Canary: request.Canary, KeepDir: folder.path("kept"), Keep: true, Rehearser: r.options.Rehearser}
	if _, _, err := Check(ctx, trial); err != nil {
		return "", k, err
	}
	report(Running{Phase: LayingOut})
	data := filepath.Join(trial.KeepDir, rehearsal.Data)
	if k.Files, err = filesIn(data); err != nil {
		return "", k, err
	}
	content, err := json.Marshal(k)
	if err != nil {
		return "", k, err
	}
	if err := os.WriteFile(filepath.Join(data, indexFile), content, 0o600); err != nil {
		return "", k, err
	}
	token := make([]byte, tokenBytes)
	_, _ = rand.Read(token) // it never fails
	name := hex.EncodeToString(token)
	final := filepath.Join(r.options.Dir, name)
	if err := os.Rename(data, final); err != nil {
		return "", k, hushed(err)
	}
	if ctx.Err() != nil { // whoever forgot it has removed what was there before
		return "", k, errors.Join(context.Cause(ctx), hushed(os.RemoveAll(final)))
	}
	return name, k, nil
}

const (
	// indexFile says what lies beside it.
	indexFile = "restore.json"
	// tokenBytes is how much nobody guesses.
	tokenBytes = 32
)

// keptRestore is a snapshot that was restored and lies in a folder whose name nobody guesses.
type keptRestore struct {
	Mark         string               `json:"mark"`
	ControlPlane types.NamespacedName `json:"controlPlane"`
	Snapshot     string               `json:"snapshot"`
	Files        []keptFile           `json:"files"`
}

// keptFile is one of its files; the path is relative.
type keptFile struct {
	Path      string `json:"path"`
	SHA512    string `json:"sha512"`
	SizeBytes int64  `json:"sizeBytes"`
}

// kept are those that are there, by the names of their folders. One that cannot be read, because another call just removes it
// or power failed while it was made, is of no use to anybody, and none of this is lost: it can be made again.
func (r *Restorer) kept() (map[string]keptRestore, error) {
	entries, err := os.ReadDir(r.options.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for what was restored: %w", err)
	}
	found := map[string]keptRestore{}
	for _, e := range entries {
		if !isToken(e.Name()) {
			continue
		}
		if k, err := r.index(e.Name()); err == nil {
			found[e.Name()] = k
		}
	}
	return found, nil
}

// removeBroken removes what cannot be read, when nobody else is at it.
func (r *Restorer) removeBroken() error {
	entries, err := os.ReadDir(r.options.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if !isToken(e.Name()) {
			continue
		}
		if _, err := r.index(e.Name()); err != nil {
			errs = append(errs, hushed(os.RemoveAll(filepath.Join(r.options.Dir, e.Name()))))
		}
	}
	return errors.Join(errs...)
}

func isToken(name string) bool {
	raw, err := hex.DecodeString(name)
	return err == nil && len(raw) == tokenBytes
}

func (r *Restorer) index(token string) (k keptRestore, err error) {
	content, err := os.ReadFile(filepath.Join(r.options.Dir, token, indexFile))
	if err == nil {
		err = json.Unmarshal(content, &k)
	}
	return k, err
}

// remove removes what was restored for a control plane.
func (r *Restorer) remove(key types.NamespacedName) error {
	kept, err := r.kept()
	errs := []error{err}
	for token, k := range kept {
		if k.ControlPlane == key {
			errs = append(errs, hushed(os.RemoveAll(filepath.Join(r.options.Dir, token))))
		}
	}
	return errors.Join(errs...)
}

// hushed takes the names of files out of an error, because they are secret: errors end in conditions and logs.
func hushed(err error) error {
	path, link := new(fs.PathError), new(os.LinkError)
	switch {
	case errors.As(err, &path):
		return fmt.Errorf("%s what was restored: %w", path.Op, path.Err)
	case errors.As(err, &link):
		return fmt.Errorf("%s what was restored: %w", link.Op, link.Err)
	default:
		return err
	}
}

// tell says where a Machine fetches the files, or where they are for whoever takes them to it.
func (r *Restorer) tell(request RestoreRequest, token string, k keptRestore) (State, error) {
	if request.Upload {
		i := slices.IndexFunc(k.Files, func(f keptFile) bool { return f.Path == databaseFile })
		if i < 0 {
			return nil, errors.New("what was restored has no database")
		}
		return Restored{Open: func() (io.ReadCloser, error) {
			return openSnapshot(filepath.Join(r.options.Dir, token, databaseFile), k.Files[i].SHA512)
		}}, nil
	}
	id, err := r.identity.now()
	if err != nil {
		return nil, err
	}
	restore := osfamily.Restore{Authority: string(id.authority)}
	for _, f := range k.Files {
		restore.Files = append(restore.Files, osfamily.RestoreFile{
			Path: path.Join(osfamily.RestoreFolder, f.Path), URL: r.base + "/" + token + "/" + f.Path, SHA512: f.SHA512, SizeBytes: f.SizeBytes,
		})
	}
	return Restored{Restore: restore}, nil
}

// filesIn lists the files below a folder.
func filesIn(dir string) (list []keptFile, err error) {
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		sum, size, err := digest(name)
		list = append(list, keptFile{Path: filepath.ToSlash(relative), SHA512: sum, SizeBytes: size})
		return err
	})
	return list, err
}

func digest(name string) (sum string, size int64, err error) {
	file, err := os.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = file.Close() }()
	hash := sha512.New()
	size, err = io.Copy(hash, file)
	return hex.EncodeToString(hash.Sum(nil)), size, err
}
