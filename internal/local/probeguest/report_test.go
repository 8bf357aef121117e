// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package probeguest_test

import (
	"reflect"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/probeguest"
)

// A console also has what firmware and loader wrote, and is read while the guest still writes.
func TestParseConsole(t *testing.T) {
	cases := map[string]struct {
		why     string
		console string
		want    probeguest.Report
	}{
		"a guest that said nothing": {
			why:     "a test that waits reads the console long before",
			console: "\x1b[2JBdsDxe: starting Boot0001\r\n",
			want:    probeguest.Report{},
		},
		"values of one key in order": {
			why:     "a machine has several disks",
			console: "\x1b[2J\r\nPROBE begin\r\nPROBE disk=vda,1,a\r\nPROBE disk=vdb,2,\r\nPROBE done\r\n",
			want:    probeguest.Report{"begin": {""}, "disk": {"vda,1,a", "vdb,2,"}, "done": {""}},
		},
		"a line that has not ended": {
			why:     "half of a digest is another digest",
			console: "PROBE begin\nPROBE uuid=1234\nPROBE fw_cfg:opt/a=0123",
			want:    probeguest.Report{"begin": {""}, "uuid": {"1234"}},
		},
		"only the last boot": {
			why:     "after a reset, what was seen before says nothing about what is there now",
			console: "PROBE begin\nPROBE cpus=1\nPROBE done\nSeaBIOS\nPROBE begin\nPROBE cpus=2\n",
			want:    probeguest.Report{"begin": {""}, "cpus": {"2"}},
		},
		"an escaped key, and a value with the sign": {
			why:     "a file in an ISO volume may have any name",
			console: "PROBE begin\nPROBE iso:cidata:a%3Db%20c%25=00\nPROBE error=x=y\n",
			want:    probeguest.Report{"begin": {""}, "iso:cidata:a=b c%": {"00"}, "error": {"x=y"}},
		},
		"words that only look like it": {
			why:     "the kernel prints its command line",
			console: "PROBE begin\n[ 0.1] PROBE cpus=9\nPROBEcpus=8\n",
			want:    probeguest.Report{"begin": {""}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := probeguest.ParseConsole([]byte(c.console)); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %q, want %q: %s", got, c.want, c.why)
			}
		})
	}
}

func TestEachBootHasItsReport(t *testing.T) {
	boots := probeguest.ParseBoots([]byte("PROBE begin\nPROBE done\nPROBE begin\nPROBE cpus=2\n"))
	if len(boots) != 2 || !boots[0].Has(probeguest.Done) || boots[1].Has(probeguest.Done) || boots[1].Value("cpus") != "2" {
		t.Errorf("got %q, want a boot that is done and one that is not", boots)
	}
}
