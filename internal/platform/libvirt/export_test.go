// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/rules"
)

// What the tests of the pure parts need to see.

// Render renders the definition of a domain and tells its revision.
func Render(req platform.Request, emulated bool) (text, revision string, err error) {
	text, m, err := hardware{req: req, emulated: emulated, poolPath: "/pool"}.render()
	return text, m.Revision, err
}

// World is what can be there of an instance, for Next.
type World struct {
	Defined           bool
	Stage             string
	Power             string // off, paused, on
	VolumesComplete   bool
	OfAnotherRevision bool
}

// Next names the next step of Ensure.
func Next(w World) string {
	id := platform.Identity{UUID: "u", ManagementClusterID: "m", Storage: "s"}
	v := view{id: id, volumes: map[string]bool{}}
	for _, n := range namesOf(id).all() {
		v.volumes[n] = w.VolumesComplete
	}
	if w.Defined {
		v.domain = &domainInfo{power: map[string]power{"off": powerOff, "paused": powerPaused, "on": powerOn}[w.Power]}
		v.mark = mark{Stage: stage(w.Stage), Revision: "r"}
	}
	want := mark{Revision: "r"}
	if w.OfAnotherRevision {
		want.Revision = "q"
	}
	return [...]string{"none", "build", "start", "mark starting", "resume", "mark started"}[next(v, want, namesOf(id).all())]
}

// Owner reads the owner token and stage out of a definition.
func Owner(definition string) (machine, managementCluster, stage string, err error) {
	_, m, err := readDefinition(definition)
	return m.Machine, m.ManagementCluster, string(m.Stage), err
}

// Advance returns the metadata element that moves a definition's mark to a stage.
func Advance(definition, to string) (string, error) {
	_, m, err := readDefinition(definition)
	if err != nil {
		return "", err
	}
	m.Stage = stage(to)
	return m.element()
}

// Copies sorts the volumes of a pool by what they are to an image.
func Copies(sha256 string, names []string) (sealed, unsealed, orphanSeals []string) {
	s, u, orphanSeals := copies(sha256, names)
	for _, n := range s {
		sealed = append(sealed, n.volume())
	}
	for _, n := range u {
		unsealed = append(unsealed, n.volume())
	}
	return sealed, unsealed, orphanSeals
}

// VolumeNames are the names of an instance's volumes: root, bootstrap, console.
func VolumeNames(id platform.Identity) []string { return namesOf(id).all() }

// Pure functions that tests call as they are.
var (
	ForeignVolume     = foreignVolume
	DomainName        = domainName
	MAC               = rules.MAC
	CheckDisk         = checkDisk
	DomainTypes       = domainTypes
	CheckAcceleration = checkAcceleration
	DecodeError       = decodeError
)
