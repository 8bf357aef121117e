// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// tagging is the service of vCenter that knows tags. It is another one than the rest of vCenter, with a session of its own,
// which begins when the first machine with tags is made. The zero value has no session.
type tagging struct {
	mu     sync.Mutex
	client *tags.Manager
	left   bool
}

// catalogue are the tags that the session sees, in the categories that were asked for.
type catalogue struct {
	categories map[string]int            // how many have a name
	tags       map[platform.Tag][]string // identifiers
}

// catalogue reads the categories, and the tags in those that have one of the names. The service cannot search: it is asked for
// one category and one tag after the other.
func (c *client) catalogue(ctx context.Context, wanted map[string]bool) (catalogue, error) {
	found := catalogue{categories: map[string]int{}, tags: map[platform.Tag][]string{}}
	var ids []string
	err := c.rest(ctx, "ListCategories", func(ctx context.Context, m *tags.Manager) (err error) {
		ids, err = m.ListCategories(ctx)
		return err
	})
	for i := 0; err == nil && i < len(ids); i++ {
		var category *tags.Category
		err = ignoreGone(c.rest(ctx, "GetCategory", func(ctx context.Context, m *tags.Manager) (err error) {
			category, err = m.GetCategory(ctx, ids[i])
			return err
		}))
		if err == nil && category != nil && wanted[category.Name] {
			found.categories[category.Name]++
			err = c.tagsIn(ctx, category, found.tags)
		}
	}
	return found, err
}

// tagsIn adds the tags of a category.
func (c *client) tagsIn(ctx context.Context, category *tags.Category, to map[platform.Tag][]string) error {
	var ids []string
	err := ignoreGone(c.rest(ctx, "ListTagsForCategory", func(ctx context.Context, m *tags.Manager) (err error) {
		ids, err = m.ListTagsForCategory(ctx, category.ID)
		return err
	}))
	for i := 0; err == nil && i < len(ids); i++ {
		var tag *tags.Tag
		err = ignoreGone(c.rest(ctx, "GetTag", func(ctx context.Context, m *tags.Manager) (err error) {
			tag, err = m.GetTag(ctx, ids[i])
			return err
		}))
		if err == nil && tag != nil {
			key := platform.Tag{Category: category.Name, Name: tag.Name}
			to[key] = append(to[key], tag.ID)
		}
	}
	return err
}

// ignoreGone drops the error of a read of what was listed and is not there any more.
func ignoreGone(err error) error {
	if errors.Is(err, errNotFound) {
		return nil
	}
	return err
}

// attach puts tags on a virtual machine, all at once. A tag that is on it already is no error.
func (c *client) attach(ctx context.Context, ids []string, vm ref) error {
	type object struct {
		ID   string `json:"id"`
		Type string `json:"type"`
	}
	request := struct {
		Object object   `json:"object_id"`
		Tags   []string `json:"tag_ids"`
	}{object{vm.value, vm.kind}, ids}
	var answer struct {
		Success bool             `json:"success"`
		Errors  tags.BatchErrors `json:"error_messages"`
	}
	err := c.rest(ctx, "AttachMultipleTagsToObject", func(ctx context.Context, m *tags.Manager) error {
		at := m.Resource("/com/vmware/cis/tagging/tag-association").WithAction("attach-multiple-tags-to-object")
		return m.Do(ctx, at.Request(http.MethodPost, request), &answer)
	})
	if err == nil && !answer.Success {
		err = fmt.Errorf("%w: vCenter has not put all tags on %s: %w", errNotFound, vm.value, answer.Errors)
	}
	return err
}

// rest makes one call of the tagging service, in a session that is begun before if there is none or it has ended.
func (c *client) rest(ctx context.Context, verb string, call func(context.Context, *tags.Manager) error) error {
	var ended *tags.Manager
	for {
		m, err := c.tagging.session(ctx, c, ended)
		if err != nil {
			return err
		}
		again := false
		err = c.once(ctx, verb, func(ctx context.Context) error {
			err := call(ctx, m)
			again = ended == nil && rest.IsStatusError(err, http.StatusUnauthorized)
			return restError(err)
		})
		if !again {
			return err
		}
		ended = m
	}
}

// session returns the session with the tagging service. It begins one where there is none but one that has ended.
func (t *tagging) session(ctx context.Context, c *client, ended *tags.Manager) (*tags.Manager, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.left:
		return nil, fmt.Errorf("%w: %w", platform.ErrUnreachable, errLoggedIn)
	case t.client != ended:
		return t.client, nil
	}
	m := tags.NewManager(rest.NewClient(c.vim))
	m.UserAgent = userAgent
	err := c.once(ctx, "LoginREST", func(ctx context.Context) error {
		err := m.Login(ctx, url.UserPassword(c.user, c.password))
		if rest.IsStatusError(err, http.StatusUnauthorized) {
			return refusedError{fmt.Errorf("%w: %w", platform.ErrUnreachable, errLogin)}
		}
		return restError(err)
	})
	if err != nil {
		return nil, err
	}
	t.client = m
	return m, nil
}

// leave ends the session with the tagging service, if there is one. It is not renewed any more. heard is whether there is none from
// then on, as far as that was answered.
func (t *tagging) leave(ctx context.Context, c *client) (heard bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left = true
	if t.client == nil {
		return true
	}
	err := c.once(ctx, "LogoutREST", func(ctx context.Context) error { return restError(t.client.Logout(ctx)) })
	if errors.Is(err, platform.ErrUnreachable) {
		return false
	}
	t.client = nil
	return true
}

// refusedError is an answer of the tagging service that is no success. It is not a fault as the rest of vCenter has them.
type refusedError struct{ error }

// Unwrap returns what it says.
func (e refusedError) Unwrap() error { return e.error }

// restError tells an answer of the tagging service that is no success from none.
func restError(err error) error {
	if _, lost := errors.AsType[*url.Error](err); err == nil || lost {
		return err
	}
	for _, absent := range []int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout} {
		if rest.IsStatusError(err, absent) {
			return err // vCenter answers, and the service does not
		}
	}
	switch {
	case rest.IsStatusError(err, http.StatusNotFound):
		err = fmt.Errorf("%w: %w", errNotFound, err)
	case rest.IsStatusError(err, http.StatusForbidden):
		err = fmt.Errorf("%w: %w", errNoAccess, err)
	case rest.IsStatusError(err, http.StatusUnauthorized):
		err = fmt.Errorf("%w: %w", platform.ErrUnreachable, err)
	}
	return refusedError{err}
}
