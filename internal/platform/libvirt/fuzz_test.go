// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
	"github.com/ingot-project/cluster-api-provider-ingot/test/wire"
)

// What comes from a host or out of a Secret is foreign input. Nothing in it may end the manager, be taken for ours when it
// is not, or show up where it must not.

func FuzzDomainTypes(f *testing.F) {
	f.Add(`<capabilities><host/><guest><os_type>hvm</os_type><arch name='x86_64'><domain type='qemu'/><domain type='kvm'/></arch></guest></capabilities>`)
	f.Add(`<capabilities><guest><arch name='i686'><domain type='kvm'/></arch></guest></capabilities>`)
	f.Fuzz(func(t *testing.T, doc string) {
		types, err := libvirt.DomainTypes(doc)
		if len(types) > 0 && (err != nil || !strings.Contains(doc, "x86_64")) {
			t.Errorf("types %q of no architecture that was asked for, %v", types, err)
		}
	})
}

func FuzzReadDefinition(f *testing.F) {
	goldens, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(goldens) == 0 {
		f.Fatalf("no definitions to begin with: %v", err)
	}
	for _, path := range goldens {
		golden, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(golden))
	}
	f.Add(`<domain><metadata><a:b xmlns:a="x"/></metadata></domain>`)
	f.Fuzz(func(t *testing.T, doc string) {
		machine, cluster, stage, err := libvirt.Owner(doc)
		if err != nil && machine+cluster+stage != "" {
			t.Errorf("with an error it is somebody's: %q %q %q", machine, cluster, stage)
		}
		if machine != "" && !strings.Contains(doc, "ingot.dev/libvirt/v1") && !strings.Contains(doc, "&") {
			t.Errorf("the mark of %q has not our namespace", machine)
		}
	})
}

func FuzzParseMark(f *testing.F) {
	f.Add(`<instance machine="6f0c9d2e-1111-4222-8333-444455556666" management-cluster="mc" storage="default" revision="r"/>`)
	f.Add(`<ingot:instance xmlns:ingot="https://ingot.dev/libvirt/v1" machine="m"/>`)
	f.Fuzz(func(t *testing.T, element string) {
		machine, _, ok := libvirt.ParseMark(element)
		if ok && machine != "" && !strings.Contains(element, "instance") {
			t.Errorf("the mark of %q is no mark", machine)
		}
	})
}

// message frames a payload as libvirt's protocol does.
func message(payload []byte) []byte {
	m := make([]byte, wire.HeaderLen, wire.HeaderLen+len(payload))
	binary.BigEndian.PutUint32(m, uint32(wire.HeaderLen+len(payload)))
	return append(m, payload...)
}

func FuzzReadMessage(f *testing.F) {
	f.Add(message([]byte("payload")))
	f.Add(message(nil))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add(append([]byte{0x02, 0, 0, 4}, make([]byte, 40)...)) // claims 32 MiB
	f.Fuzz(func(t *testing.T, sent []byte) {
		payload, err := libvirt.ReadMessage(bytes.NewReader(sent))
		if err == nil && !bytes.HasPrefix(sent[wire.HeaderLen:], payload) {
			t.Error("the payload was never sent")
		}
		if err == nil && int(binary.BigEndian.Uint32(sent)) != wire.HeaderLen+len(payload) {
			t.Error("the payload is not as long as the message says")
		}
		if err != nil && len(payload) > len(sent) {
			t.Error("there is more than was sent")
		}
	})
}

// go-libvirt reads what frames lets through: every length in it must be one that cannot hurt. In which pieces it comes
// makes no difference.
func FuzzFrames(f *testing.F) {
	f.Add(slices.Concat(message([]byte("a")), message(nil)), 5)
	f.Add(make([]byte, 64), 3)
	f.Add([]byte{0, 0, 0, 27, 0}, 4)
	f.Fuzz(func(t *testing.T, sent []byte, at int) {
		whole := libvirt.Frames(sent)
		cut := min(max(at, 0), len(sent))
		if split := libvirt.Frames(sent[:cut], sent[cut:]); (split == nil) != (whole == nil) {
			t.Errorf("in one piece %v, in two %v", whole, split)
		}
		if whole != nil {
			return
		}
		for from := io.Reader(bytes.NewReader(sent)); ; {
			var length [4]byte
			if _, err := io.ReadFull(from, length[:]); err != nil {
				return
			}
			n := int64(binary.BigEndian.Uint32(length[:]))
			if n < wire.HeaderLen || n > 32<<20+4 {
				t.Fatalf("a length of %d was let through", n)
			}
			_, _ = io.CopyN(io.Discard, from, n-4)
		}
	})
}

// The names of volumes in a pool are whatever people and other programs put there.
func FuzzVolumeNames(f *testing.F) {
	sha := strings.Repeat("ab", 32)
	id := exampleRequest().Identity
	stem := "ingot-image-" + sha + "-"
	f.Add(strings.Join([]string{stem + "02.qcow2.verified", stem + "02.qcow2", stem + "01.raw", "ingot-image-" + strings.Repeat("cd", 32) + "-05.qcow2"}, "\n"))
	f.Add(strings.Join(libvirt.VolumeNames(id), "\n"))
	f.Fuzz(func(t *testing.T, pool string) {
		names := strings.Split(pool, "\n")
		sealed, unsealed, orphans := libvirt.Copies(sha, names)
		for _, name := range slices.Concat(sealed, unsealed, orphans) {
			if !slices.Contains(names, name) || !strings.HasPrefix(name, stem) {
				t.Errorf("%q is no copy of the image in the pool", name)
			}
		}
		for _, name := range sealed {
			if !slices.Contains(names, name+".verified") {
				t.Errorf("%q has no seal", name)
			}
		}
		for _, name := range names {
			uuid, ours := libvirt.OwnerOf(name, id.ManagementClusterID)
			if !ours {
				continue
			}
			own := id
			own.UUID = uuid
			if stem := strings.TrimSuffix(libvirt.VolumeNames(own)[0], "root.qcow2"); !strings.HasPrefix(name, stem) || len(name) == len(stem) {
				t.Errorf("%q is taken for a volume of %s", name, uuid)
			}
			if foreign, is := libvirt.ForeignVolume(own, []string{name}); is {
				t.Errorf("%q is ours and foreign", foreign)
			}
		}
	})
}

// A URI comes from a person. A password in it may not come out again, whatever else is wrong with it.
func FuzzURI(f *testing.F) {
	const secret = "hunter2xyzzy"
	f.Add("qemu+tls://host/system", "")
	f.Add("qemu+libssh://me:", "@host:22/system?socket=/run/x")
	f.Add("qemu+tcp://me:", "@ho st:99999/system#x")
	credentials := map[string][]byte{"ca.crt": []byte(secret), "ssh-privatekey": []byte(secret), "known_hosts": []byte(secret), "tls.crt": []byte(secret)}
	f.Fuzz(func(t *testing.T, before, after string) {
		uri := before + secret + after
		way, err := libvirt.Way(before+after, credentials)
		if (way == "") != errors.Is(err, platform.ErrInvalid) {
			t.Errorf("%q: %q, %v", before+after, way, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows a credential: %v", err)
		}
		if !strings.HasSuffix(before, ":") || !strings.HasPrefix(after, "@") || strings.ContainsAny(before, "?#") {
			return // it is no password
		}
		if _, err := libvirt.Way(uri, credentials); err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%q: the error shows the password: %v", uri, err)
		}
	})
}

func FuzzKnownHosts(f *testing.F) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
	f.Add([]byte("host "+key+"\n@revoked * "+key+"\n"), "host:22")
	f.Add([]byte("|1|c2FsdA==|aGFzaA== "+key), "[2001:db8::1]:2222")
	f.Add([]byte("*,!h?st "+key), "host:22")
	f.Add([]byte("* "+key+"\nhost broken"), "host:22")
	f.Fuzz(func(t *testing.T, file []byte, address string) {
		if algorithms, err := libvirt.ReadKnownHosts(file, address); (err == nil) != (len(algorithms) > 0) {
			t.Errorf("a host with keys of %q: %v", algorithms, err)
		} else if err != nil && !errors.Is(err, platform.ErrInvalid) {
			t.Error(err)
		}
	})
}
