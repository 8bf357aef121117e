// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// Repository is the prefix of the names of all preloaded container images. No registry answers under it: an image
// that is not preloaded can not be pulled by accident from somewhere else.
const Repository = "ingot.local"

// imageProgramDir is where the programs are in container images; kubeadm's manifests expect kube-proxy there.
const imageProgramDir = "/usr/local/bin"

// nonroot is the user of images that need no privileges.
const nonroot = "65532:65532"

// containerImage is one preloaded image: a program, and what it calls.
type containerImage struct {
	reference string
	program   string   // name of the program, its entrypoint
	calls     []string // programs of the root, with their libraries
	user      string
}

// recipeOf says what is in the image of the given short name.
func recipeOf(name string) (containerImage, bool) {
	recipe, ok := map[string]containerImage{
		"kube-apiserver":          {program: "kube-apiserver"},
		"kube-controller-manager": {program: "kube-controller-manager"},
		"kube-scheduler":          {program: "kube-scheduler"},
		"kube-proxy":              {program: "kube-proxy", calls: []string{"usr/sbin/nft"}},
		"etcd":                    {program: "etcd"},
		"coredns":                 {program: "coredns", user: nonroot},
		"pause":                   {program: helperPause, user: "65535:65535"},
		"flannel":                 {program: "flanneld", calls: []string{"usr/sbin/nft"}},
		"probe":                   {program: helperProbe, user: nonroot},
	}[name]
	return recipe, ok
}

// listImages asks kubeadm which images a cluster of its version needs, so that the tags can never differ from what it
// writes into manifests, and adds our own.
func (r *build) listImages(ctx context.Context) error {
	version, err := assembly.Tool{Name: r.programs["kubeadm"], Args: []string{"version", "--output", "short"}}.Output(ctx)
	if err != nil {
		return fmt.Errorf("asking kubeadm for its version: %w", err)
	}
	r.kubernetes = strings.TrimSpace(version)
	kubeadm := assembly.Tool{Name: r.programs["kubeadm"], Args: []string{
		"config", "images", "list", "--kubernetes-version", r.kubernetes, "--image-repository", Repository,
	}}
	list, err := kubeadm.Output(ctx)
	if err != nil {
		return fmt.Errorf("asking kubeadm for its images: %w", err)
	}
	flannel, err := moduleVersion(r.programs["flanneld"])
	if err != nil {
		return err
	}
	references := append(strings.Fields(list), Repository+"/flannel:"+flannel, Repository+"/probe:"+probeVersion)
	slices.Sort(references)
	for _, reference := range references {
		name, _, _ := strings.Cut(path.Base(reference), ":")
		image, ok := recipeOf(name)
		if !ok {
			return fmt.Errorf("kubeadm needs the image %s, and there is no recipe for it; add one to recipeOf", reference)
		}
		image.reference = reference
		r.images = append(r.images, image)
	}
	return nil
}

// sandboxImage is the image that holds a pod's namespaces.
func (r *build) sandboxImage() string {
	at := slices.IndexFunc(r.images, func(i containerImage) bool { return i.program == helperPause })
	return r.images[at].reference
}

// writeLayout writes the images as one OCI layout into dir. Program maps the name of a program to its path, root is
// the folder with the installed packages.
func writeLayout(dir string, images []containerImage, program func(name string) string, root string) error {
	index, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("writing container images: %w", err)
	}
	for _, image := range images {
		built, err := image.build(program, root)
		if err != nil {
			return fmt.Errorf("container image %s: %w", image.reference, err)
		}
		name := map[string]string{"io.containerd.image.name": image.reference}
		if err := index.AppendImage(built, layout.WithAnnotations(name)); err != nil {
			return fmt.Errorf("container image %s: %w", image.reference, err)
		}
	}
	return nil
}

// build makes the image of one uncompressed layer: nothing has to be decompressed at boot.
func (i containerImage) build(program func(name string) string, root string) (v1.Image, error) {
	files := map[string]string{path.Join(imageProgramDir, i.program): program(i.program)}
	for _, called := range i.calls {
		files["/"+called] = root + "/" + called
		libraries, err := sharedObjects(root, called)
		if err != nil {
			return nil, err
		}
		maps.Copy(files, libraries)
	}
	content, err := layerTar(files)
	if err != nil {
		return nil, err
	}
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	image, err = mutate.AppendLayers(image, static.NewLayer(content, types.OCIUncompressedLayer))
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Architecture, config.OS = "amd64", "linux"
	config.Created = v1.Time{Time: assembly.EpochTime()}
	config.Config = v1.Config{
		Env:        []string{"PATH=" + imageProgramDir + ":/usr/sbin:/usr/bin"},
		Entrypoint: []string{path.Join(imageProgramDir, i.program)},
		User:       i.user,
	}
	return mutate.ConfigFile(image, config)
}

// layerTar is a tar archive of the files (path in the image to path on this host) and their parent folders, in an
// order and with times that are always the same.
func layerTar(files map[string]string) ([]byte, error) {
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	header := func(name string, kind byte, mode int64, size int64) error {
		return archive.WriteHeader(&tar.Header{
			Name: strings.TrimPrefix(name, "/"), Typeflag: kind, Mode: mode, Size: size,
			ModTime: assembly.EpochTime(), Format: tar.FormatPAX,
		})
	}
	dirs := map[string]bool{"/tmp": true, "/etc": true}
	for name := range files {
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		mode := int64(0o755)
		if dir == "/tmp" {
			mode = 0o1777
		}
		if err := header(dir+"/", tar.TypeDir, mode, 0); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content, err := os.ReadFile(files[name])
		if err != nil {
			return nil, err
		}
		if err := header(name, tar.TypeReg, 0o755, int64(len(content))); err != nil {
			return nil, err
		}
		if _, err := archive.Write(content); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
