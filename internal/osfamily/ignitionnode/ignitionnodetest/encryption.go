// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignitionnodetest

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
)

// volumes are what a configuration in Ignition's words says of encryption and file systems. Their words are the same in
// every specification that knows them.
type volumes struct {
	Storage struct {
		LUKS []struct {
			Name   string `json:"name"`
			Device string `json:"device"`
			Label  string `json:"label"`
			Wipe   bool   `json:"wipeVolume"`
			Clevis struct {
				TPM2 bool `json:"tpm2"`
			} `json:"clevis"`
		} `json:"luks"`
		Filesystems []struct {
			Device string `json:"device"`
			Format string `json:"format"`
			Label  string `json:"label"`
			Path   string `json:"path"`
			Wipe   bool   `json:"wipeFilesystem"`
		} `json:"filesystems"`
	} `json:"storage"`
}

func readVolumes(t *testing.T, data []byte) volumes {
	t.Helper()
	var v volumes
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// RunEncryption checks a family whose images can encrypt their root. butane is what Butane makes of a configuration of its
// own that encrypts the root: the same volumes must come of the portable setting.
func RunEncryption(t *testing.T, s Suite, butane []byte) {
	t.Helper()
	in := s.encrypted(t)
	found := readVolumes(t, s.render(t, in))
	if diff := cmp.Diff(readVolumes(t, butane), found); diff != "" {
		t.Fatalf("not what Butane makes of its own words (-Butane +Ingot):\n%s", diff)
	}
	root := found.Storage.LUKS[0]
	opened := "/dev/mapper/" + root.Name
	for why, snippet := range map[string]string{
		"another volume of the name":           luks(root.Name, "/dev/vdb"),
		"another volume on the partition":      luks("data", root.Device),
		"another file system in the volume":    "storage: {filesystems: [{device: " + opened + ", format: btrfs}]}",
		"a file system beside the volume":      "storage: {filesystems: [{device: " + root.Device + ", format: xfs, wipe_filesystem: true}]}",
		"another root, which is not encrypted": fs("/"),
	} {
		t.Run("refuses "+why, func(t *testing.T) {
			in := s.encrypted(t)
			in.Config.Ignition.Butane = []string{snippet}
			s.checkRefused(t, in, snippetPath, "belongs to the root that spec.diskEncryption encrypts")
		})
	}
	t.Run("takes another volume", func(t *testing.T) {
		in := s.encrypted(t)
		in.Config.Ignition.Butane = []string{luks("data", "/dev/vdb"), "storage: {filesystems: [{device: /dev/mapper/data, format: xfs, path: /var/lib/data, with_mount_unit: true}]}"}
		data := s.render(t, in)
		if err := ignition.Validate(data); err != nil {
			t.Error(err)
		}
		if both := readVolumes(t, data).Storage; len(both.LUKS) != 2 || len(both.Filesystems) != 2 {
			t.Errorf("one of two volumes is lost: %+v", both)
		}
	})
}

func (s Suite) encrypted(tb testing.TB) osfamily.Input {
	tb.Helper()
	in := s.input(tb, "worker")
	in.Config.DiskEncryption.Key = bootstrapv1.DiskKeyTPM2
	return in
}

func luks(name, device string) string {
	return fmt.Sprintf("storage: {luks: [{name: %s, device: %s}]}", name, device)
}
