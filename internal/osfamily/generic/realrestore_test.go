// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package generic_test

import (
	"crypto/sha512"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/generic"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignitionnode/ignitionnodetest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

// What a node that restores depends on is Ignition's behaviour, not ours: that it asks for the network before it needs
// it, trusts the authority of the bundle, refuses other content, and ends when it cannot fetch. So the real program
// fetches from a real server here.
func TestRealIgnitionFetchesWhatIsRestored(t *testing.T) {
	programs := realPrograms(t)
	restored := 0
	for _, c := range osfamilytest.Cases(suite().Select) {
		if c.Input.Restore == nil {
			continue
		}
		restored++
		t.Run(c.Name, func(t *testing.T) {
			in := c.Input
			snapshot := serve(t, in.Restore.Files)
			in.Restore = snapshot.restore()
			root := t.TempDir()
			boot := programs.FirstBoot(t, rendered(t, in, time.Minute), root)

			expectStage(t, boot, "fetch-offline", "")
			if !boot.NeedsNetwork() {
				t.Error("an image that is not told would not start its network")
			}
			if snapshot.requests.Load() > 0 {
				t.Error("the first stage used the network already")
			}
			expectStage(t, boot, "fetch", "")
			expectStage(t, boot, "files", "")

			for path, content := range snapshot.content {
				ignitionnodetest.CheckFile(t, root, ignition.File{Path: path, Mode: 0o600, Data: []byte(content)})
			}
			for _, folder := range []string{"", "member", "member/snap", "member/wal"} {
				checkFolder(t, filepath.Join(root, osfamily.RestoreFolder, folder))
			}
			programs.Run(t, "kubeadm", "config", "validate", "--config", filepath.Join(root, "etc/ingot/kubeadm.yaml"))
		})
	}
	if restored == 0 {
		t.Error("no case restores anything")
	}
}

func TestRealIgnitionRefusesToRestore(t *testing.T) {
	programs := realPrograms(t)
	for _, tc := range []struct {
		why    string
		change func(*snapshot, *osfamily.Restore)
		want   string
	}{
		{"a byte that is another", func(s *snapshot, r *osfamily.Restore) {
			path := r.Files[0].Path
			s.content[path] = "X" + s.content[path][1:]
		}, "hash verification failed"},
		{"a file that ends early", func(s *snapshot, r *osfamily.Restore) {
			path := r.Files[0].Path
			s.content[path] = s.content[path][:len(s.content[path])-1]
		}, "hash verification failed"},
		{"a connection that breaks", func(s *snapshot, _ *osfamily.Restore) { s.breaks = true }, "unexpected EOF"},
		{"a server of an authority that nobody named", func(_ *snapshot, r *osfamily.Restore) { r.Authority = "" }, "unable to fetch resource in time"},
		{"an address that has expired", func(s *snapshot, _ *osfamily.Restore) { s.status = http.StatusForbidden }, "failed to fetch resource"},
		{"a file that is gone", func(s *snapshot, _ *osfamily.Restore) { s.status = http.StatusNotFound }, "resource not found"},
		{"a server that never recovers", func(s *snapshot, _ *osfamily.Restore) { s.status = http.StatusServiceUnavailable }, "unable to fetch resource in time"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			in := nodeSuite().Input(t, "init-restore")
			snapshot := serve(t, in.Restore.Files)
			in.Restore = snapshot.restore()
			tc.change(snapshot, in.Restore)
			root := t.TempDir()
			boot := programs.FirstBoot(t, rendered(t, in, 2*time.Second), root)
			expectStage(t, boot, "fetch-offline", "")
			expectStage(t, boot, "fetch", "")
			expectStage(t, boot, "files", tc.want)
			if path := in.Restore.Files[0].Path; ignitionnodetest.Exists(filepath.Join(root, path)) {
				t.Errorf("%s was written all the same", path)
			}
		})
	}
}

// kubeadm looks whether etcd's folder is empty. On a node that is restored it must only warn, on any other it must refuse.
func TestRealKubeadmTakesTheRestoredFolder(t *testing.T) {
	programs := realPrograms(t)
	for _, tc := range []struct{ name, want string }{
		{"init", "[ERROR DirAvailable--var-lib-etcd]"},
		{"init-restore", "[WARNING DirAvailable--var-lib-etcd]"},
	} {
		in := nodeSuite().Input(t, tc.name)
		if in.Restore != nil {
			in.Restore = serve(t, in.Restore.Files).restore()
		}
		root := t.TempDir()
		boot := programs.FirstBoot(t, rendered(t, in, time.Minute), root)
		expectStage(t, boot, "fetch", "")
		expectStage(t, boot, "files", "")
		if err := os.MkdirAll(filepath.Join(root, osfamily.RestoreFolder, "member"), 0o700); err != nil {
			t.Fatal(err)
		}
		// The other checks fail here, each of them is in the output.
		cmd := exec.CommandContext(t.Context(), programs.Programs["kubeadm"], "init", "phase", "preflight", "--config", "/etc/ingot/kubeadm.yaml", "--rootfs", root)
		out, _ := cmd.CombinedOutput()
		if !strings.Contains(string(out), tc.want) {
			t.Errorf("%s: kubeadm does not say %s:\n%s", tc.name, tc.want, out)
		}
	}
}

// rendered renders the input. The patience of a machine is shortened to that of a test.
func rendered(t *testing.T, in osfamily.Input, patience time.Duration) []byte {
	t.Helper()
	bundle, report := generic.New().Render(in)
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	config, err := ignition.Decode(bundle.Data)
	if err != nil {
		t.Fatal(err)
	}
	if in.Restore != nil && config.FetchTimeout < 10*time.Minute {
		t.Errorf("a machine gives up after %s, want at least 10 min", config.FetchTimeout)
	}
	config.FetchTimeout = patience
	data, err := config.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// expectStage runs a stage, which must fail where a reason is wanted.
func expectStage(t *testing.T, boot *ignitionnodetest.FirstBoot, name, want string) {
	t.Helper()
	out, err := boot.Stage(name)
	if (err != nil) != (want != "") || !strings.Contains(out, want) {
		t.Fatalf("stage %s: %v, want %q in\n%s", name, err, want, out)
	}
}

func checkFolder(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Error(err)
		return
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || info.Mode() != os.ModeDir|0o700 || int(stat.Uid) != os.Getuid() {
		t.Errorf("%s has mode %v, or another owner: etcd holds the cluster's secrets", path, info.Mode())
	}
}

// snapshot is a restored snapshot behind an HTTPS server that has an authority of its own and opens to signed
// addresses only.
type snapshot struct {
	server   *httptest.Server
	files    []osfamily.RestoreFile
	content  map[string]string // by path
	status   int               // what the server answers; zero means that it works
	breaks   bool              // before the end of an answer
	requests atomic.Int32
}

const goodSignature = "signature=c2VjcmV0&expires=1"

// serve makes content for the paths of files.
func serve(t *testing.T, files []osfamily.RestoreFile) *snapshot {
	t.Helper()
	s := &snapshot{content: map[string]string{}}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		content, ok := s.content[r.URL.Path]
		switch {
		case s.status != 0:
			w.WriteHeader(s.status)
		case !ok || r.URL.RawQuery != goodSignature:
			w.WriteHeader(http.StatusForbidden)
		case s.breaks:
			w.Header().Set("Content-Length", strconv.Itoa(len(content)+1))
			fallthrough
		default:
			_, _ = w.Write([]byte(content))
		}
	}))
	s.server.Config.ErrorLog = log.New(t.Output(), "server: ", 0)
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	for i, file := range files {
		content := strings.Repeat(fmt.Sprintf("content %d of %s\n", i, file.Path), 1000)
		sum := sha512.Sum512([]byte(content))
		s.content[file.Path] = content
		s.files = append(s.files, osfamily.RestoreFile{
			Path: file.Path, URL: s.server.URL + file.Path + "?" + goodSignature, SHA512: hex.EncodeToString(sum[:]), SizeBytes: int64(len(content)),
		})
	}
	return s
}

// restore is what the control plane controller would write.
func (s *snapshot) restore() *osfamily.Restore {
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw})
	return &osfamily.Restore{Authority: string(authority), Files: s.files}
}
