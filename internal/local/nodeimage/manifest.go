// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// kernelVersion is the release of the image's kernel, which the Node reports.
func (r *build) kernelVersion() (string, error) {
	found, err := filepath.Glob(filepath.Join(r.tree, treeRoot, "usr/lib/modules/*"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("the image holds modules of %d kernels, want 1", len(found))
	}
	return filepath.Base(found[0]), nil
}

// manifest is the NodeImage that binds the artefact to its digest. Its sources are files of this host; whoever
// publishes the image elsewhere changes the source, never the digest.
func (r *build) manifest(a Artefact, sbomSHA256 string) ([]byte, error) {
	release, err := r.osRelease()
	if err != nil {
		return nil, err
	}
	kernel, err := r.kernelVersion()
	if err != nil {
		return nil, err
	}
	family, format := r.flavor.family()
	image := ingotv1.NodeImage{
		TypeMeta:   metav1.TypeMeta{APIVersion: ingotv1.GroupVersion.String(), Kind: "NodeImage"},
		ObjectMeta: metav1.ObjectMeta{Name: objectName(r.flavor, r.version)},
		Spec: ingotv1.NodeImageSpec{
			OS:               ingotv1.NodeImageOS{Family: family, Version: r.version},
			Architecture:     "amd64",
			Kubernetes:       ingotv1.NodeImageKubernetes{Versions: []string{r.kubernetes}},
			BootstrapFormats: []ingotv1.BootstrapFormat{format},
			Firmware:         []ingotv1.Firmware{ingotv1.FirmwareUEFI},
			NodeIdentity: ingotv1.NodeIdentity{
				OSImage:       osReleaseValue(release, "PRETTY_NAME"),
				KernelVersion: kernel,
			},
			Artefacts: []ingotv1.Artefact{{
				Platform:         ingotv1.ArtefactPlatformLibvirt,
				Format:           ingotv1.DiskFormatQCOW2,
				Compression:      ingotv1.CompressionNone,
				Source:           fileURL(a.Image),
				SHA256:           a.SHA256,
				SizeBytes:        a.Bytes,
				VirtualSizeBytes: DiskBytes,
			}},
			SBOM: ingotv1.DocumentReference{URL: fileURL(a.SBOM), Format: "spdx-json", SHA256: sbomSHA256},
			Lifecycle: ingotv1.ImageLifecycle{
				State: ingotv1.LifecycleSupported,
			},
		},
	}
	out, err := yaml.Marshal(image)
	if err != nil {
		return nil, fmt.Errorf("NodeImage manifest: %w", err)
	}
	return out, nil
}

// objectName is the name of the NodeImage of a version: ingot-os-v1.0.0.
func objectName(flavor Flavor, version string) string {
	return strings.ToLower(flavor.id() + "-" + version)
}

func fileURL(path string) string { return (&url.URL{Scheme: "file", Path: path}).String() }
