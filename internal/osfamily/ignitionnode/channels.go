// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignitionnode

import "github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"

// guestInfoKey is where Ignition looks under VMware.
const guestInfoKey = "guestinfo.ignition.config.data"

// GuestInfo is the channel that Ignition reads under VMware. Other than under QEMU, all images look under the same name. They
// read no network there.
func GuestInfo() delivery.Channel {
	return delivery.Channel{Kind: delivery.GuestInfo, Key: guestInfoKey, Encoding: delivery.GzipBase64, EncodingKey: guestInfoKey + ".encoding"}
}
