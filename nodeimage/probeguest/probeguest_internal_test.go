// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"testing"
)

// What a real machine shows is tested by booting one, in internal/local/probeguest. Here is what no healthy machine
// shows: the guest must not fall over what a hypervisor, a network or a disk gets wrong, nor report what is not there.

// structure is one entry of an SMBIOS table.
func structure(kind byte, fields []byte, texts ...string) []byte {
	out := append([]byte{kind, byte(4 + len(fields)), 0, 0}, fields...)
	for _, text := range texts {
		out = append(append(out, text...), 0)
	}
	if len(texts) == 0 {
		out = append(out, 0)
	}
	return append(out, 0)
}

func memoryDevice(size uint16, extended uint32) []byte {
	fields := make([]byte, 0x24)
	binary.LittleEndian.PutUint16(fields[0x0c-4:], size)
	binary.LittleEndian.PutUint32(fields[0x1c-4:], extended)
	return structure(smbiosMemoryDevice, fields)
}

func TestTheSMBIOSTable(t *testing.T) {
	table := slices.Concat(
		structure(0, []byte{1, 2}, "vendor", "version"),
		structure(smbiosOEMStrings, []byte{2}, "a=aGVsbG8=", "plain"),
		structure(smbiosOEMStrings, []byte{1}, "second structure"),
		memoryDevice(512, 0), memoryDevice(0x8000|64, 0), memoryDevice(0x7fff, 32<<10), memoryDevice(0xffff, 0), memoryDevice(0, 0),
		structure(smbiosEnd, nil),
		[]byte("rubbish behind the end"),
	)
	entries, err := parseSMBIOS(table)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := oemStrings(entries), []string{"a=aGVsbG8=", "plain", "second structure"}; !slices.Equal(got, want) {
		t.Errorf("got OEM strings %q, want %q", got, want)
	}
	if got, want := memoryBytes(entries), uint64(512<<20+64<<10+32<<30); got != want {
		t.Errorf("got %d bytes of memory, want %d: sizes in MiB, KiB and the larger field, unknown and empty ones", got, want)
	}
	for cut := range len(table) - len("rubbish behind the end") {
		entries, err := parseSMBIOS(table[:cut])
		if err == nil && len(entries) > 9 {
			t.Errorf("%d bytes of the table give %d structures", cut, len(entries))
		}
	}
	if _, err := parseSMBIOS([]byte{11, 200, 0, 0, 1}); err == nil {
		t.Error("a structure that is longer than its table is read")
	}
}

func TestOnlyBase64IsDecoded(t *testing.T) {
	for text, want := range map[string]string{
		"key=aGVsbG8=":            "hello",
		"io.systemd.x:y=aGVsbG8=": "hello",
		"key=not base64":          "",
		"key=":                    "",
		"=aGVsbG8=":               "",
		"aGVsbG8":                 "",
		"key=aGVsbG8":             "", // the padding is missing
	} {
		_, value, ok := oemValue(text)
		if ok != (want != "") || (ok && string(value) != want) {
			t.Errorf("%q: got %q, %t, want %q", text, value, ok, want)
		}
	}
}

func testMAC() net.HardwareAddr { return net.HardwareAddr{0x52, 0x54, 0, 0xaa, 0xbb, 0xcc} }

// answer is what a server says to testMAC.
func answer(kind byte, options ...byte) []byte {
	m := dhcpMessage(dhcpDiscover, testMAC(), lease{})[:dhcpOptions]
	m[0] = 2
	copy(m[dhcpYourAddress:], []byte{192, 0, 2, 7})
	m = append(m, optionType, 1, kind)
	return append(m, options...)
}

func TestAnswersOfDHCPServers(t *testing.T) {
	server := []byte{optionServer, 4, 192, 0, 2, 1}
	other := answer(dhcpOffer, server...)
	other[dhcpHardware+5]++
	late := answer(dhcpOffer, server...)
	late[dhcpTransaction]++
	request := answer(dhcpOffer, server...)
	request[0] = 1
	cases := map[string]struct {
		why     string
		message []byte
		want    string // address/mask, "" when the message does not count
	}{
		"an offer":                  {"the usual", answer(dhcpOffer, append(slices.Clone(server), optionMask, 4, 255, 255, 255, 128, optionEnd)...), "192.0.2.7/25"},
		"an offer without mask":     {"the class of the address decides", answer(dhcpOffer, append([]byte{0, 0}, server...)...), "192.0.2.7/24"},
		"for another machine":       {"all hear a broadcast", other, ""},
		"of another transaction":    {"all hear a broadcast", late, ""},
		"a client's message":        {"all hear a broadcast", request, ""},
		"without server":            {"nobody could be asked for the lease", answer(dhcpOffer), ""},
		"an option that is cut off": {"its length lies", answer(dhcpOffer, append(slices.Clone(server), optionMask, 4, 255)...), ""},
		"too short":                 {"anything may come by the network", make([]byte, 100), ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			kind, l, ok := readDHCP(c.message, testMAC())
			got := ""
			if ok && kind == dhcpOffer {
				got = (&net.IPNet{IP: l.address, Mask: l.mask}).String()
			}
			if got != c.want {
				t.Errorf("got %q, want %q: %s", got, c.want, c.why)
			}
		})
	}
}

func TestARequestNamesTheOfferAndItsServer(t *testing.T) {
	m := dhcpMessage(dhcpRequest, testMAC(), lease{address: net.IPv4(192, 0, 2, 7), server: net.IPv4(192, 0, 2, 1)})
	for _, option := range [][]byte{{optionType, 1, dhcpRequest}, {optionAddress, 4, 192, 0, 2, 7}, {optionServer, 4, 192, 0, 2, 1}} {
		if !bytes.Contains(m[dhcpOptions:], option) {
			t.Errorf("the request lacks %v", option)
		}
	}
	if len(m) < 300 {
		t.Errorf("the request has %d bytes; some servers drop what is shorter than 300", len(m))
	}
}

func TestVolumesAreKnownByTheirFirstBytes(t *testing.T) {
	iso := make([]byte, isoDescriptor+2048)
	copy(iso[isoDescriptor:], "\x01CD001")
	copy(iso[isoDescriptor+40:], "cidata"+strings.Repeat(" ", 26))
	fat32, fat16 := make([]byte, 512), make([]byte, 512)
	copy(fat32[510:], "\x55\xaa")
	copy(fat32[82:], "FAT32   ")
	copy(fat32[71:], "config-2   ")
	copy(fat16[510:], "\x55\xaa")
	copy(fat16[54:], "FAT16   ")
	copy(fat16[43:], "CIDATA     ")
	bootSector := make([]byte, 512)
	copy(bootSector[510:], "\x55\xaa")
	for name, c := range map[string]struct {
		head        []byte
		kind, label string
	}{
		"ISO 9660":             {iso, "iso9660", "cidata"},
		"FAT32":                {fat32, "vfat", "config-2"},
		"FAT16":                {fat16, "vfat", "CIDATA"},
		"a disk with a loader": {bootSector, "", ""},
		"an empty disk":        {make([]byte, isoDescriptor+2048), "", ""},
		"a tiny disk":          {make([]byte, 100), "", ""},
		"nothing":              {nil, "", ""},
	} {
		if kind, label := volumeKind(c.head); kind != c.kind || label != c.label {
			t.Errorf("%s: got %q %q, want %q %q", name, kind, label, c.kind, c.label)
		}
	}
}

func TestOnlyTheWordsSwitchThePowerButtonOff(t *testing.T) {
	for text, want := range map[string]bool{
		"#cloud-config\n# probe.ignore-acpi\n": true,
		"ignore-acpi":                          false, // a word that a real configuration may have
		"":                                     false,
	} {
		p := &probe{}
		p.mark([]byte(text))
		if p.ignoreACPI.Load() != want {
			t.Errorf("%q: ignored %t, want %t", text, !want, want)
		}
	}
}

func TestOnlyPressingThePowerButtonCounts(t *testing.T) {
	event := func(kind, code uint16, value uint32) []byte {
		e := make([]byte, eventBytes)
		binary.LittleEndian.PutUint16(e[16:], kind)
		binary.LittleEndian.PutUint16(e[18:], code)
		binary.LittleEndian.PutUint32(e[20:], value)
		return e
	}
	for name, c := range map[string]struct {
		event []byte
		want  bool
	}{
		"pressed":     {event(eventKey, keyPower, 1), true},
		"released":    {event(eventKey, keyPower, 0), false},
		"another key": {event(eventKey, 30, 1), false},
		"no key":      {event(0, keyPower, 1), false},
	} {
		if got := isPowerPress(c.event); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
	}
}

func TestALineStaysOneLine(t *testing.T) {
	var out bytes.Buffer
	p := &probe{out: &out}
	p.say("iso:a b:x=y%\n", "first\nsecond ")
	if got, want := out.String(), "PROBE iso:a%20b:x%3Dy%25%0A=first second\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheChosenWordOfAList(t *testing.T) {
	for text, want := range map[string]string{"none [integrity] confidentiality\n": "integrity", "[none] x": "none", "none": ""} {
		if got := chosen(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
