// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"crypto/sha256"
	"encoding/hex"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// KubernetesVersion is the version that images carry and machines ask for.
const KubernetesVersion = "v1.36.3"

// ArtefactBytes is the size of every artefact.
const ArtefactBytes = 1000

// Digest returns the digest of the artefact of the NodeImage with the name.
func Digest(image string) string {
	sum := sha256.Sum256([]byte(image))
	return hex.EncodeToString(sum[:])
}

// NodeImage returns a supported image of the Generic family for libvirt, which boots with UEFI and reads Ignition.
func NodeImage(name string, change ...func(*ingotv1.NodeImage)) *ingotv1.NodeImage {
	image := &ingotv1.NodeImage{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: ingotv1.NodeImageSpec{
			OS:               ingotv1.NodeImageOS{Family: ingotv1.OSFamilyGeneric, Version: "v1.0.0"},
			Architecture:     "amd64",
			Kubernetes:       ingotv1.NodeImageKubernetes{Versions: []string{KubernetesVersion}},
			BootstrapFormats: []ingotv1.BootstrapFormat{ingotv1.BootstrapFormatIgnition},
			Firmware:         []ingotv1.Firmware{ingotv1.FirmwareUEFI},
			NodeIdentity:     ingotv1.NodeIdentity{OSImage: "Ingot OS v1.0.0 (" + name + ")"},
			Artefacts: []ingotv1.Artefact{{
				Platform:    ingotv1.ArtefactPlatformLibvirt,
				Format:      ingotv1.DiskFormatQCOW2,
				Compression: ingotv1.CompressionNone,
				Source:      "https://images.example.com/" + name + ".qcow2",
				SHA256:      Digest(name),
				SizeBytes:   ArtefactBytes,
			}},
			Lifecycle: ingotv1.ImageLifecycle{State: ingotv1.LifecycleSupported},
		},
	}
	return changed(image, change)
}

// PlatformEndpoint returns a libvirt host that every namespace may use.
func PlatformEndpoint(name string, change ...func(*ingotv1.PlatformEndpoint)) *ingotv1.PlatformEndpoint {
	return changed(&ingotv1.PlatformEndpoint{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: ingotv1.PlatformEndpointSpec{Libvirt: ingotv1.LibvirtEndpoint{
			URI: "qemu:///system", Acceleration: ingotv1.AccelerationKVM,
		}},
	}, change)
}

// ImageReplica returns the replica of the image of NodeImage(image) on storage "default" of an endpoint.
func ImageReplica(name, image, endpoint string, change ...func(*ingotv1.ImageReplica)) *ingotv1.ImageReplica {
	return changed(&ingotv1.ImageReplica{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: ingotv1.ImageReplicaSpec{
			NodeImageName: image, EndpointName: endpoint, Storage: "default",
			Artefact: NodeImage(image).Spec.Artefacts[0],
		},
	}, change)
}

func changed[T any](object *T, change []func(*T)) *T {
	for _, c := range change {
		c(object)
	}
	return object
}
