// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignitionnodetest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

// RunReal has the real programs judge every bundle: Ignition applies it to a folder, kubeadm reads the configuration that
// it finds there. Cases that need more than a folder, because they prepare disks, make users or restore, are left out.
func RunReal(t *testing.T, s Suite) {
	t.Helper()
	programs := RealPrograms(t)
	for _, c := range append(osfamilytest.Cases(s.selectFamily), s.Cases(t)...) {
		if c.Input.Restore != nil || needsMore(c.Input) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			in := c.Input
			fetched := serveSysexts(t, &in)
			data := s.render(t, in)
			root := t.TempDir()
			if asked := programs.Apply(t, data, root); asked != (len(fetched) > 0) {
				t.Errorf("Ignition asked for the network: %t, and %d files are fetched", asked, len(fetched))
			}
			CheckApplied(t, data, root, s.atPaths(fetched))
			programs.Run(t, "kubeadm", "config", "validate", "--config", filepath.Join(root, "etc/ingot/kubeadm.yaml"))
		})
	}
	if s.SysextFolder != "" {
		t.Run("refuses an extension that is another", func(t *testing.T) { s.checkOtherSysext(t, programs) })
	}
}

// checkOtherSysext has a server give another image than the one with the digest. The machine must not come up.
func (s Suite) checkOtherSysext(t *testing.T, programs Programs) {
	t.Helper()
	in := s.input(t, "worker")
	in.Config.Ignition.Sysexts = sysexts()
	serveSysexts(t, &in)
	in.Config.Ignition.Sysexts[1].SHA256 = strings.Repeat("1e", 32)
	boot := programs.FirstBoot(t, s.render(t, in), t.TempDir())
	for _, stage := range []string{"fetch-offline", "fetch"} {
		if out, err := boot.Stage(stage); err != nil {
			t.Fatalf("stage %s: %v\n%s", stage, err, out)
		}
	}
	if out, err := boot.Stage("files"); err == nil || !strings.Contains(out, "hash verification failed") {
		t.Errorf("Ignition took another image: %v\n%s", err, out)
	}
}

func needsMore(in osfamily.Input) bool {
	if in.Config.DiskEncryption.Key != "" {
		return true
	}
	for _, snippet := range in.Config.Ignition.Butane {
		if snippet == disks || snippet == remote {
			return true
		}
	}
	return false
}

// serveSysexts puts the extensions behind a real server, and their real digests into the input. It returns their content.
func serveSysexts(t *testing.T, in *osfamily.Input) map[string]string {
	t.Helper()
	content := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(content[strings.TrimPrefix(r.URL.Path, "/")]))
	}))
	t.Cleanup(server.Close)
	for i := range in.Config.Ignition.Sysexts {
		s := &in.Config.Ignition.Sysexts[i]
		content[s.Name] = strings.Repeat("image of "+s.Name+"\n", 1000)
		long, short := sha512.Sum512([]byte(content[s.Name])), sha256.Sum256([]byte(content[s.Name]))
		if s.URL = server.URL + "/" + s.Name; s.SHA512 != "" {
			s.SHA512 = hex.EncodeToString(long[:])
		} else {
			s.SHA256 = hex.EncodeToString(short[:])
		}
	}
	return content
}

// atPaths gives the content of extensions by the paths where they must lie.
func (s Suite) atPaths(content map[string]string) map[string]string {
	paths := map[string]string{}
	for name, text := range content {
		paths[s.SysextFolder+"/"+name+".raw"] = text
	}
	return paths
}

func (s Suite) render(t *testing.T, in osfamily.Input) []byte {
	t.Helper()
	bundle, report := s.Family.Render(in)
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	return bundle.Data
}
