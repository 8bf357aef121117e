// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package delivery names the channels through which bootstrap data reaches an instance, and what lies on them. An OS
// family states the channels that it reads, a platform implements channels; neither knows the other. It holds plain
// values and pure functions: no input or output, nothing about one operating system or one platform.
package delivery

// Kind is a kind of channel.
type Kind string

const (
	// FWCfg is a QEMU firmware configuration file. Its Key is the name of the file.
	FWCfg Kind = "fw_cfg"
	// NoCloud is a file system with label cidata, as cloud-init's NoCloud data source reads it. It has no Key.
	NoCloud Kind = "NoCloud"
	// ConfigDrive is a file system with label config-2, as OpenStack's config drive. It has no Key.
	ConfigDrive Kind = "ConfigDrive"
	// SMBIOS is an OEM string of the SMBIOS tables, <Key>=<data in base64>. It holds little, and hypervisors write it into
	// logs: the last choice.
	SMBIOS Kind = "SMBIOS"
	// GuestInfo is a property of a virtual machine that its guest reads through VMware's tools. Its Key is the name of the
	// property, which begins with guestinfo.
	GuestInfo Kind = "GuestInfo"
)

// Encoding is how data is written where a channel carries text.
type Encoding string

const (
	// Base64 is RFC 4648 with padding.
	Base64 Encoding = "base64"
	// GzipBase64 is Base64 over RFC 1952.
	GzipBase64 Encoding = "gzip+base64"
)

// Channel is one way to deliver bootstrap data.
type Channel struct {
	// Kind is the kind of channel.
	Kind Kind
	// Key is where inside the channel the guest looks, for example opt/com.coreos/config for FWCfg.
	Key string
	// Encoding is the encoding that the guest reads from GuestInfo.
	Encoding Encoding `json:",omitempty"`
	// EncodingKey is the property of GuestInfo that names the encoding; empty for guests that know only one.
	EncodingKey string `json:",omitempty"`
	// MetadataKey is the property of GuestInfo from which the guest reads its identity, its name and its network; empty for
	// guests that read none.
	MetadataKey string `json:",omitempty"`
	// OnlyGateways is whether the guest takes its routes in MetadataKey from gateway4 and gateway6 alone, and refuses metadata that
	// have no network. Talos does so on the platform vmware.
	OnlyGateways bool `json:",omitempty"`
}
