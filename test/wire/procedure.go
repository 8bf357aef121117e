// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// Procedure is the number of a procedure of libvirt's remote protocol. Numbers never change their meaning.
type Procedure uint32

// Procedures that tests name.
const (
	DomainCreate      Procedure = 196
	StorageUpload     Procedure = 208
	DomainShutdown    Procedure = 258
	DomainSetMetadata Procedure = 264
)

// String is the procedure's name, in words.
func (p Procedure) String() string {
	if name, known := reads()[p]; known {
		return name
	}
	if name, known := changes()[p]; known {
		return name
	}
	return fmt.Sprintf("procedure %d", uint32(p))
}

// Reads is whether a procedure changes nothing that anybody else sees. What is not known is taken for a change.
func (p Procedure) Reads() bool {
	_, reads := reads()[p]
	return reads
}

func reads() map[Procedure]string {
	return map[Procedure]string{
		1: "connect", 2: "disconnect", 4: "connect version", 6: "node info", 7: "capabilities", 14: "domain definition", 23: "domain by name",
		24: "domain by uuid", 43: "network definition", 46: "network by name", 60: "supports feature", 66: "authentication list",
		70: "authentication", 83: "pool refresh", 84: "pool by name", 88: "pool definition", 95: "volume by name", 99: "volume definition",
		101: "free memory of cells", 110: "connect URI", 114: "node device definition", 152: "network is active", 153: "network is persistent",
		154: "pool is active", 157: "library version", 209: "volume download", 212: "domain state", 265: "domain metadata", 273: "domains",
		281: "pools", 282: "volumes of a pool", 283: "networks", 285: "node devices", 316: "event subscription", 317: "event unsubscription", 340: "free pages",
		341: "network leases", 342: "domain capabilities", 344: "domain statistics", 353: "domain addresses",
	}
}

func changes() map[Procedure]string {
	return map[Procedure]string{
		28: "domain resume", 93: "volume create", 94: "volume delete", 125: "volume clone", 174: "domain device update", DomainCreate: "domain start",
		StorageUpload: "volume upload", 231: "domain undefine", 234: "domain destroy", DomainShutdown: "domain shutdown", 260: "volume resize", DomainSetMetadata: "domain metadata set",
		291: "network update", 350: "domain define", 390: "domain lifecycle action",
	}
}
