// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
)

// A node pulls nothing: an image that kubeadm or a manifest names and that is not preloaded under exactly this name is
// a pod that never starts.

func TestSomebodyBuildsEveryProgram(t *testing.T) {
	known := components.Names()
	for _, name := range programNames(FlavorIgnition) {
		if !slices.Contains(known, name) {
			t.Errorf("nobody builds the program %s", name)
		}
	}
}

func TestTheFlannelManifestNamesThePreloadedImage(t *testing.T) {
	manifest, err := os.ReadFile(filepath.Join("..", "..", "..", "templates", "addons", "flannel.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	images := regexp.MustCompile(`(?m)^\s+image: (\S+)$`).FindAllSubmatch(manifest, -1)
	want := Repository + "/flannel:" + components.FlannelVersion
	if len(images) != 1 || string(images[0][1]) != want {
		t.Fatalf("the manifest names %q, preloaded is %s", images, want)
	}
}

// fakeKubeadm prints the images that a kubeadm of another release might ask for.
func fakeKubeadm(t *testing.T, images ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeadm")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n[ $1 = version ] && echo v9.8.7 && exit\nprintf '%s\\n' "+strings.Join(images, " ")+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImagesAreThoseThatKubeadmAsksFor(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &build{programs: map[string]string{
		"kubeadm": fakeKubeadm(t, "ingot.local/pause:9", "ingot.local/etcd:3.6.8-0"), "flanneld": self,
	}}
	if err := r.listImages(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.kubernetes != "v9.8.7" {
		t.Errorf("the image says Kubernetes %q, kubeadm is v9.8.7", r.kubernetes)
	}
	if got := r.sandboxImage(); got != "ingot.local/pause:9" {
		t.Errorf("containerd would start pods with %s", got)
	}
	r = &build{programs: map[string]string{"kubeadm": fakeKubeadm(t, "ingot.local/kube-something-new:v1"), "flanneld": self}}
	if err := r.listImages(t.Context()); err == nil || !strings.Contains(err.Error(), "kube-something-new") {
		t.Errorf("an image that nobody can build: error = %v", err)
	}
}

func TestALayerHasWhatWasAskedForAndIsAlwaysTheSame(t *testing.T) {
	program := filepath.Join(t.TempDir(), "etcd")
	if err := os.WriteFile(program, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"/usr/local/bin/etcd": program, "/lib64/ld.so": program, "/usr/lib/x": program}
	first, err := layerTar(files)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // maps have no order
		again, err := layerTar(files)
		if err != nil || !bytes.Equal(first, again) {
			t.Fatalf("another run gives other bytes, or %v", err)
		}
	}
	if _, err := layerTar(map[string]string{"/bin/x": "/nowhere/x"}); err == nil {
		t.Error("a program that does not exist was packed")
	}
}

func TestSharedObjectsFollowIndirectLibraries(t *testing.T) {
	if _, err := os.Stat("/usr/lib/x86_64-linux-gnu"); err != nil {
		t.Skip("this host does not keep libraries where Debian on amd64 does")
	}
	objects, err := sharedObjects("/", "usr/bin/tar")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for at := range objects {
		names = append(names, filepath.Base(at))
	}
	for _, want := range []string{"ld-linux-x86-64.so.2", "libc.so.6", "libpcre2-8.so.0"} { // the last one only through libselinux
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing among %v; the program would not start in its container", want, names)
		}
	}
	if _, err := sharedObjects(t.TempDir(), "usr/bin/tar"); err == nil {
		t.Error("a program that does not exist has libraries")
	}
}

func TestVersionsOfImages(t *testing.T) {
	for version, valid := range map[string]bool{
		"v1.0.0": true, "v10.20.30": true, "v1.1.0-rc.1": true,
		"1.0.0": false, "v1.0": false, "v01.0.0": false, "latest": false, "": false, "v1.0.0/../x": false, "v1.0.0 ": false,
	} {
		if err := checkVersion(version); (err == nil) != valid {
			t.Errorf("version %q: %v", version, err)
		}
	}
}
