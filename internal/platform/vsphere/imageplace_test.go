// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/platformtest"
	"github.com/ingot-project/cluster-api-provider-ingot/test/ova"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// imageFolder and imagePool are where images are put in these tests, by somebody who may put nothing anywhere else.
const (
	imageFolder = "images"
	imagePool   = "DC0_C0_RP1"
)

// placed says where an image is put.
func placed(image platform.ImageRequest) platform.ImageRequest {
	image.Folder, image.ResourcePools = imageFolder, []string{vcenter.Cluster + "/Resources/" + imagePool}
	return image
}

// placedLab is a lab whose images are put into a folder and a resource pool of their own.
type placedLab struct{ *importLab }

// Image implements platformtest.Lab.
func (l placedLab) Image(t *testing.T) platform.ImageRequest {
	t.Helper()
	return placed(l.importLab.Image(t))
}

// newPlaced is a lab with a folder for images.
func newPlaced(t *testing.T) placedLab {
	t.Helper()
	l := placedLab{&importLab{lab: newLab(t)}}
	check(t, l.MakeFolder(t.Context(), imageFolder))
	return l
}

// What the contract says of images holds wherever they are put, and after a crash at any point of an import.
func TestImportConformanceInAPlace(t *testing.T) {
	t.Parallel()
	platformtest.RunImages(t, newPlaced(t))
}

// poolsOf notes the resource pools in which something is imported or cloned, or is no template any more.
func (l *lab) poolsOf(t *testing.T, d *vcenter.Door) (noted func() []string) {
	t.Helper()
	pool, err := object.NewSearchIndex(l.Admin.Client).FindByInventoryPath(t.Context(), vcenter.Datacenter+"/host/"+vcenter.Cluster+"/Resources/"+imagePool)
	if err != nil || pool == nil {
		t.Fatalf("the resource pool is %v, %v", pool, err)
	}
	var mu sync.Mutex
	var pools []string
	d.Witness(func(method string, body []byte) {
		if method != "ImportVApp" && method != "CloneVM_Task" && method != "MarkAsVirtualMachine" {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(string(body), ">"+pool.Reference().Value+"<") {
			pools = append(pools, imagePool)
		} else {
			pools = append(pools, "another")
		}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return pools
	}
}

// Many an account may put something into one folder and one resource pool, and nothing anywhere else. Imports are made there, and
// copies of templates in the resource pool, next to their templates. A copy that is removed is there once more before. Of several
// pools the first one is used that has the datastore.
func TestImagesAreMadeInTheirPlace(t *testing.T) {
	t.Parallel()
	l := newPlaced(t)
	check(t, l.MakeCluster(t.Context(), "empty"))
	d := l.door(t)
	named := config(t, d)
	named.ImagePools = map[string][]string{vcenter.Datacenter: {"empty", vcenter.Cluster + "/Resources/" + imagePool}}
	p := open(t, named, func(platform.Event) {})
	noted := l.poolsOf(t, d)
	for _, c := range []struct {
		image  platform.ImageRequest
		folder string
	}{
		{l.onStorage(l.Image(t)), imageFolder},
		{l.onStorage(placed(l.lab.Image(t))), "vm"},
	} {
		c.image.ResourcePools = append([]string{"empty"}, c.image.ResourcePools...)
		stored(t, p, c.image)
		if m := l.onlyCopy(t); m.Folder != c.folder {
			t.Errorf("the copy of a %s is in the folder %s, want %s", c.image.Format, m.Folder, c.folder)
		}
		released(t, p, c.image)
	}
	if pools := noted(); strings.Join(pools, " ") != strings.Repeat(" "+imagePool, 4)[1:] {
		t.Errorf("the images were made in %v", pools)
	}
}

// Nothing is put elsewhere because its place cannot be had: whoever names it is told what is wrong with it.
func TestPlacesOfImagesThatCannotBeHad(t *testing.T) {
	t.Parallel()
	l := newPlaced(t)
	check(t, l.MakeCluster(t.Context(), "empty"))
	p := fresh(t, l.door(t))
	before := len(l.Inventory(t))
	refused := func(image platform.ImageRequest, says ...string) {
		t.Helper()
		_, err := p.EnsureImage(t.Context(), l.onStorage(image))
		for _, text := range says {
			if !errors.Is(err, platform.ErrInvalid) || !strings.Contains(err.Error(), text) {
				t.Errorf("got %v, want %v with %q", err, platform.ErrInvalid, text)
			}
		}
	}
	image := l.Image(t)
	image.Folder = "nowhere"
	refused(image, "spec.folder of the ImageReplica: there is no /DC0/vm/nowhere")
	template := placed(l.lab.Image(t))
	for _, image := range []platform.ImageRequest{l.Image(t), template} {
		image.ResourcePools = []string{"nowhere"}
		refused(image, "spec.vsphere.images[].resourcePools of the PlatformEndpoint: there is no /DC0/host/nowhere")
		image.ResourcePools = []string{"empty"}
		refused(image, "images cannot be put on DC0/LocalDS_0 in any of them: empty: no host there has it mounted: name a pool of a cluster that has the datastore")
	}
	end, err := l.Maintain(t.Context())
	check(t, err)
	refused(template, "none is connected and out of maintenance mode: bring one back")
	check(t, end())
	if after := len(l.Inventory(t)); after != before {
		t.Errorf("there were %d things, and are %d", before, after)
	}
}

// Another folder is named while copies are there. What is there is found wherever it is, used and removed; and while the folder
// that it was put into is hidden it is not said to be gone, although the folder that is named now is seen.
func TestFolderOfImagesIsChanged(t *testing.T) {
	t.Parallel()
	l := newPlaced(t)
	check(t, l.MakeFolder(t.Context(), "others"))
	d := l.door(t)
	image := l.onStorage(l.Image(t))
	stored(t, fresh(t, d), image)
	elsewhere := image
	elsewhere.Folder = "others"
	p := fresh(t, d)
	stored(t, p, elsewhere)
	if m := l.onlyCopy(t); m.Folder != imageFolder || d.Calls()[vcenter.Upload] != 1 {
		t.Errorf("the copy is in %s, and was imported %d times", m.Folder, d.Calls()[vcenter.Upload])
	}
	req := l.request(t, p)
	req.ImageSHA256 = image.SHA256
	runs(t, p, req)
	if err := p.ReleaseImage(t.Context(), elsewhere.ImageIdentity); !errors.Is(err, platform.ErrInUse) {
		t.Errorf("got %v, want %v", err, platform.ErrInUse)
	}
	goes(t, p, req.Identity)

	all, err := l.Machines(t.Context())
	check(t, err)
	for id, m := range all {
		if m.Folder == imageFolder {
			show, err := d.Hide(t.Context(), id, vcenter.Datacenter+"/vm/"+imageFolder)
			check(t, err)
			err = p.ReleaseImage(t.Context(), image.ImageIdentity)
			if !errors.Is(err, platform.ErrUnreachable) || !strings.Contains(err.Error(), "/DC0/vm/images, where the copy may be") {
				t.Errorf("a copy that may not be seen: got %v, want %v", err, platform.ErrUnreachable)
			}
			show()
		}
	}
	released(t, p, image)
	for _, m := range l.copies(t) {
		if m.Folder == imageFolder {
			t.Errorf("%s is left", m.Name)
		}
	}
}

// Two managers may have been told different folders, where no name keeps them from finishing both. Who comes second uses what the
// first has made, and removes its own.
func TestImportsInTwoFolders(t *testing.T) {
	t.Parallel()
	l := newPlaced(t)
	first, second := fresh(t, l.door(t)), fresh(t, l.door(t))
	artefact := ova.Package()
	serve, rest := ova.Drip(artefact)
	slow := placed(l.onStorage(published(t, "ova", artefact, serve)))
	quick := l.onStorage(published(t, "ova", artefact, nil))
	halfway(t, first, slow)
	stored(t, second, quick)
	rest()
	stored(t, first, slow)
	until(t, "the second is removed", func() bool {
		stored(t, first, slow)
		return len(l.copies(t)) == 1
	})
	if m := l.onlyCopy(t); m.Folder != "vm" {
		t.Errorf("the copy is in %s", m.Folder)
	}
	released(t, first, slow)
	released(t, second, quick)
	if left := l.copies(t); len(left) != 0 {
		t.Errorf("%+v is left", left)
	}
}

// Where two want one instance UUID, vCenter is documented to give it to one of them. The other one is no copy that machines find, and
// must not be imported again and again.
func TestImportWithoutItsInstanceUUID(t *testing.T) {
	t.Parallel()
	l := newPlaced(t)
	p := fresh(t, l.door(t))
	image := l.onStorage(published(t, "vmdk", ova.Disk(), nil))
	stored(t, p, image)
	name := l.onlyCopy(t).Name
	released(t, p, image)
	other := uuid.NewString()
	l.make(t, vcenter.Spec{Name: "x", UUID: other, DiskBytes: 1 << 20, Extra: map[string]string{"ingot.copyOf": image.SHA256 + " " + image.Storage}})
	check(t, l.VCenter.Rename(t.Context(), other, name))
	_, err := p.EnsureImage(t.Context(), image)
	if !errors.Is(err, platform.ErrInvalid) || !strings.Contains(err.Error(), name+" is the copy of "+image.SHA256+" and has not the instance UUID") {
		t.Errorf("got %v", err)
	}
}
