// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// longestName is how many characters vCenter takes.
	longestName = 80
	// maxNameLength is how much of a machine's name a virtual machine's name shows where nobody chose another.
	maxNameLength = 60
)

var namePattern = regexp.MustCompile(`^[-A-Za-z0-9._]+$`)

// checkName refuses a chosen name that vCenter would not take as it is.
func checkName(name string) error {
	switch {
	case name == "":
		return nil
	case !namePattern.MatchString(name):
		return fmt.Errorf("%w: spec.platform.vsphere.nameTemplate gives the name %q: use letters, digits, -, . and _", platform.ErrInvalid, name)
	case len(name) > longestName:
		return fmt.Errorf("%w: spec.platform.vsphere.nameTemplate gives the name %s of %d characters, and vCenter takes %d: shorten it",
			platform.ErrInvalid, name, len(name), longestName)
	}
	return nil
}

// vmName is what people see in the inventory. A folder has no two objects of the same name: that is what keeps a call that
// was made twice from making two virtual machines, so a machine always has the same. Nothing of ours is ever found, changed or
// removed by its name.
func vmName(req platform.Request) string {
	if req.NameOnPlatform != "" {
		return req.NameOnPlatform
	}
	clean := strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, req.Name)
	clean = strings.Trim(clean[:min(len(clean), maxNameLength)], "-.")
	if clean == "" {
		clean = "ingot"
	}
	return clean + "-" + req.UUID[:8]
}

// imageUUID is the instance UUID of the copy of an image on a storage, the same in every management cluster.
func imageUUID(id platform.ImageIdentity) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://ingot.dev/vsphere/image/"+id.SHA256+"/"+id.Storage)).String()
}

// imageName is what people see of the copy of an image.
func imageName(id platform.ImageIdentity) string {
	sum := sha256.Sum256([]byte(id.Storage))
	return "ingot-image-" + id.SHA256[:16] + "-" + hex.EncodeToString(sum[:4])
}

// importName is what people see of an import of an image that is not finished; uuid is the import's own.
func importName(uuid string) string { return "ingot-import-" + uuid }

// importMark is what an import of an image says that it is.
func importMark(uuid string, id platform.ImageIdentity) string { return uuid + " " + copyMark(id) }

// copyMark is what the copy of an image says that it is.
func copyMark(id platform.ImageIdentity) string { return id.SHA256 + " " + id.Storage }

// withdrawnMark is what a copy says that was withdrawn from use, and withdrawnName and withdrawnUUID are what it is called and its
// instance UUID. They are of this one alone: another copy may have taken its place.
func withdrawnMark(id platform.ImageIdentity) string { return "withdrawn " + copyMark(id) }

func withdrawnName(id platform.ImageIdentity, copied ref) string {
	return imageName(id) + "-withdrawn-" + copied.value
}

func withdrawnUUID(id platform.ImageIdentity, copied ref) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://ingot.dev/vsphere/withdrawn/"+copied.value+"/"+id.SHA256+"/"+id.Storage)).String()
}

// where is where inside a vCenter an instance is put, as paths of the inventory.
type where struct{ datacenter, datastore, folder, pool string }

// whereOf reads the places of a request. The storage names the datacenter, since datastores are named inside one.
func whereOf(storage, folder, pool string) (where, error) {
	datacenter, datastore, ok := strings.Cut(storage, "/")
	if !ok || datacenter == "" || datastore == "" {
		return where{}, fmt.Errorf("%w: storage %q is not DATACENTER/DATASTORE", platform.ErrInvalid, storage)
	}
	return whereIn(datacenter, folder, pool).on(datastore), nil
}

// whereIn are the places of a datacenter, without a datastore.
func whereIn(datacenter, folder, pool string) where {
	w := where{datacenter: datacenter, folder: datacenter + "/vm", pool: datacenter + "/host"}
	if folder = strings.Trim(folder, "/"); folder != "" {
		w.folder += "/" + folder
	}
	if pool != "" {
		w.pool += "/" + strings.Trim(pool, "/")
	}
	return w
}

// on are the places with a datastore.
func (w where) on(datastore string) where {
	w.datastore = w.datacenter + "/datastore/" + datastore
	return w
}

// network is the path of a network, whose name may be a path itself.
func (w where) network(name string) string { return w.datacenter + "/network/" + name }
