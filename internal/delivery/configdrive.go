// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// metaDataJSON is the meta_data.json of a config drive.
type metaDataJSON struct {
	UUID     string `json:"uuid"`
	Hostname string `json:"hostname"`
	Name     string `json:"name"`
}

// networkData is the network_data.json of a config drive.
type networkData struct {
	Links    []link     `json:"links"`
	Networks []network  `json:"networks"`
	Services []struct{} `json:"services"`
}

type link struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	MAC  string `json:"ethernet_mac_address"`
	MTU  int32  `json:"mtu,omitempty"`
}

type network struct {
	ID      string         `json:"id"`
	Type    string         `json:"type"`
	Link    string         `json:"link"`
	Address string         `json:"ip_address,omitempty"`
	Netmask string         `json:"netmask,omitempty"`
	Routes  []networkRoute `json:"routes,omitempty"`
}

type networkRoute struct {
	Network string `json:"network"`
	Netmask string `json:"netmask"`
	Gateway string `json:"gateway"`
}

// ConfigDriveFiles returns what a ConfigDrive channel carries. The folder latest is enough: readers fall back to it when
// they know a dated one that is not there.
func ConfigDriveFiles(i Instance) (FileSystem, error) {
	const folder = "openstack/latest/"
	meta, err := json.Marshal(metaDataJSON{UUID: i.UUID, Hostname: i.Name, Name: i.Name})
	if err != nil {
		return FileSystem{}, fmt.Errorf("meta_data.json: %w", err)
	}
	fs := FileSystem{Label: configDriveLabel, Files: map[string][]byte{folder + "user_data": i.Data, folder + "meta_data.json": meta}}
	if !i.static() {
		return fs, nil
	}
	if fs.Files[folder+"network_data.json"], err = json.Marshal(networkDataOf(i)); err != nil {
		return FileSystem{}, fmt.Errorf("network_data.json: %w", err)
	}
	return fs, nil
}

func networkDataOf(i Instance) networkData {
	d := networkData{Services: []struct{}{}}
	add := func(n network) {
		n.ID = "network" + strconv.Itoa(len(d.Networks))
		d.Networks = append(d.Networks, n)
	}
	for n, nic := range i.Interfaces {
		d.Links = append(d.Links, link{ID: linkID(n), Type: "phy", MAC: nic.MAC, MTU: nic.MTU})
		if nic.DHCP {
			add(network{Type: "ipv4_dhcp", Link: linkID(n)})
		}
		for _, a := range nic.Addresses {
			kind := "ipv4"
			if a.Prefix.Addr().Is6() {
				kind = "ipv6"
			}
			static := network{Type: kind, Link: linkID(n), Address: a.Prefix.Addr().String(), Netmask: netmask(a.Prefix)}
			if a.Gateway.IsValid() {
				to := everywhere(a.Gateway)
				static.Routes = []networkRoute{{Network: to.Addr().String(), Netmask: netmask(to), Gateway: a.Gateway.String()}}
			}
			add(static)
		}
	}
	return d
}
