// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sys/unix"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
)

// secrets are credentials for every transport to a host.
func secrets(t *testing.T, address string) map[string][]byte {
	t.Helper()
	credentials := newAuthority(t).credentials(t)
	private, public := newSSHKey(t)
	credentials["ssh-privatekey"], credentials["known_hosts"] = private, knownHosts(address, public)
	return credentials
}

// A URI means what it says or is refused with what to do: what has no effect would be believed to have one.
func TestURIs(t *testing.T) {
	credentials := secrets(t, "host")
	for _, address := range []string{"host:2222", "[2001:db8::1]:22"} {
		_, public := newSSHKey(t)
		credentials["known_hosts"] = append(credentials["known_hosts"], knownHosts(address, public)...)
	}
	for uri, want := range map[string]string{
		"qemu:///system":                                       "unix /var/run/libvirt/libvirt-sock",
		"qemu+unix:///system":                                  "unix /var/run/libvirt/libvirt-sock",
		"qemu+unix:///system?socket=/run/x/sock":               "unix /run/x/sock",
		"qemu+tcp://host/system":                               "tcp host:16509",
		"qemu+tcp://192.0.2.1:1/system":                        "tcp 192.0.2.1:1",
		"qemu+tls://host/system":                               "tls host:16514 host",
		"qemu+tls://[2001:db8::1]:99/system":                   "tls [2001:db8::1]:99 2001:db8::1",
		"qemu+libssh://me@host/system":                         "ssh me host:22 /var/run/libvirt/libvirt-sock",
		"qemu+libssh://me@host:2222/system?socket=/run/x/sock": "ssh me host:2222 /run/x/sock",
		"qemu+libssh://me@[2001:db8::1]/system":                "ssh me [2001:db8::1]:22 /var/run/libvirt/libvirt-sock",
		"qemu:///session":                                      "! must end with /system",
		"qemu:system":                                          "! must end with /system",
		"qemu+tcp://host":                                      "! must end with /system",
		"qemu+tcp://host/system/":                              "! must end with /system",
		"qemu+ssh://me@host/system":                            "! use qemu, qemu+unix, qemu+tcp, qemu+tls or qemu+libssh",
		"xen:///system":                                        "! scheme",
		"":                                                     "! scheme",
		"::":                                                   "! cannot be read",
		"qemu+tcp://me:hunter2@host:16509/system":              "! holds a password",
		"qemu+libssh://me:hunter2@host/system":                 "! holds a password",
		"qemu+libssh://me:hunter2@ho st/system":                "! cannot be read",
		"qemu+libssh://me:hunter2@host:port/system":            "! cannot be read",
		"qemu://host/system":                                   "! use qemu+tls or qemu+libssh",
		"qemu+unix://me@/system":                               "! use qemu+tls or qemu+libssh",
		"qemu+tcp:///system":                                   "! names no host",
		"qemu+tls://:16514/system":                             "! names no host",
		"qemu+tcp://me@host/system":                            "! names a user",
		"qemu+tls://me@host/system":                            "! names a user",
		"qemu+libssh://host/system":                            "! names no user",
		"qemu+libssh://@host/system":                           "! names no user",
		"qemu+tcp://host:0/system":                             "! has the port",
		"qemu+tcp://host:65536/system":                         "! has the port",
		"qemu+tls://host/system?no_verify=1":                   "! has the parameter \"no_verify\"",
		"qemu+tls://host/system?socket=/run/x":                 "! has the parameter \"socket\"",
		"qemu+libssh://me@host/system?keyfile=/x":              "! has the parameter \"keyfile\"",
		"qemu+unix:///system?socket=sock":                      "! absolute path",
		"qemu+unix:///system?socket=":                          "! absolute path",
		"qemu+unix:///system?socket=/a&socket=/b":              "! one socket",
		"qemu+unix:///system?socket=%zz":                       "! after ?",
		"qemu+unix:///system#x":                                "! after #",
		"qemu+libssh://me@elsewhere/system":                    "! key known_hosts of the Secret",
		"qemu+libssh://me@host:2223/system":                    "! has no key of [host]:2223",
	} {
		got, err := libvirt.Way(uri, credentials)
		says, refused := strings.CutPrefix(want, "! ")
		switch {
		case !refused && (got != want || err != nil):
			t.Errorf("%s: got %q, %v", uri, got, err)
		case refused && (!errors.Is(err, platform.ErrInvalid) || !strings.Contains(err.Error(), says)):
			t.Errorf("%s: got %v, want %q with %q", uri, err, platform.ErrInvalid, says)
		case refused && !strings.Contains(err.Error(), "spec.libvirt.uri") && !strings.Contains(err.Error(), "spec.credentialsRef"):
			t.Errorf("%s: the error names no field: %v", uri, err)
		case refused && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

// A Secret that lacks something says which key, and shows nothing of what is there.
func TestCredentials(t *testing.T) {
	good := secrets(t, "host")
	_, err := ssh.ParsePrivateKey(good["ssh-privatekey"])
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(newKey(t), "", []byte("hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	other := newAuthority(t).credentials(t)
	for _, c := range []struct {
		uri, key string
		value    []byte
		says     string
	}{
		{"qemu+tls://host/system", "ca.crt", nil, "no key ca.crt"},
		{"qemu+tls://host/system", "tls.crt", nil, "no key tls.crt"},
		{"qemu+tls://host/system", "tls.key", []byte{}, "no key tls.key"},
		{"qemu+tls://host/system", "ca.crt", []byte("hunter2"), "key ca.crt"},
		{"qemu+tls://host/system", "tls.crt", []byte("-----BEGIN hunter2-----\n"), "keys tls.crt and tls.key"},
		{"qemu+tls://host/system", "tls.key", []byte("hunter2"), "keys tls.crt and tls.key"},
		{"qemu+tls://host/system", "tls.key", other["tls.key"], "keys tls.crt and tls.key"},
		{"qemu+libssh://me@host/system", "ssh-privatekey", nil, "no key ssh-privatekey"},
		{"qemu+libssh://me@host/system", "known_hosts", nil, "no key known_hosts"},
		{"qemu+libssh://me@host/system", "ssh-privatekey", []byte("-----BEGIN hunter2-----\nAAAA\n-----END hunter2-----\n"), "key ssh-privatekey"},
		{"qemu+libssh://me@host/system", "ssh-privatekey", pemOf(locked), "passphrase"},
		{"qemu+libssh://me@host/system", "known_hosts", []byte("host hunter2"), "known_hosts"},
		{"qemu+libssh://me@host/system", "known_hosts", []byte("# empty\n"), "has no key of host"},
	} {
		credentials := maps.Clone(good)
		credentials[c.key] = c.value
		_, err := libvirt.Open(t.Context(), libvirt.Config{URI: c.uri, Credentials: credentials, Acceleration: libvirt.KVM}, nil)
		if !errors.Is(err, platform.ErrInvalid) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "spec.credentialsRef") {
			t.Errorf("%s with another %s: got %v, want %q with %q", c.uri, c.key, err, platform.ErrInvalid, c.says)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

// The file of known hosts decides whom a key of the cluster is shown to, so it is read as OpenSSH reads it.
func TestKnownHosts(t *testing.T) {
	_, key := newSSHKey(t)
	_, other := newSSHKey(t)
	line := func(hosts string, key ssh.PublicKey) string {
		return hosts + " " + string(ssh.MarshalAuthorizedKey(key))
	}
	for name, c := range map[string]struct {
		file, address string
		ok            bool
	}{
		"plain":                    {line("host", key), "host:22", true},
		"another port":             {line("host", key), "host:2222", false},
		"its port":                 {line("[host]:2222", key), "host:2222", true},
		"a port too many":          {line("[host]:2222", key), "host:22", false},
		"in capitals":              {line("Host", key), "hOST:22", true},
		"one of several":           {line("a,host,192.0.2.1", key), "192.0.2.1:22", true},
		"IPv6":                     {line("2001:db8::1", key), "[2001:db8::1]:22", true},
		"with wildcards":           {line("*.example.com,h?st*", key), "host.example.org:22", true},
		"past the wildcards":       {line("*.example.com", key), "example.com:22", false},
		"a port with wildcards":    {line("[*]:2222", key), "host:2222", true},
		"taken out":                {line("*,!host", key), "host:22", false},
		"not taken out":            {line("*,!host", key), "other:22", true},
		"hashed":                   {line(knownhosts.HashHostname("host"), key), "host:22", true},
		"hashed with port":         {line(knownhosts.HashHostname("[host]:2222"), key), "host:2222", true},
		"hashed, another":          {line(knownhosts.HashHostname("other"), key), "host:22", false},
		"hash that is none":        {line("|1|!|!", key), "host:22", false},
		"hash of another kind":     {line("|2|"+base64.StdEncoding.EncodeToString([]byte("x"))+"|eA==", key), "host:22", false},
		"another key":              {line("host", other), "host:22", false},
		"two keys":                 {line("host", other) + line("host", key), "host:22", true},
		"revoked":                  {line("host", key) + "@revoked " + line("*", key), "host:22", false},
		"another is revoked":       {line("host", key) + "@revoked " + line("*", other), "host:22", true},
		"authority":                {"@cert-authority " + line("host", key), "host:22", false},
		"with comments and spaces": {"# c\n\n" + strings.TrimSpace(line("host", key)) + " me@there\n# end", "host:22", true},
	} {
		if _, err := libvirt.CheckHostKey([]byte(c.file), c.address, key); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(&strong.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	algorithms, err := libvirt.CheckHostKey([]byte(line("host", key)+line("host", public)), "host:22", key)
	if want := []string{"ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"}; err != nil || !slices.Equal(algorithms, want) {
		t.Errorf("the host is asked for keys of %v, want %v, %v", algorithms, want, err)
	}
}

// deaf are servers that make a caller wait, by what they do with a connection.
func deaf() map[string]func(net.Conn) {
	return map[string]func(net.Conn){
		"never answers":         func(net.Conn) {},
		"drops in the middle":   func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 10)); _ = c.Close() },
		"drops at once":         func(c net.Conn) { _ = c.Close() },
		"speaks something else": func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") },
		"greets and is silent":  func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-deaf\r\n") },
		"sends a tiny message":  func(c net.Conn) { _, _ = c.Write(make([]byte, 64)) },
	}
}

// listen serves until the test ends. Connections stay open unless handle closes them.
func listen(t *testing.T, handle func(net.Conn)) (address string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = l.Close()
		close(done)
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				handle(conn)
				<-done
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// uris are the ways to an address over the network.
func uris(address string) map[string]string {
	return map[string]string{
		"tcp": "qemu+tcp://" + address + "/system", "tls": "qemu+tls://" + address + "/system", "libssh": "qemu+libssh://me@" + address + "/system",
	}
}

// Whatever a server does, a caller gets its answer in time, a session closes at once, and nothing of it stays behind.
func TestDeafServers(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("all", func(t *testing.T) {
		for what, handle := range deaf() {
			address := listen(t, handle)
			credentials := secrets(t, address)
			for transport, uri := range uris(address) {
				t.Run(transport+" "+what, func(t *testing.T) { endures(t, uri, credentials) })
			}
		}
	})
	eventually(t, "nothing is left of the sessions", func() bool { return runtime.NumGoroutine() <= before })
}

func endures(t *testing.T, uri string, credentials map[string][]byte) {
	t.Helper()
	began := time.Now()
	s := attempt(t, uri, credentials)
	_, err := s.Check(t.Context())
	if took := time.Since(began); !errors.Is(err, platform.ErrUnreachable) || took > 10*time.Second {
		t.Errorf("Check: %v after %s", err, took)
	}
	began = time.Now()
	s.Close()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Close took %s", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began = time.Now()
	conn, err := libvirt.Dial(ctx, uri, credentials)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("dialling took %s", took)
	}
	switch {
	case err == nil && strings.HasPrefix(uri, "qemu+tcp"): // which has nothing to wait for
		_ = conn.Close()
	case !errors.Is(err, platform.ErrUnreachable):
		t.Errorf("dialling: %v", err)
	}
}

// A handshake without end is given up without anybody's help.
func TestHandshakeIsBounded(t *testing.T) {
	t.Parallel()
	address := listen(t, deaf()["never answers"])
	credentials := secrets(t, address)
	for transport, uri := range uris(address) {
		if transport == "tcp" {
			continue
		}
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			_, err := libvirt.Dial(t.Context(), uri, credentials)
			if took := time.Since(began); !errors.Is(err, platform.ErrUnreachable) || took < 10*time.Second || took > 30*time.Second {
				t.Errorf("got %v after %s", err, took)
			}
		})
	}
}

// A peer that loses power says nothing: only the kernel can notice it under a stream that waits.
func TestKeepAlive(t *testing.T) {
	address := listen(t, func(net.Conn) {})
	conn, err := libvirt.Dial(t.Context(), "qemu+tcp://"+address+"/system", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		if err != nil || on == 0 {
			t.Errorf("it is off: %v", err)
		}
		option := func(name int) int {
			value, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, name)
			if err != nil {
				t.Error(err)
			}
			return value
		}
		if gone := option(unix.TCP_KEEPIDLE) + option(unix.TCP_KEEPINTVL)*option(unix.TCP_KEEPCNT); gone > 60 {
			t.Errorf("it takes %d s to notice", gone)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The certificate of the host is verified as of now and for the name in the URI.
func TestHostCertificate(t *testing.T) {
	ca := newAuthority(t)
	for name, c := range map[string]struct {
		change  func(*x509.Certificate)
		version uint16
		verdict string
		says    string
	}{
		"good":                 {func(*x509.Certificate) {}, tls.VersionTLS13, "\x01", ""},
		"good, older protocol": {func(*x509.Certificate) {}, tls.VersionTLS12, "\x01", ""},
		"too old protocol":     {func(*x509.Certificate) {}, tls.VersionTLS11, "\x01", "TLS handshake"},
		"expired":              {func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, tls.VersionTLS13, "\x01", "expired"},
		"of another host":      {func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} }, tls.VersionTLS13, "\x01", "127.0.0.1"},
		"no server's": {
			func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, tls.VersionTLS13, "\x01", "key usage",
		},
		"no libvirtd": {func(*x509.Certificate) {}, tls.VersionTLS13, "H", "no libvirtd"},
	} {
		t.Run(name, func(t *testing.T) {
			certificate, key := ca.issue(t, func(x *x509.Certificate) {
				x.IPAddresses, x.ExtKeyUsage = []net.IP{net.IPv4(127, 0, 0, 1)}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
				c.change(x)
			})
			pair, err := tls.X509KeyPair(certificate, key)
			if err != nil {
				t.Fatal(err)
			}
			address := listen(t, func(conn net.Conn) {
				server := tls.Server(conn, &tls.Config{
					Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS10, MaxVersion: c.version,
				})
				_, _ = io.WriteString(server, c.verdict)
			})
			conn, err := libvirt.Dial(t.Context(), "qemu+tls://"+address+"/system", ca.credentials(t))
			if err == nil {
				_ = conn.Close()
			}
			if (err == nil) != (c.says == "") || err != nil && (!errors.Is(err, platform.ErrUnreachable) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}
