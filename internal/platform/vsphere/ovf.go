// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"encoding/xml"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// What an OVF descriptor (DSP0243) tells beside the disk is of no use here: a machine's processors, memory, networks and
// firmware are those of its spec, and a template has none of its own.
type ovfDescriptor struct {
	XMLName xml.Name `xml:"Envelope"`
	Files   []struct {
		ID          string `xml:"id,attr"`
		Href        string `xml:"href,attr"`
		Compression string `xml:"compression,attr"`
		ChunkSize   string `xml:"chunkSize,attr"`
	} `xml:"References>File"`
	Disks []struct {
		ID        string `xml:"diskId,attr"`
		FileRef   string `xml:"fileRef,attr"`
		ParentRef string `xml:"parentRef,attr"`
	} `xml:"DiskSection>Disk"`
	Systems     []ovfSystem `xml:"VirtualSystem"`
	Collections []struct{}  `xml:"VirtualSystemCollection"`
}

type ovfSystem struct {
	OS struct {
		Type string `xml:"osType,attr"`
	} `xml:"OperatingSystemSection"`
	Hardware []ovfHardware `xml:"VirtualHardwareSection"`
}

type ovfHardware struct {
	Types string    `xml:"System>VirtualSystemType"`
	Items []ovfItem `xml:"Item"`
}

type ovfItem struct {
	ID      string   `xml:"InstanceID"`
	Kind    string   `xml:"ResourceType"`
	SubKind string   `xml:"ResourceSubType"`
	Hosts   []string `xml:"HostResource"`
	Parent  string   `xml:"Parent"`
}

// Kinds of items, as CIM_ResourceAllocationSettingData counts them.
const (
	itemIDE   = "5"
	itemSCSI  = "6"
	itemDisk  = "17"
	itemOther = "20" // SATA and NVMe, told apart by their subtype
)

// Kinds of controllers that a disk can hang on.
const (
	pvSCSI      = "VirtualSCSI"
	lsiLogic    = "lsilogic"
	lsiLogicSAS = "lsilogicsas"
	busLogic    = "buslogic"
	ahci        = "AHCI"
	nvme        = "NVMe"
	ide         = "IDE"
)

var (
	hardwarePattern = regexp.MustCompile(`^vmx-[0-9]{1,3}$`)
	guestPattern    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// blueprint is what a template is made with beside its disk.
type blueprint struct {
	// guest is vCenter's name for the operating system, and hardware the version of the virtual hardware; empty means
	// vCenter's choice.
	guest, hardware string
	// controller is the kind of controller that the disk hangs on.
	controller string
}

// parseOVF returns what a descriptor says, and the name of the file that holds its one disk.
func parseOVF(text []byte) (plan blueprint, file string, err error) {
	var d ovfDescriptor
	if err := xml.Unmarshal(text, &d); err != nil {
		return blueprint{}, "", fmt.Errorf("the OVF descriptor cannot be read: %w", err)
	}
	switch {
	case len(d.Systems) != 1 || len(d.Collections) > 0:
		return blueprint{}, "", errors.New("the OVF package does not hold exactly one virtual machine: export the one that is meant by itself")
	case len(d.Disks) != 1:
		return blueprint{}, "", fmt.Errorf("the OVF package has %d disks, and an image is one: make a template of it in vCenter and name that instead", len(d.Disks))
	}
	disk := d.Disks[0]
	if disk.ParentRef != "" || disk.FileRef == "" {
		return blueprint{}, "", errors.New("the disk of the OVF package has no file of its own")
	}
	for _, f := range d.Files {
		if f.ID != disk.FileRef {
			continue
		}
		if f.Compression != "" && f.Compression != "identity" || f.ChunkSize != "" {
			return blueprint{}, "", fmt.Errorf("file %q is compressed or cut into chunks beside being a VMDK: pack it as it is", f.Href)
		}
		file = f.Href
	}
	if file == "" {
		return blueprint{}, "", errors.New("the OVF package does not say in which file its disk is")
	}
	if file, err = memberName(file); err != nil {
		return blueprint{}, "", err
	}
	plan, err = d.Systems[0].blueprint(disk.ID)
	return plan, file, err
}

func (s ovfSystem) blueprint(disk string) (blueprint, error) {
	plan := blueprint{controller: pvSCSI}
	if guestPattern.MatchString(s.OS.Type) {
		plan.guest = s.OS.Type
	}
	for _, hardware := range s.Hardware {
		for _, kind := range strings.FieldsFunc(hardware.Types, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\t' }) {
			if hardwarePattern.MatchString(kind) && plan.hardware == "" {
				plan.hardware = kind
			}
		}
		for _, item := range hardware.Items {
			if item.Kind != itemDisk || !item.holds(disk) {
				continue
			}
			var err error
			plan.controller, err = hardware.controller(item.Parent)
			return plan, err
		}
	}
	return plan, nil
}

// holds tells whether an item is the disk, which it names as ovf:/disk/ID or /disk/ID.
func (i ovfItem) holds(disk string) bool {
	for _, host := range i.Hosts {
		if path.Base(strings.TrimSpace(host)) == disk {
			return true
		}
	}
	return false
}

// controller is the kind of the controller that an item is.
func (h ovfHardware) controller(id string) (string, error) {
	for _, item := range h.Items {
		if item.ID != id {
			continue
		}
		kind := strings.ToLower(strings.TrimSpace(item.SubKind))
		switch {
		case item.Kind == itemIDE:
			return ide, nil
		case item.Kind == itemOther && strings.Contains(kind, "nvme"):
			return nvme, nil
		case item.Kind == itemOther && (strings.Contains(kind, "sata") || strings.Contains(kind, "ahci")):
			return ahci, nil
		case item.Kind == itemSCSI && (kind == lsiLogic || kind == lsiLogicSAS || kind == busLogic):
			return kind, nil
		case item.Kind == itemSCSI && (kind == "virtualscsi" || kind == ""):
			return pvSCSI, nil
		}
		return "", fmt.Errorf("the disk hangs on a controller of kind %.40q %.40q, which is not known", item.Kind, item.SubKind)
	}
	return pvSCSI, nil
}

// memberName is the name of a file in an OVA, which has no folders. What points out of it is no name.
func memberName(name string) (string, error) {
	clean := path.Clean(name)
	if name == "" || clean == "." || clean == ".." || strings.ContainsAny(clean, "/\\:%\x00") {
		return "", fmt.Errorf("%.100q is no name of a file in an OVA, which has no folders", name)
	}
	return clean, nil
}
