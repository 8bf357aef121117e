// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// callBound is how long one call may take. Clones and other long work are tasks, whose calls return at once. The wait for
	// changes must end well before.
	callBound = 30 * time.Second
	// userAgent is what vCenter's list of sessions shows.
	userAgent = "ingot"
)

// Errors of vCenter that this package decides by. They never leave it.
var (
	errNotFound  = errors.New("not found")
	errState     = errors.New("not possible in this power state")
	errBusy      = errors.New("another task is under way")
	errNoTools   = errors.New("the guest runs no VMware Tools")
	errNoAccess  = errors.New("no permission")
	errAmbiguous = errors.New("the name is not of one alone")
	errNoHost    = errors.New("none is connected and out of maintenance mode")
	errNotFit    = errors.New("vCenter does not name the datastore as compatible")
	errLogin     = errors.New("vCenter does not take the user name and the password")
	errLoggedIn  = errors.New("the session has ended")
)

// ref is vCenter's own reference to an object: its type and value. It is valid as long as the object.
type ref struct{ kind, value string }

func (r ref) vim() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: r.kind, Value: r.value}
}

func (r ref) zero() bool { return r == ref{} }

func refOf(m types.ManagedObjectReference) ref { return ref{kind: m.Type, value: m.Value} }

// client is one login to one vCenter. The files client*.go are the only ones that know govmomi.
type client struct {
	vim      *vim25.Client
	user     string
	password string
	meter    meter

	// logins counts the logins, so that of many calls that find the session ended only one renews it.
	mu     sync.Mutex
	logins int
	left   bool
	// loggedInAs is the user as vCenter named it in the answer to the last login.
	loggedInAs string

	tagging tagging

	// view holds all virtual machines that vCenter shows us.
	view ref
}

// dial makes a client that was not logged in yet. The certificate of vCenter must be signed by the given authorities, or
// by those of the system where there are none, or have the thumbprint.
func dial(ctx context.Context, config Config, m meter) (c *client, err error) {
	defer m.begin("RetrieveServiceContent")(&err)
	transport := soap.NewClient(&url.URL{Scheme: "https", Host: config.Server, Path: "/sdk"}, false)
	transport.UserAgent = userAgent
	if config.Thumbprint != "" {
		transport.SetThumbprint(config.Server, strings.ToUpper(config.Thumbprint))
	}
	if authorities := config.Credentials[caKey]; len(authorities) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("%w: key %s of the credentials holds no certificate in PEM", platform.ErrInvalid, caKey)
		}
		transport.DefaultTransport().TLSClientConfig.RootCAs = pool
	}
	ctx, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()
	vim, err := vim25.NewClient(ctx, transport)
	if err != nil {
		return nil, classify(err)
	}
	return &client{vim: vim, user: string(config.Credentials[userKey]), password: string(config.Credentials[passwordKey]), meter: m}, nil
}

// login begins a session.
func (c *client) login(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loginLocked(ctx)
}

func (c *client) loginLocked(ctx context.Context) (err error) {
	defer c.meter.begin("Login")(&err)
	ctx, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()
	res, err := methods.Login(ctx, c.vim, &types.Login{This: *c.vim.ServiceContent.SessionManager, UserName: c.user, Password: c.password})
	if err != nil {
		return fmt.Errorf("login: %w", classify(err))
	}
	c.logins++
	c.loggedInAs = res.Returnval.UserName
	return nil
}

// again renews a session that ended, unless somebody else has done so since the given login.
func (c *client) again(ctx context.Context, login int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.left:
		return errLoggedIn
	case c.logins != login:
		return nil
	}
	return c.loginLocked(ctx)
}

func (c *client) currentLogin() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.logins
}

// logout ends the session, so that vCenter does not keep it. It is not renewed any more. heard is whether vCenter has answered: if
// not, the session may still be there, and logout may be called again.
func (c *client) logout(ctx context.Context) (heard bool) {
	c.mu.Lock()
	c.left = true
	c.mu.Unlock()
	heard = c.tagging.leave(ctx, c)
	err := c.once(ctx, "Logout", func(ctx context.Context) error {
		_, err := methods.Logout(ctx, c.vim, &types.Logout{This: *c.vim.ServiceContent.SessionManager})
		return err
	})
	c.vim.CloseIdleConnections()
	return heard && !errors.Is(err, platform.ErrUnreachable)
}

// do makes one call. A session that vCenter has ended is renewed, and the call made again: vCenter has not looked at it.
func (c *client) do(ctx context.Context, verb string, call func(ctx context.Context) error) error {
	login := c.currentLogin()
	err := c.once(ctx, verb, call)
	if !errors.Is(err, errLoggedIn) {
		return err
	}
	if err := c.again(ctx, login); err != nil {
		return fmt.Errorf("%w: %w", platform.ErrUnreachable, err)
	}
	if err = c.once(ctx, verb, call); errors.Is(err, errLoggedIn) {
		return fmt.Errorf("%s: %w: %w", verb, platform.ErrUnreachable, err)
	}
	return err
}

// once makes one call without a second try.
func (c *client) once(ctx context.Context, verb string, call func(ctx context.Context) error) (err error) {
	if err := platform.Turn(ctx); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	defer c.meter.begin(verb)(&err)
	ctx, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()
	if err := call(ctx); err != nil {
		return fmt.Errorf("%s: %w", verb, classify(err))
	}
	return nil
}

// classify turns what govmomi returned into an error that callers can judge. A fault that vCenter itself sent is an
// answer; everything else means that there was none.
func classify(err error) error {
	if refused, is := errors.AsType[refusedError](err); is {
		return refused.error
	}
	if !soap.IsSoapFault(err) {
		return fmt.Errorf("%w: %w", platform.ErrNoAnswer, err)
	}
	text := soap.ToSoapFault(err).String
	var answer interface{ Fault() types.BaseMethodFault }
	if !errors.As(err, &answer) || answer.Fault() == nil {
		return fmt.Errorf("vCenter: %s", text)
	}
	return classifyFault(answer.Fault(), text)
}

// classifyFault is the part of classify for a fault that vCenter sent, in the answer to a call or as the end of a task.
func classifyFault(fault types.BaseMethodFault, text string) error {
	if _, is := fault.(types.BaseInsufficientResourcesFault); is {
		return fmt.Errorf("%w: vCenter: %s", platform.ErrCapacity, describe(fault, text))
	}
	switch f := fault.(type) {
	case *types.ManagedObjectNotFound:
		return fmt.Errorf("%w: %s %s", errNotFound, f.Obj.Type, f.Obj.Value)
	case *types.NotAuthenticated:
		return errLoggedIn
	case *types.InvalidLogin:
		return fmt.Errorf("%w: %w", platform.ErrUnreachable, errLogin)
	case *types.NoPermission:
		return fmt.Errorf("%w: vCenter grants no %s", errNoAccess, privilege(f))
	case *types.InvalidPowerState:
		return errState
	case *types.ToolsUnavailable:
		return errNoTools
	case *types.TaskInProgress, *types.ResourceInUse, *types.AlreadyUpgraded:
		return fmt.Errorf("%w: %s", errBusy, describe(fault, text))
	case *types.DuplicateName:
		return nameTakenError{by: refOf(f.Object), name: f.Name}
	case *types.NoDiskSpace:
		return fmt.Errorf("%w: datastore %s is full", platform.ErrCapacity, f.Datastore)
	default:
		return fmt.Errorf("vCenter: %s", describe(fault, text))
	}
}

// privilege names what a session lacks, and on what.
func privilege(f *types.NoPermission) string {
	name := f.PrivilegeId
	for _, missing := range f.MissingPrivileges {
		name = strings.TrimPrefix(name+", "+strings.Join(missing.PrivilegeIds, ", "), ", ")
	}
	if f.Object != nil {
		name += " on " + f.Object.Type + " " + f.Object.Value
	}
	return name
}

// describe is the kind of a fault and what vCenter says of it.
func describe(fault types.BaseMethodFault, text string) string {
	kind := strings.TrimPrefix(fmt.Sprintf("%T", fault), "*types.")
	if text == "" || text == kind || text == "*types."+kind {
		return kind
	}
	return kind + ": " + text
}

// nameTakenError says that an object of that name is in the folder already.
type nameTakenError struct {
	by   ref
	name string
}

// Error implements error.
func (e nameTakenError) Error() string {
	return fmt.Sprintf("the name %s is taken by %s", e.name, e.by.value)
}
