// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos_test

import (
	"strings"
	"testing"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talos"
)

func encrypted(contract bootstrapv1.TalosContract, key bootstrapv1.DiskKey) osfamily.Input {
	in := osfamilytest.Worker(suite(contract).Select)
	in.Config.DiskEncryption.Key = key
	return in
}

// The machinery says things of volumes itself, for example how they are mounted. A golden file of one setting shows what is
// added only, so what would be taken away is looked for here.
func TestEncryptionTakesNothingAway(t *testing.T) {
	t.Parallel()
	for _, contract := range contracts() {
		for _, key := range []bootstrapv1.DiskKey{bootstrapv1.DiskKeyTPM2, bootstrapv1.DiskKeyNodeID} {
			without, _ := talos.New().Render(encrypted(contract, ""))
			with, report := talos.New().Render(encrypted(contract, key))
			if err := report.Err(); err != nil {
				t.Fatal(err)
			}
			count := map[string]int{}
			for line := range strings.Lines(string(with.Data)) {
				count[line]++
			}
			for line := range strings.Lines(string(without.Data)) {
				if count[line]--; count[line] < 0 {
					t.Errorf("%s, %s: %q is gone", contract, key, line)
				}
			}
			if got := strings.Count(string(with.Data), "provider: luks2"); got != 2 {
				t.Errorf("%s, %s: %d volumes are encrypted, want STATE and EPHEMERAL", contract, key, got)
			}
		}
	}
}

// What the spec encrypts, no patch opens, in whichever of Talos' words. Everything else of a volume is the user's.
func TestPatchesAndEncryption(t *testing.T) {
	t.Parallel()
	const other = "{provider: luks2, keys: [{slot: 0, nodeID: {}}]}"
	for _, contract := range contracts() {
		for name, c := range map[string]struct {
			patch   string
			refused bool
		}{
			"another key":                       {document("VolumeConfig", "name: STATE\nencryption: {keys: [{slot: 1, nodeID: {}}]}\n"), true},
			"no encryption":                     {document("VolumeConfig", "name: EPHEMERAL\n$patch: delete\n"), true},
			"the words of an older release":     {"machine: {systemDiskEncryption: {state: " + other + ", ephemeral: " + other + "}}", true},
			"the size of an encrypted volume":   {document("VolumeConfig", "name: EPHEMERAL\nprovisioning: {maxSize: 50GiB}\n"), false},
			"an encrypted volume of the user's": {document("UserVolumeConfig", "name: data\nprovisioning: {diskSelector: {match: \"!system_disk\"}, minSize: 10GiB}\nencryption: "+other+"\n"), false},
		} {
			in := encrypted(contract, bootstrapv1.DiskKeyTPM2)
			in.Config.Talos.Patches = []string{c.patch}
			bundle, report := talos.New().Render(in)
			err := report.Err()
			switch {
			case c.refused && (err == nil || len(bundle.Data) > 0 || !strings.Contains(err.Error(), "spec.talos.patches")):
				t.Errorf("%s, %s: not refused at the patch: %v", contract, name, err)
			case !c.refused && err != nil:
				t.Errorf("%s, %s: %v", contract, name, err)
			case !c.refused && strings.Count(string(bundle.Data), "tpm: {}") != 2:
				t.Errorf("%s, %s: the TPM opens other volumes than STATE and EPHEMERAL", contract, name)
			}
		}
		in := encrypted(contract, "")
		in.Config.Talos.Patches = []string{document("VolumeConfig", "name: EPHEMERAL\nencryption: "+other+"\n")}
		if _, report := talos.New().Render(in); report.Err() != nil {
			t.Errorf("%s: without diskEncryption it is the user's: %v", contract, report.Err())
		}
	}
}
