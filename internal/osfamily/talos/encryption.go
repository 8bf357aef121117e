// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import (
	"github.com/siderolabs/talos/pkg/machinery/config/types/block"
	"github.com/siderolabs/talos/pkg/machinery/constants"
	resources "github.com/siderolabs/talos/pkg/machinery/resources/block"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

// encryptedVolumes are all that Talos keeps on the disk unless a patch makes more of them: what the machine is, with every
// secret of it, and then everything else.
func encryptedVolumes() []string {
	return []string{constants.StatePartitionLabel, constants.EphemeralPartitionLabel}
}

// encrypt encrypts what Talos makes on the disk when it starts for the first time. Other things that are said of a volume stay.
func (d *documents) encrypt(key bootstrapv1.DiskKey) {
	if key == "" {
		return
	}
	for _, name := range encryptedVolumes() {
		d.volume(name).EncryptionSpec = block.EncryptionSpec{
			EncryptionProvider: resources.EncryptionProviderLUKS2,
			EncryptionKeys:     []block.EncryptionKey{encryptionKey(key, name)},
		}
	}
}

// encryptionKey is the one key of a volume. One that the TPM keeps is bound to what is in STATE as well, so that nobody puts
// another STATE beside the volume.
func encryptionKey(key bootstrapv1.DiskKey, volume string) block.EncryptionKey {
	if key == bootstrapv1.DiskKeyNodeID {
		return block.EncryptionKey{KeyNodeID: &block.EncryptionKeyNodeID{}}
	}
	out := block.EncryptionKey{KeyTPM: &block.EncryptionKeyTPM{}}
	if volume != constants.StatePartitionLabel {
		out.KeyLockToSTATE = new(true)
	}
	return out
}

// volume is the document of a volume, which is added where the machinery wrote none.
func (d *documents) volume(name string) *block.VolumeConfigV1Alpha1 {
	for _, document := range d.others {
		if volume, ok := document.(*block.VolumeConfigV1Alpha1); ok && volume.MetaName == name {
			return volume
		}
	}
	volume := block.NewVolumeConfigV1Alpha1()
	volume.MetaName = name
	d.others = append(d.others, volume)
	return volume
}

// encryption is what patches may not change where the spec encrypts the disk.
func encryption(key bootstrapv1.DiskKey) []place {
	if key == "" {
		return nil
	}
	const why = "is set by spec.diskEncryption: remove it, or remove diskEncryption"
	places := []place{{"", "machine.systemDiskEncryption", why}}
	for _, name := range encryptedVolumes() {
		places = append(places, place{block.VolumeConfigKind + "/" + name, "encryption", why})
	}
	return places
}
