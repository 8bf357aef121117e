// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// smbios says what the firmware tells of the machine.
func (p *probe) smbios() error {
	uuid, err := os.ReadFile("/sys/class/dmi/id/product_uuid")
	switch {
	case os.IsNotExist(err): // the kernel hides an identifier that is all zeros
		p.say("uuid", "none")
	case err != nil:
		return err
	default:
		p.say("uuid", strings.ToLower(string(uuid)))
	}
	table, err := os.ReadFile("/sys/firmware/dmi/tables/DMI")
	if err != nil {
		return err
	}
	entries, err := parseSMBIOS(table)
	if err != nil {
		return err
	}
	p.say("memory", strconv.FormatUint(memoryBytes(entries), 10))
	for i, text := range oemStrings(entries) {
		p.mark([]byte(text))
		p.say(fmt.Sprintf("smbios-oem:%d", i+1), digest([]byte(text)))
		if key, value, ok := oemValue(text); ok {
			p.mark(value)
			p.say("smbios-oem-value:"+key, digest(value))
		}
	}
	return nil
}

// smbiosEntry is one structure of the table: its fields, header included, and its strings.
type smbiosEntry struct {
	kind    byte
	fields  []byte
	strings []string
}

// Kinds of structures.
const (
	smbiosOEMStrings   = 11
	smbiosMemoryDevice = 17
	smbiosEnd          = 127
)

// parseSMBIOS cuts the table into structures: fields of a length that the second byte gives, then strings that each
// end with a zero, then one more zero.
func parseSMBIOS(table []byte) ([]smbiosEntry, error) {
	var entries []smbiosEntry
	for len(table) > 0 {
		if len(table) < 4 || int(table[1]) < 4 || int(table[1]) > len(table) {
			return nil, errors.New("the table ends inside of a structure")
		}
		entry := smbiosEntry{kind: table[0], fields: table[:table[1]]}
		rest := table[table[1]:]
		end := bytes.Index(rest, []byte{0, 0})
		if end < 0 {
			return nil, fmt.Errorf("the strings of a structure of kind %d do not end", entry.kind)
		}
		if end > 0 {
			entry.strings = strings.Split(string(rest[:end]), "\x00")
		}
		entries = append(entries, entry)
		if entry.kind == smbiosEnd {
			break
		}
		table = rest[end+2:]
	}
	return entries, nil
}

func oemStrings(entries []smbiosEntry) []string {
	var all []string
	for _, e := range entries {
		if e.kind == smbiosOEMStrings {
			all = append(all, e.strings...)
		}
	}
	return all
}

// oemValue splits an OEM string of the form key=base64.
func oemValue(text string) (key string, value []byte, ok bool) {
	key, encoded, found := strings.Cut(text, "=")
	value, err := base64.StdEncoding.DecodeString(encoded)
	return key, value, found && err == nil && key != "" && len(value) > 0
}

// memoryBytes is the sum of all memory devices.
func memoryBytes(entries []smbiosEntry) uint64 {
	var sum uint64
	for _, e := range entries {
		if e.kind != smbiosMemoryDevice || len(e.fields) < 0x0e {
			continue
		}
		size := binary.LittleEndian.Uint16(e.fields[0x0c:])
		switch {
		case size == 0xffff: // unknown
		case size == 0x7fff && len(e.fields) >= 0x20: // the size in MiB is in a larger field
			sum += uint64(binary.LittleEndian.Uint32(e.fields[0x1c:])) << 20
		case size&0x8000 != 0: // in KiB
			sum += uint64(size&0x7fff) << 10
		default:
			sum += uint64(size) << 20
		}
	}
	return sum
}
