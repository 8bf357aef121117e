// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ova makes what is published for vSphere: disks in streamOptimized VMDK, and packages in OVA. The disks hold noise,
// since no test starts what it has made. It knows no adapter and no API object. Only tests import it.
package ova

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"
)

// Capacity is the size of the disks that a guest would see.
const Capacity = 4 << 20

// Head is the beginning of a streamOptimized VMDK, with its descriptor.
func Head(capacity int64) []byte {
	head := make([]byte, 64<<10)
	copy(head, "KDMV")
	binary.LittleEndian.PutUint32(head[4:], 3)
	binary.LittleEndian.PutUint32(head[8:], 1|1<<16|1<<17)
	binary.LittleEndian.PutUint64(head[12:], uint64(capacity/512))
	binary.LittleEndian.PutUint64(head[20:], 128)
	binary.LittleEndian.PutUint64(head[28:], 1)
	binary.LittleEndian.PutUint64(head[36:], 20)
	binary.LittleEndian.PutUint16(head[77:], 1)
	copy(head[512:], "# Disk DescriptorFile\nversion=1\nCID=7f3a1c22\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n")
	return head
}

// Disk is a VMDK that nobody else has. What follows its head is noise.
func Disk() []byte {
	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise)
	return append(Head(Capacity), noise...)
}

// Descriptor is an OVF descriptor as tools write them, whose disk is in a file.
func Descriptor(file string) []byte {
	return []byte(`<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
  xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References><File ovf:href="` + file + `" ovf:id="file1"/></References>
  <DiskSection><Info/><Disk ovf:capacity="4" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="vmdisk1" ovf:fileRef="file1"/></DiskSection>
  <NetworkSection><Info/><Network ovf:name="VM Network"/></NetworkSection>
  <VirtualSystem ovf:id="image"><Info/><Name>image</Name>
    <OperatingSystemSection ovf:id="101" vmw:osType="other3xLinux64Guest"><Info/></OperatingSystemSection>
    <VirtualHardwareSection><Info/>
      <System><vssd:ElementName>Virtual Hardware Family</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID><vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType></System>
      <Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>lsilogic</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
      <Item><rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
      <Item><rasd:InstanceID>5</rasd:InstanceID><rasd:Connection>VM Network</rasd:Connection><rasd:ResourceType>10</rasd:ResourceType></Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>`)
}

// Member is a file in an OVA.
type Member struct {
	Name    string
	Content []byte
}

// Pack packs files.
func Pack(members ...Member) []byte {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, m := range members {
		_ = w.WriteHeader(&tar.Header{Name: m.Name, Mode: 0o644, Size: int64(len(m.Content)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR})
		_, _ = w.Write(m.Content)
	}
	_ = w.Close()
	return packed.Bytes()
}

// Package is an OVA as tools write them, that nobody else has.
func Package() []byte {
	return Pack(Member{"image.ovf", Descriptor("disk.vmdk")}, Member{"image.mf", []byte("SHA256(disk.vmdk)= 00\n")}, Member{"disk.vmdk", Disk()})
}

// Whole serves a file.
func Whole(file []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
	}
}

// Drip serves a file whose second half waits until release is called.
func Drip(file []byte) (serve http.HandlerFunc, release func()) {
	gate := make(chan struct{})
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(file)))
		_, _ = w.Write(file[:len(file)/2])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-gate:
		case <-r.Context().Done():
			return
		}
		_, _ = w.Write(file[len(file)/2:])
	}, func() { close(gate) }
}

// Publish serves until the test ends, and returns where.
func Publish(t *testing.T, serve http.HandlerFunc) (source string) {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	return server.URL + "/image"
}
