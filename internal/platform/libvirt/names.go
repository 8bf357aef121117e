// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Volumes hold no metadata in libvirt, so their names carry the owner token: the machine's uuid and a digest of the
// management cluster's id.
//
//	ingot-<uuid>-<owner>-root.qcow2        root disk, a copy-on-write layer over an image
//	ingot-<uuid>-<owner>-disk-<name>.qcow2 a further disk
//	ingot-<uuid>-<owner>-bootstrap         carrier of the bootstrap data, secret
//	ingot-<uuid>-<owner>-console.log       what the guest wrote to its serial console
//	ingot-<uuid>-<owner>-nvram             variables of the UEFI firmware, made by libvirt at the first start
//	ingot-<uuid>-<owner>-<anything else>   made by tools from one of these, for example a snapshot: goes with them
//	ingot-image-<sha256>-<attempt>.<fmt>           one attempt to copy an artefact
//	ingot-image-<sha256>-<attempt>.<fmt>.verified  its seal: empty, made after the copy was verified
const (
	volumePrefix = "ingot-"
	imagePrefix  = volumePrefix + "image-"
	sealSuffix   = ".verified"
)

// maxNameLength is how much of a machine's name a domain's name shows. libvirt makes file names of it.
const maxNameLength = 100

// owner is the part of the owner token that stands for the management cluster in volume names.
func owner(managementClusterID string) string {
	sum := sha256.Sum256([]byte(managementClusterID))
	return hex.EncodeToString(sum[:6])
}

// volumeNames are the names of the volumes of one instance. All of them start with stem, and nothing else does.
type volumeNames struct{ stem, root, bootstrap, console, nvram string }

func namesOf(id platform.Identity) volumeNames {
	stem := volumePrefix + id.UUID + "-" + owner(id.ManagementClusterID) + "-"
	return volumeNames{
		stem: stem, root: stem + "root.qcow2", bootstrap: stem + "bootstrap", console: stem + "console.log", nvram: stem + "nvram",
	}
}

// all are the names of what is made for every instance before its start.
func (n volumeNames) all() []string { return []string{n.root, n.bootstrap, n.console} }

// disk is the name of a further disk.
func (n volumeNames) disk(name string) string { return n.stem + "disk-" + name + ".qcow2" }

// foreignVolume returns a volume that claims the machine's uuid for another management cluster.
func foreignVolume(id platform.Identity, names []string) (string, bool) {
	claim := volumePrefix + id.UUID + "-"
	ours := claim + owner(id.ManagementClusterID) + "-"
	i := slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, claim) && !strings.HasPrefix(n, ours) })
	if i < 0 {
		return "", false
	}
	return names[i], true
}

var ownedPattern = regexp.MustCompile("^" + volumePrefix + "([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-([0-9a-f]{12})-.")

// ownerOf returns the uuid of the machine that a volume was made for, if it was made for one of this management cluster.
func ownerOf(volume, managementClusterID string) (uuid string, ours bool) {
	m := ownedPattern.FindStringSubmatch(volume)
	if m == nil || m[2] != owner(managementClusterID) {
		return "", false
	}
	return m[1], true
}

// domainName is what people see in virsh list. The start of the uuid keeps machines of the same name apart.
func domainName(id platform.Identity, name string) string {
	clean := strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, name)
	clean = strings.Trim(clean[:min(len(clean), maxNameLength)], "-.")
	if clean == "" {
		clean = "ingot"
	}
	return clean + "-" + id.UUID[:8]
}

// copyName is the name of one attempt to copy an image, with the digest and format that it states.
type copyName struct{ sha256, attempt, format string }

var copyPattern = regexp.MustCompile("^" + imagePrefix + "([0-9a-f]{64})-([0-9a-f]+)\\.(qcow2|raw)$")

func (n copyName) volume() string {
	return imagePrefix + n.sha256 + "-" + n.attempt + "." + n.format
}

func (n copyName) seal() string { return n.volume() + sealSuffix }

// copies returns the copies of an image among the volumes of a pool: those that are sealed, those that are not, and
// seals that have lost their copy. The order is stable.
func copies(sha256 string, names []string) (sealed, unsealed []copyName, orphanSeals []string) {
	there := make(map[string]bool, len(names))
	for _, n := range names {
		there[n] = true
	}
	for _, n := range slices.Sorted(slices.Values(names)) {
		data, isSeal := strings.CutSuffix(n, sealSuffix)
		m := copyPattern.FindStringSubmatch(data)
		if m == nil || m[1] != sha256 {
			continue
		}
		c := copyName{sha256: m[1], attempt: m[2], format: m[3]}
		switch {
		case isSeal && !there[data]:
			orphanSeals = append(orphanSeals, n)
		case isSeal:
		case there[c.seal()]:
			sealed = append(sealed, c)
		default:
			unsealed = append(unsealed, c)
		}
	}
	return sealed, unsealed, orphanSeals
}
