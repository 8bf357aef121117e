// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// restoredFile is what the first node of a cluster that is restored must have before etcd starts.
const restoredFile = "/var/lib/etcd/member/snap/db"

// signedQuery opens the address of the file, so nobody may read it on a console.
const signedQuery = "signature=c2VjcmV0"

// hostSeenFromGuest is the address by which QEMU's own network leads to this machine.
const hostSeenFromGuest = "10.0.2.2"

// A machine that restores a cluster fetches etcd's data before its root is up. Nobody can help it there: a network that
// does not come up, or that systemd cannot take over afterwards, is a cluster that stays lost.
var _ = Describe("an image whose config refers to remote files", Ordered, func() {
	var (
		image   string
		server  *httptest.Server
		content = strings.Repeat("what etcd held\n", 1<<16)
	)

	BeforeAll(func(ctx SpecContext) {
		Expect(os.Geteuid()).To(BeZero(), "a node image is built as root")
		folder := GinkgoT().TempDir()
		build := exec.CommandContext(ctx, filepath.Join(checkout(), "bin", "ingotctl"), "image", "build", "--version", fromImage, "--output", folder)
		build.Dir = checkout()
		out, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
		image = filepath.Join(folder, "ingot-os-"+fromImage+"-amd64.qcow2")

		server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != signedQuery {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			_, _ = io.WriteString(w, content)
		}))
		server.Config.ErrorLog = log.New(GinkgoWriter, "server: ", 0)
		server.TLS = &tls.Config{Certificates: []tls.Certificate{certificateFor(net.ParseIP(hostSeenFromGuest))}}
		server.StartTLS()
		DeferCleanup(server.Close)
	}, NodeTimeout(30*time.Minute))

	It("fetches them on the first boot, and leaves a clean network to systemd", func(ctx SpecContext) {
		console := bootOnce(ctx, image, remoteConfig{
			address:   "https://" + net.JoinHostPort(hostSeenFromGuest, port(server)) + "/db",
			authority: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			content:   content,
			unit:      lookAround,
		})
		Expect(console).To(ContainSubstring("network is up: eth0 has 10.0.2.15/24"), "the other interface is on a network without DHCP")
		Expect(console).To(ContainSubstring("network is down again"))
		Expect(console).To(ContainSubstring(fmt.Sprintf("%x  %s", sha512.Sum512([]byte(content)), restoredFile)))
		Expect(console).To(ContainSubstring("700 root /var/lib/etcd/member"))
		Expect(console).To(ContainSubstring("600 root " + restoredFile))
		Expect(console).To(MatchRegexp(`en\S+\s+UP\s+10\.0\.2\.15/24`), "systemd must have named the interface and asked for its own address")
		Expect(console).NotTo(MatchRegexp(`eth\d\s+UP`))
		Expect(console).To(ContainSubstring("nameserver 10.0.2.3"))
		Expect(console).NotTo(ContainSubstring("c2VjcmV0"), "a signature is a secret")
	}, SpecTimeout(40*time.Minute)) // the first spec's time is also that of BeforeAll

	It("powers off when it cannot fetch them", func(ctx SpecContext) {
		console := bootOnce(ctx, image, remoteConfig{address: "https://backup.invalid/db", content: content, unit: lookAround, seconds: 10})
		Expect(console).To(ContainSubstring("backup.invalid on 10.0.2.3:53"), "names are asked of the server that DHCP named")
		Expect(console).To(ContainSubstring("FAILED: Ignition stage files"))
		Expect(console).NotTo(ContainSubstring("starting systemd"))
		Expect(console).NotTo(ContainSubstring("c2VjcmV0"), "a signature is a secret")
	}, SpecTimeout(10*time.Minute))
})

// lookAround prints what the machine has, and ends it.
const lookAround = `[Unit]
Wants=network-online.target
After=network-online.target
[Service]
Type=oneshot
StandardOutput=journal+console
ExecStart=/usr/bin/sha512sum ` + restoredFile + `
ExecStart=/usr/bin/stat -c "%%a %%U %%n" /var/lib/etcd/member ` + restoredFile + `
ExecStart=/usr/bin/cat /etc/resolv.conf
ExecStart=/usr/sbin/ip -brief address
ExecStart=/usr/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
`

// remoteConfig is a config with one remote file.
type remoteConfig struct {
	address, content, unit string
	authority              []byte
	seconds                int // after which the machine gives up; zero means never
}

func (c remoteConfig) json() []byte {
	GinkgoHelper()
	type object = map[string]any
	ignition := object{"version": "3.4.0", "timeouts": object{"httpTotal": c.seconds}}
	if len(c.authority) > 0 {
		source := "data:;base64," + base64.StdEncoding.EncodeToString(c.authority)
		ignition["security"] = object{"tls": object{"certificateAuthorities": []object{{"source": source}}}}
	}
	digest := fmt.Sprintf("sha512-%x", sha512.Sum512([]byte(c.content)))
	data, err := json.Marshal(object{
		"ignition": ignition,
		"storage": object{
			"directories": []object{{"path": "/var/lib/etcd", "mode": 0o700}, {"path": "/var/lib/etcd/member", "mode": 0o700}},
			"files": []object{{"path": restoredFile, "mode": 0o600, "contents": object{
				"source": c.address + "?" + signedQuery, "verification": object{"hash": digest},
			}}},
		},
		"systemd": object{"units": []object{{"name": "look-around.service", "enabled": true, "contents": c.unit}}},
	})
	Expect(err).NotTo(HaveOccurred())
	return data
}

// bootOnce boots a machine with two interfaces, of which one is on a network where nobody answers, waits until it has
// powered itself off, and returns its console.
func bootOnce(ctx context.Context, image string, config remoteConfig) string {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	Expect(os.WriteFile(path("config"), config.json(), 0o600)).To(Succeed())
	const firmware = "/usr/share/OVMF/OVMF_"
	for _, args := range [][]string{
		{"qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "qcow2", path("disk")},
		{"cp", firmware + "VARS_4M.fd", path("vars")},
	} {
		out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
	}
	DeferCleanup(func() {
		if CurrentSpecReport().Failed() {
			content, _ := os.ReadFile(path("console"))
			_ = os.WriteFile(filepath.Join(artefactsFolder(), "first-boot.log"), content, 0o600)
		}
	})
	out, err := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-accel", "tcg", "-cpu", "Nehalem", "-machine", "q35,hpet=off", "-m", "1024",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "file:"+path("console"),
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+firmware+"CODE_4M.fd",
		"-drive", "if=pflash,unit=1,format=raw,file="+path("vars"),
		"-drive", "if=none,id=disk,cache=unsafe,format=qcow2,file="+path("disk"), "-device", "virtio-blk-pci,drive=disk,bootindex=1",
		"-fw_cfg", "name=opt/com.coreos/config,file="+path("config"),
		"-nic", "user,model=virtio-net-pci", "-nic", "hubport,hubid=1,model=virtio-net-pci",
	).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(out))
	console, err := os.ReadFile(path("console"))
	Expect(err).NotTo(HaveOccurred())
	return string(console)
}

func port(server *httptest.Server) string {
	GinkgoHelper()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	Expect(err).NotTo(HaveOccurred())
	return port
}

// certificateFor makes a certificate that is its own authority.
func certificateFor(address net.IP) tls.Certificate {
	GinkgoHelper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "end to end"}, IPAddresses: []net.IP{address},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	Expect(err).NotTo(HaveOccurred())
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}
