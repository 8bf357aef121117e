// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"fmt"
	"net/netip"

	"sigs.k8s.io/yaml"
)

// metaData is NoCloud's meta-data.
type metaData struct {
	InstanceID    string `json:"instance-id"`
	LocalHostname string `json:"local-hostname"`
}

// networkConfig is NoCloud's network-config, version 2, which is netplan's language.
type networkConfig struct {
	Version   int                 `json:"version"`
	Ethernets map[string]ethernet `json:"ethernets"`
}

type ethernet struct {
	Match     match    `json:"match"`
	MTU       int32    `json:"mtu,omitempty"`
	DHCP4     bool     `json:"dhcp4"`
	Addresses []string `json:"addresses,omitempty"`
	Routes    []route  `json:"routes,omitempty"`
	Gateway4  string   `json:"gateway4,omitempty"`
	Gateway6  string   `json:"gateway6,omitempty"`
}

type match struct {
	MAC string `json:"macaddress"`
}

type route struct {
	To  string `json:"to"`
	Via string `json:"via"`
}

// NoCloudFiles returns what a NoCloud channel carries.
func NoCloudFiles(i Instance) (FileSystem, error) {
	meta, err := yaml.Marshal(metaData{InstanceID: i.UUID, LocalHostname: i.Name})
	if err != nil {
		return FileSystem{}, fmt.Errorf("meta-data: %w", err)
	}
	fs := FileSystem{Label: noCloudLabel, Files: map[string][]byte{"user-data": i.Data, "meta-data": meta}}
	if !i.static() {
		return fs, nil
	}
	if fs.Files["network-config"], err = yaml.Marshal(netplan(i, leaveByRoute)); err != nil {
		return FileSystem{}, fmt.Errorf("network-config: %w", err)
	}
	return fs, nil
}

// netplan says the network of a machine; leave says by which gateway an interface leaves it.
func netplan(i Instance, leave func(e *ethernet, by netip.Addr)) networkConfig {
	config := networkConfig{Version: 2, Ethernets: map[string]ethernet{}}
	for n, nic := range i.Interfaces {
		e := ethernet{Match: match{MAC: nic.MAC}, MTU: nic.MTU, DHCP4: nic.DHCP}
		for _, a := range nic.Addresses {
			e.Addresses = append(e.Addresses, a.Prefix.String())
			if a.Gateway.IsValid() {
				leave(&e, a.Gateway)
			}
		}
		config.Ethernets[linkID(n)] = e
	}
	return config
}

func leaveByRoute(e *ethernet, by netip.Addr) {
	e.Routes = append(e.Routes, route{To: everywhere(by).String(), Via: by.String()})
}

// leaveByGateway uses the older words, which know one gateway for each interface and stack: the first.
func leaveByGateway(e *ethernet, by netip.Addr) {
	gateway := &e.Gateway4
	if by.Is6() {
		gateway = &e.Gateway6
	}
	if *gateway == "" {
		*gateway = by.String()
	}
}
