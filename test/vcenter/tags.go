// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/vmware/govmomi/vapi/rest"
	_ "github.com/vmware/govmomi/vapi/simulator" // which knows tags
	"github.com/vmware/govmomi/vapi/tags"
)

// restMethod is how a door calls what a call of the tagging service does; empty for another call.
func restMethod(r *http.Request) string {
	if !strings.HasPrefix(r.URL.Path, rest.Path+"/") {
		return ""
	}
	name := path.Base(r.URL.Path)
	if strings.HasPrefix(name, "id:") {
		name = path.Base(path.Dir(r.URL.Path)) + " id"
	}
	return strings.TrimSpace("REST " + r.Method + " " + name + " " + r.URL.Query().Get("~action"))
}

// Tag makes a tag, and its category if there is none of the name.
func (v *VCenter) Tag(ctx context.Context, category, name string) (id string, err error) {
	m, err := v.tagging(ctx)
	if err != nil {
		return "", err
	}
	if _, err := m.GetCategory(ctx, category); err != nil {
		if _, err := m.CreateCategory(ctx, &tags.Category{Name: category, Cardinality: "MULTIPLE"}); err != nil {
			return "", err
		}
	}
	return m.CreateTag(ctx, &tags.Tag{Name: name, CategoryID: category})
}

// Untag removes a tag everywhere.
func (v *VCenter) Untag(ctx context.Context, id string) error {
	m, err := v.tagging(ctx)
	if err != nil {
		return err
	}
	return m.DeleteTag(ctx, &tags.Tag{ID: id})
}

// RenameTag gives a tag another name, also one that another tag of the category has: the simulator does not mind.
func (v *VCenter) RenameTag(ctx context.Context, id, name string) error {
	m, err := v.tagging(ctx)
	if err != nil {
		return err
	}
	return m.UpdateTag(ctx, &tags.Tag{ID: id, Name: name})
}

// RenameCategory gives a category another name, also one that another category has: the simulator does not mind.
func (v *VCenter) RenameCategory(ctx context.Context, category, name string) error {
	m, err := v.tagging(ctx)
	if err != nil {
		return err
	}
	known, err := m.GetCategory(ctx, category)
	if err != nil {
		return err
	}
	return m.UpdateCategory(ctx, &tags.Category{ID: known.ID, Name: name})
}

// Tags are the names of the tags on a virtual machine.
func (v *VCenter) Tags(ctx context.Context, uuid string) ([]string, error) {
	vm, err := v.vm(ctx, uuid)
	if err != nil {
		return nil, err
	}
	m, err := v.tagging(ctx)
	if err != nil {
		return nil, err
	}
	attached, err := m.GetAttachedTags(ctx, vm.Reference())
	var names []string
	for _, tag := range attached {
		names = append(names, tag.Name)
	}
	slices.Sort(names)
	return names, err
}

func (v *VCenter) tagging(ctx context.Context) (*tags.Manager, error) {
	m := tags.NewManager(rest.NewClient(v.Admin.Client))
	return m, m.Login(ctx, url.UserPassword(User, Password))
}
