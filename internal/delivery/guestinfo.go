// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"

	"sigs.k8s.io/yaml"
)

// guestMetadata is what a MetadataKey holds. The network is the same language as NoCloud's.
type guestMetadata struct {
	metaData

	Network *networkConfig `json:"network,omitempty"`
}

// GuestInfoProperties returns what a GuestInfo channel carries: the properties of the virtual machine by name. The network
// is told where the platform cannot do it: for static addresses and for the largest packet.
func GuestInfoProperties(c Channel, i Instance) (map[string]string, error) {
	data, err := encode(c.Encoding, i.Data)
	if err != nil {
		return nil, err
	}
	properties := map[string]string{c.Key: data}
	if c.EncodingKey != "" {
		properties[c.EncodingKey] = string(c.Encoding)
	}
	networked := i.static() || i.sized()
	if c.MetadataKey == "" || c.OnlyGateways && !networked {
		return properties, nil
	}
	meta := guestMetadata{metaData: metaData{InstanceID: i.UUID, LocalHostname: i.Name}}
	if networked {
		leave := leaveByRoute
		if c.OnlyGateways {
			leave = leaveByGateway
		}
		network := netplan(i, leave)
		meta.Network = &network
	}
	text, err := yaml.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	properties[c.MetadataKey] = base64.StdEncoding.EncodeToString(text)
	if c.EncodingKey != "" {
		properties[c.MetadataKey+".encoding"] = string(Base64)
	}
	return properties, nil
}

// sized tells whether the guest is to set the largest packet of an interface.
func (i Instance) sized() bool {
	for _, nic := range i.Interfaces {
		if nic.MTU != 0 {
			return true
		}
	}
	return false
}

func encode(encoding Encoding, data []byte) (string, error) {
	switch encoding {
	case Base64:
	case GzipBase64:
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		if _, err := w.Write(data); err != nil {
			return "", err
		}
		if err := w.Close(); err != nil {
			return "", err
		}
		data = packed.Bytes()
	default:
		return "", fmt.Errorf("encoding %q is not known", encoding)
	}
	return base64.StdEncoding.EncodeToString(data), nil
}
