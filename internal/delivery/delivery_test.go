// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package delivery_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
)

var update = flag.Bool("update", false, "rewrite golden files")

func example() delivery.Instance {
	return delivery.Instance{UUID: "6f0c9d2e-1111-4222-8333-444455556666", Name: "demo-x7k2p", Data: []byte("#cloud-config\n{}\n")}
}

// interfaces are one of each kind: static in both families, DHCP alone, both at once, and nothing.
func interfaces() []delivery.Interface {
	return []delivery.Interface{
		{MAC: "02:00:00:00:00:00", MTU: 9000, Addresses: []delivery.Address{
			{Prefix: netip.MustParsePrefix("192.0.2.10/25"), Gateway: netip.MustParseAddr("192.0.2.1")},
			{Prefix: netip.MustParsePrefix("2001:db8::10/60"), Gateway: netip.MustParseAddr("2001:db8::1")},
		}},
		{MAC: "02:00:00:00:00:01", DHCP: true},
		{MAC: "02:00:00:00:00:02", DHCP: true, Addresses: []delivery.Address{{Prefix: netip.MustParsePrefix("2001:db8:1::10/64")}}},
		{MAC: "02:00:00:00:00:03"},
	}
}

// What a guest finds is an interface to programs that are not ours: a change of it must be seen by a reviewer.
func TestGolden(t *testing.T) {
	kinds := map[string]func(delivery.Instance) (delivery.FileSystem, error){
		"nocloud": delivery.NoCloudFiles, "configdrive": delivery.ConfigDriveFiles,
	}
	for kind, files := range kinds {
		for network, nics := range map[string][]delivery.Interface{
			"static": interfaces(),
			// Without a static address the guest is told nothing, and does what its image does.
			"default": {{MAC: "02:00:00:00:00:00", DHCP: true}},
		} {
			t.Run(kind+"-"+network, func(t *testing.T) {
				i := example()
				i.Interfaces = nics
				fs, err := files(i)
				if err != nil {
					t.Fatal(err)
				}
				golden(t, kind+"-"+network, fs)
			})
		}
	}
}

func golden(t *testing.T, name string, fs delivery.FileSystem) {
	t.Helper()
	var got strings.Builder
	_, _ = fmt.Fprintf(&got, "label %s\n", fs.Label)
	for _, path := range slices.Sorted(maps.Keys(fs.Files)) {
		_, _ = fmt.Fprintf(&got, "--- %s\n%s\n", path, strings.TrimSuffix(string(fs.Files[path]), "\n"))
	}
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("what the guest finds has changed (-update rewrites it):\n%s", diff)
	}
}

// Guests read properties with programs that are not ours: the words, the encoding and the keys are an interface.
func TestGuestInfo(t *testing.T) {
	channel := delivery.Channel{
		Kind: delivery.GuestInfo, Key: "guestinfo.userdata", Encoding: delivery.GzipBase64,
		EncodingKey: "guestinfo.userdata.encoding", MetadataKey: "guestinfo.metadata",
	}
	for name, change := range map[string]func(*delivery.Channel, *delivery.Instance){
		"all":   func(*delivery.Channel, *delivery.Instance) {},
		"plain": func(c *delivery.Channel, _ *delivery.Instance) { c.Encoding = delivery.Base64 },
		"silent": func(_ *delivery.Channel, i *delivery.Instance) {
			i.Interfaces = []delivery.Interface{{MAC: "02:00:00:00:00:00", DHCP: true}}
		},
		"data":     func(c *delivery.Channel, _ *delivery.Instance) { c.MetadataKey, c.Encoding = "", delivery.Base64 },
		"one word": func(c *delivery.Channel, _ *delivery.Instance) { c.EncodingKey, c.Encoding = "", delivery.Base64 },
		"only gateways": func(c *delivery.Channel, _ *delivery.Instance) {
			c.EncodingKey, c.Encoding, c.OnlyGateways = "", delivery.Base64, true
		},
		"only gateways and no network": func(c *delivery.Channel, i *delivery.Instance) {
			c.EncodingKey, c.Encoding, c.OnlyGateways = "", delivery.Base64, true
			i.Interfaces = []delivery.Interface{{MAC: "02:00:00:00:00:00", DHCP: true}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, i := channel, example()
			i.Interfaces = interfaces()
			change(&c, &i)
			properties, err := delivery.GuestInfoProperties(c, i)
			if err != nil {
				t.Fatal(err)
			}
			files := delivery.FileSystem{Label: "properties", Files: map[string][]byte{}}
			for key, value := range properties {
				files.Files[key] = decoded(t, key, value, c)
			}
			golden(t, "guestinfo-"+strings.ReplaceAll(name, " ", "-"), files)
		})
	}
	channel.Encoding = "rot13"
	if _, err := delivery.GuestInfoProperties(channel, example()); err == nil {
		t.Error("an encoding that nobody knows is used")
	}
}

// decoded is what a property holds, as its guest reads it.
func decoded(t *testing.T, key, value string, c delivery.Channel) []byte {
	t.Helper()
	if key != c.Key && key != c.MetadataKey {
		return []byte(value)
	}
	content, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	if key == c.Key && c.Encoding == delivery.GzipBase64 {
		unpacked, err := gzip.NewReader(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if content, err = io.ReadAll(unpacked); err != nil {
			t.Fatal(err)
		}
	}
	return content
}

// A name with characters of YAML must not become another document.
func TestNamesAreQuoted(t *testing.T) {
	i := example()
	i.Name = "a: b # c\nuser: root"
	fs, err := delivery.NoCloudFiles(i)
	if err != nil {
		t.Fatal(err)
	}
	if meta := string(fs.Files["meta-data"]); strings.Contains(meta, "\nuser: root") {
		t.Errorf("the name has made a key:\n%s", meta)
	}
}

func TestOEMString(t *testing.T) {
	data := []byte{0, 1, 2, ',', '\n', 0xff}
	key, value, _ := strings.Cut(delivery.OEMString("io.systemd.credential.binary:x", data), "=")
	decoded, err := base64.StdEncoding.DecodeString(value)
	if key != "io.systemd.credential.binary:x" || err != nil || string(decoded) != string(data) {
		t.Errorf("%q %q %v", key, decoded, err)
	}
}
