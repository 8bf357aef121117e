// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignition_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
)

func sample() ignition.Config {
	return ignition.Config{
		Files: []ignition.File{
			{Path: "/etc/hostname", Mode: 0o644, Data: []byte("node\n")},
			{Path: "/etc/secret", Mode: 0o600, Data: []byte{0, 0xff, '"', '\n'}},
			{Path: "/etc/hosts", Mode: 0o644, Data: []byte("127.0.1.1 node\n"), Append: true},
			{Path: "/etc/empty", Mode: 0o755, Data: []byte{}},
			{Path: "/data/member/db", Mode: 0o600, Remote: ignition.Remote{URL: "https://example.com/db?a=b&c=d", SHA512: strings.Repeat("0f", 64)}},
		},
		Folders:      []ignition.Folder{{Path: "/data", Mode: 0o700}, {Path: "/data/member", Mode: 0o700}},
		Authorities:  []string{"-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"},
		FetchTimeout: 90 * time.Second,
		Units: []ignition.Unit{
			{Name: "a.service", Contents: "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n", Enabled: true},
			{Name: "b.timer", Masked: true},
			{Name: "c.service", Dropins: map[string]string{"20-x.conf": "[Unit]\n", "10-y.conf": "[Service]\n"}},
		},
	}
}

// What is encoded must mean what was said: content byte for byte, modes, enablement and masks.
func TestEncodeRoundTrip(t *testing.T) {
	data, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ignition.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	want := sample()
	slices.SortFunc(want.Files, func(a, b ignition.File) int { return strings.Compare(a.Path, b.Path) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decoded configuration differs (-want +got):\n%s", diff)
	}
}

// A digest of the bytes decides whether machines roll, so neither listing order nor map order may leak into them.
func TestEncodeIsDeterministic(t *testing.T) {
	first, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		shuffled := sample()
		slices.Reverse(shuffled.Files)
		slices.Reverse(shuffled.Units)
		slices.Reverse(shuffled.Folders)
		again, err := shuffled.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, again) {
			t.Fatalf("the same configuration gave other bytes:\n%s\n%s", first, again)
		}
	}
	if bytes.Contains(first, []byte("{}")) {
		t.Errorf("empty objects are noise in what a person reviews: %s", first)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, tc := range []struct {
		why    string
		config ignition.Config
		want   string
	}{
		{
			why:    "Ignition refuses relative paths on the machine, where nobody can correct them",
			config: ignition.Config{Files: []ignition.File{{Path: "etc/hostname"}}},
			want:   "path not absolute",
		},
		{
			why: "two files at one path would let the order decide",
			config: ignition.Config{Files: []ignition.File{
				{Path: "/etc/hostname", Data: []byte("a")}, {Path: "/etc/hostname", Data: []byte("b")},
			}},
			want: "duplicate entry defined",
		},
		{
			why:    "systemd ignores a unit without a known suffix",
			config: ignition.Config{Units: []ignition.Unit{{Name: "a.unit", Enabled: true}}},
			want:   "invalid systemd unit extension",
		},
		{
			why: "enabling a unit without an install section does nothing: Ignition only warns, we refuse",
			config: ignition.Config{Units: []ignition.Unit{
				{Name: "a.service", Contents: "[Service]\nExecStart=/bin/true\n", Enabled: true},
			}},
			want: "install section",
		},
		{
			why:    "what is fetched without a digest could be anything",
			config: ignition.Config{Files: []ignition.File{{Path: "/a", Remote: ignition.Remote{URL: "https://example.com/a"}}}},
			want:   "needs an address and a digest",
		},
		{
			why:    "a digest without an address fetches nothing",
			config: ignition.Config{Files: []ignition.File{{Path: "/a", Remote: ignition.Remote{SHA512: strings.Repeat("0f", 64)}}}},
			want:   "needs an address and a digest",
		},
		{
			why: "a file with two contents would get one of them",
			config: ignition.Config{Files: []ignition.File{{
				Path: "/a", Data: []byte("a"), Remote: ignition.Remote{URL: "https://example.com/a", SHA512: strings.Repeat("0f", 64)},
			}}},
			want: "either given or fetched",
		},
		{
			why:    "a digest that is none would be found out on the machine",
			config: ignition.Config{Files: []ignition.File{{Path: "/a", Remote: ignition.Remote{URL: "https://example.com/a", SHA512: "0f"}}}},
			want:   "incorrect size for hash sum",
		},
		{
			why:    "relative folders have no place",
			config: ignition.Config{Folders: []ignition.Folder{{Path: "data", Mode: 0o700}}},
			want:   "path not absolute",
		},
	} {
		t.Run(tc.why, func(t *testing.T) {
			_, err := tc.config.Encode()
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got error %v, want one that contains %q", err, tc.want)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for why, data := range map[string]string{
		"no bytes at all":              ``,
		"another specification":        `{"ignition":{"version":"2.3.0"}}`,
		"an unknown key":               `{"ignition":{"version":"3.4.0"},"storgae":{}}`,
		"a file without a digest":      `{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/a","contents":{"source":"https://example.com/a"}}]}}`,
		"a file without any content":   `{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/a"}]}}`,
		"a data URL that is no base64": `{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/a","contents":{"source":"data:;base64,%"}}]}}`,
	} {
		t.Run(why, func(t *testing.T) {
			if _, err := ignition.Decode([]byte(data)); err == nil {
				t.Fatalf("decoded %s", data)
			}
		})
	}
}

// Ignition takes a blank line at the end of a bundle for a certificate that it cannot read, and gives up.
func TestAuthoritiesEndWithACertificate(t *testing.T) {
	config := sample()
	config.Authorities[0] = "\n" + config.Authorities[0] + "\n\n"
	data, err := config.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ignition.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample().Authorities, got.Authorities); diff != "" {
		t.Errorf("the bundle differs (-want +got):\n%s", diff)
	}
}
