// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/copying"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/locks"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/reminder"
)

const (
	// dialBound is how long it may take to be ready for calls.
	dialBound = 60 * time.Second
	// firstBound is how long after Open calls wait for the first connection.
	firstBound = 2 * time.Second
	// closeBound is how long Close waits for vCenter to take the logout.
	closeBound = 5 * time.Second
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
	// gather is how long changes are let come together before they are asked for again.
	gather = 200 * time.Millisecond
)

// Keys of Config.Credentials.
const (
	userKey     = "username"
	passwordKey = "password"
	caKey       = "ca.crt"
)

// Config is what a session needs to know.
type Config struct {
	// Server is the host name or address of vCenter, with a port if it is not 443.
	Server string
	// Thumbprint is the SHA-256 fingerprint of vCenter's certificate; empty when it is signed by an authority.
	Thumbprint string
	// Credentials are username and password, and ca.crt where the certificate is signed by an authority of one's own.
	Credentials map[string][]byte
	// ImagePools are the resource pools that copies of images may be in while they are withdrawn, by datacenter, as ImageRequest has
	// them; the root pools in a datacenter that is not listed.
	ImagePools map[string][]string
	// Clock is the time; nil means the real one.
	Clock clock.WithDelayedExecution
	// Log receives one line per change of the session.
	Log logr.Logger
	// Calls is told of every round trip to vCenter: the name of the method, the error if there was no answer or a refusal,
	// and how long it took. It is called from many goroutines and must not block. Nil tells nobody.
	Calls func(verb string, err error, took time.Duration)
}

// Session is the one session with one vCenter, kept up until Close. It implements platform.Platform and the capabilities
// below.
type Session struct {
	config Config
	meter  meter
	events func(platform.Event)
	// disconnect ends the session for good; done is closed after that, first after the first attempt to connect or
	// firstBound.
	disconnect  context.CancelFunc
	done, first chan struct{}
	// importing is the life of all imports of images, which Close ends first so that they can clean up.
	importing     context.Context //nolint:containedctx // imports outlive the calls that start them
	stopImporting context.CancelFunc

	locks      locks.Keyed
	imports    copying.Jobs
	works      works
	binding    bindings
	known      known
	mirror     mirror
	departures departures
	shutdowns  reminder.Shutdowns
	// owed are those whose logout vCenter has not answered. Only run knows them.
	owed []*client
	// started are the unfinished machines, by uuid, whose start this session saw succeed.
	started sync.Map
	// unstarted are the machines, by uuid, whose start this session saw fail and has not seen succeed.
	unstarted sync.Map

	mu      sync.Mutex
	client  *client
	version string
	err     error // why there is no client
}

var (
	_ platform.Platform          = (*Session)(nil)
	_ platform.BootstrapScrubber = (*Session)(nil)
	_ platform.PowerCycler       = (*Session)(nil)
	_ platform.Separator         = (*Session)(nil)
	_ platform.StorageChooser    = (*Session)(nil)
	_ platform.Inventory         = (*Session)(nil)
	_ platform.CapacityReporter  = (*Session)(nil)
	_ platform.PrivilegeReporter = (*Session)(nil)
)

var thumbprintPattern = regexp.MustCompile(`^([0-9a-fA-F]{2}:){31}[0-9a-fA-F]{2}$`)

// Open starts a session. It connects in the background and again whenever the connection is lost; events is called
// from other goroutines and must not block. The context only carries values: the session lives until Close. Open
// fails only when the configuration can never work as it is (platform.ErrInvalid).
func Open(ctx context.Context, config Config, events func(platform.Event)) (*Session, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	config.Log = config.Log.WithValues("server", config.Server)
	s := &Session{
		config: config,
		meter:  meter{clock: config.Clock, calls: config.Calls},
		events: events,
		done:   make(chan struct{}),
		first:  make(chan struct{}),
		err:    fmt.Errorf("%w: the session with it is being opened", platform.ErrNotAsked),
	}
	ctx = context.WithoutCancel(ctx)
	s.importing, s.stopImporting = context.WithCancel(ctx)
	ctx, s.disconnect = context.WithCancel(ctx)
	go s.run(ctx)
	return s, nil
}

func (c Config) check() error {
	host := c.Server
	if h, _, err := net.SplitHostPort(c.Server); err == nil {
		host = h
	}
	parsed, err := url.Parse("https://" + c.Server + "/sdk")
	switch {
	case host == "" || err != nil || parsed.Host != c.Server || parsed.User != nil:
		return fmt.Errorf("%w: spec.vsphere.server %q is not HOST or HOST:PORT", platform.ErrInvalid, c.Server)
	case c.Thumbprint != "" && !thumbprintPattern.MatchString(c.Thumbprint):
		return fmt.Errorf("%w: spec.vsphere.thumbprint %q is no SHA-256 fingerprint: it has 32 pairs of hexadecimal digits with colons between them",
			platform.ErrInvalid, c.Thumbprint)
	case len(c.Credentials[userKey]) == 0 || len(c.Credentials[passwordKey]) == 0:
		return fmt.Errorf("%w: the credentials have no %s or no %s", platform.ErrInvalid, userKey, passwordKey)
	}
	return nil
}

// Close ends the session. Tasks go on in vCenter; instances are left as they are. Imports of images are abandoned and removed;
// what a vCenter that does not answer keeps of one is swept by the next session.
func (s *Session) Close() {
	s.stopImporting()
	late := s.config.Clock.AfterFunc(closeBound, s.disconnect)
	s.imports.Wait()
	late.Stop()
	s.disconnect()
	<-s.done
}

// Check asks vCenter whether it answers, and returns its version.
func (s *Session) Check(ctx context.Context) (version string, err error) {
	c, err := s.acquire(ctx)
	if err != nil {
		return "", err
	}
	if err := c.currentTime(ctx); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version, nil
}

// acquire returns the client. It waits for the first attempt to connect, for at most firstBound after Open, and for no
// other.
func (s *Session) acquire(ctx context.Context) (*client, error) {
	select {
	case <-s.first:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", platform.ErrNotAsked, ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil, s.err
	}
	return s.client, nil
}

// run keeps the session up.
func (s *Session) run(ctx context.Context) {
	defer close(s.done)
	backoff := minBackoff
	attempted := sync.OnceFunc(func() { close(s.first) })
	defer attempted()
	defer s.config.Clock.AfterFunc(firstBound, attempted).Stop()
	for ctx.Err() == nil {
		c, changes, err := s.connect(ctx)
		if err == nil {
			backoff = minBackoff
			s.events(platform.Event{Session: true}) // before the first look, which would be taken for one from before
			attempted()
			err = s.watch(ctx, c, changes)
			s.leave(ctx, c)
		}
		s.disconnected(err)
		attempted()
		if c != nil {
			s.events(platform.Event{Session: true})
		}
		s.pause(ctx, backoff)
		backoff = min(2*backoff, maxBackoff)
	}
}

// pause waits, unless the session ends.
func (s *Session) pause(ctx context.Context, d time.Duration) {
	timer := s.config.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-ctx.Done():
	}
}

// connect logs in and begins to hear of changes, and only then lets callers use the client, so that no change between
// their first look and that is missed.
func (s *Session) connect(ctx context.Context) (*client, *stream, error) {
	ctx, cancel := context.WithTimeout(ctx, dialBound)
	defer cancel()
	c, err := dial(ctx, s.config, s.meter)
	if err != nil {
		return nil, nil, err
	}
	if err := c.login(ctx); err != nil {
		return nil, nil, err
	}
	s.makeUp(ctx)
	changes, first, err := c.listen(ctx)
	if err != nil {
		s.leave(ctx, c)
		return nil, nil, err
	}
	s.known.forget()
	s.known.forgetTags()
	s.works.unwatched()
	s.mirror.begin()
	s.mirror.take(first, s.config.Clock.Now())
	s.mu.Lock()
	s.client, s.version, s.err = c, c.about(), nil
	s.mu.Unlock()
	s.config.Log.Info("Logged in to vCenter", "version", c.about())
	return c, changes, nil
}

// leave ends a session in vCenter, also when ours was ended: vCenter keeps forgotten sessions for half an hour, and a vCenter that
// is too slow to answer its clients must not be left with one more for each of their tries.
func (s *Session) leave(ctx context.Context, c *client) {
	if !s.logout(ctx, c) {
		s.owed = append(s.owed, c)
	}
}

func (s *Session) logout(ctx context.Context, c *client) (heard bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
	defer cancel()
	return c.logout(ctx)
}

// makeUp ends the sessions whose logout vCenter has not answered, now that it answers. It is tried after each login, and again after
// each answer of the stream. Those that vCenter has ended itself are gone too.
func (s *Session) makeUp(ctx context.Context) {
	for len(s.owed) > 0 && s.logout(ctx, s.owed[0]) {
		s.owed = s.owed[1:]
	}
}

// watch tells of changes until there is no answer any more, or vCenter has ended the session.
func (s *Session) watch(ctx context.Context, c *client, changes *stream) error {
	for {
		patience := int32(waitSeconds)
		if heard, _ := s.mirror.heardAt(); s.departures.any(s.config.Clock.Now(), heard) {
			patience = askSoonSeconds
		}
		seen, err := changes.next(ctx, patience)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w: the session was closed", platform.ErrUnreachable)
		case err != nil:
			return err
		case c.currentLogin() != changes.login:
			return fmt.Errorf("%w: vCenter has ended the session", platform.ErrUnreachable)
		}
		s.makeUp(ctx)
		if s.tell(seen) {
			s.pause(ctx, gather)
		}
	}
}

// tell takes what the stream has brought, and tells those whom it is about. It returns whether that was anybody.
func (s *Session) tell(seen changes) bool {
	machines, ended := s.mirror.take(seen, s.config.Clock.Now())
	told := map[platform.Event]bool{}
	for _, uuid := range machines {
		told[platform.Event{UUID: uuid}] = true
	}
	for _, task := range ended {
		if of, ours := s.taskEnded(task); ours {
			told[of.event()] = true
		}
	}
	for event := range told {
		s.events(event)
	}
	return len(told) > 0
}

// taskEnded notes the end of a task, and returns whose it is if it is one of ours.
func (s *Session) taskEnded(task ref) (of subject, ours bool) {
	of, work, ours := s.works.ended(task)
	if told, known := s.mirror.task(task); ours && work.destroys && known && told.succeeded {
		s.departures.tell(of.uuid, task, s.config.Clock.Now())
	}
	return of, ours
}

func (s *Session) disconnected(err error) {
	if !errors.Is(err, platform.ErrUnreachable) {
		err = fmt.Errorf("%w: %w", platform.ErrUnreachable, err)
	}
	s.mu.Lock()
	was := s.client != nil
	s.client, s.err = nil, err
	s.mu.Unlock()
	s.works.unwatched()
	s.mirror.end()
	s.departures.forgetAll()
	if was {
		s.config.Log.Info("Session with vCenter ended", "reason", err.Error())
	}
}
