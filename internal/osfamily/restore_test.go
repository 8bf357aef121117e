// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamily_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

const signature = "X-Amz-Signature=0f1e2d"

func sampleRestore() osfamily.Restore {
	return osfamily.Restore{Files: []osfamily.RestoreFile{
		{Path: "/var/lib/etcd/member/snap/db", URL: "https://backup.example.com/a/db?" + signature, SHA512: strings.Repeat("0a", 64), SizeBytes: 4096},
		{Path: "/var/lib/etcd/member/wal/0.wal", URL: "https://[2001:db8::1]:8443/a/wal?" + signature, SHA512: strings.Repeat("1b", 64), SizeBytes: 64 << 20},
	}}
}

// The one who restores writes the Secret, the one who renders reads it: what is written must arrive, whole.
func TestRestoreRoundTrip(t *testing.T) {
	data, err := sampleRestore().Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := osfamily.DecodeRestore(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sampleRestore(), got); diff != "" {
		t.Errorf("decoded restore differs (-want +got):\n%s", diff)
	}
}

// The names of the keys are a contract between two programs of different age.
func TestRestoreKeys(t *testing.T) {
	data, err := sampleRestore().Encode()
	if err != nil {
		t.Fatal(err)
	}
	var tree struct {
		Files []map[string]any `json:"files"`
	}
	if err := json.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"path", "url", "sha512", "sizeBytes"} {
		if _, ok := tree.Files[0][key]; !ok {
			t.Errorf("no key %s in %v", key, tree.Files[0])
		}
	}
}

func TestFoldersOfARestoredFile(t *testing.T) {
	want := []string{"/var/lib/etcd", "/var/lib/etcd/member", "/var/lib/etcd/member/snap"}
	if diff := cmp.Diff(want, sampleRestore().Files[0].Folders()); diff != "" {
		t.Errorf("folders differ (-want +got):\n%s", diff)
	}
	if got := (osfamily.RestoreFile{Path: "/etc/shadow"}).Folders(); len(got) > 0 {
		t.Errorf("folders %q are not etcd's", got)
	}
}

// Whatever is wrong would be seen on a machine only, by then with a cluster that is lost.
func TestRestoreRefuses(t *testing.T) {
	file := func(change func(*osfamily.RestoreFile)) func(*osfamily.Restore) {
		return func(r *osfamily.Restore) { change(&r.Files[1]) }
	}
	for _, tc := range []struct {
		why    string
		change func(*osfamily.Restore)
		want   string
	}{
		{"nothing to fetch is an empty cluster", func(r *osfamily.Restore) { r.Files = nil }, "at least one file"},
		{"a snapshot has a handful of files", func(r *osfamily.Restore) { r.Files = make([]osfamily.RestoreFile, 33) }, "at most 32"},
		{"files outside etcd's folder could be any", file(func(f *osfamily.RestoreFile) { f.Path = "/etc/shadow" }), `files[1].path "/etc/shadow" must be a clean path`},
		{"a path may not climb out", file(func(f *osfamily.RestoreFile) { f.Path = "/var/lib/etcd/../../etc/shadow" }), "files[1].path"},
		{"a sibling is outside", file(func(f *osfamily.RestoreFile) { f.Path = "/var/lib/etcd-old/db" }), "files[1].path"},
		{"the folder is no file", file(func(f *osfamily.RestoreFile) { f.Path = "/var/lib/etcd" }), "files[1].path"},
		{"a slash too many is another name", file(func(f *osfamily.RestoreFile) { f.Path = "/var/lib/etcd//db" }), "files[1].path"},
		{"a line break is no part of a path", file(func(f *osfamily.RestoreFile) { f.Path = "/var/lib/etcd/a\nb" }), "files[1].path"},
		{"one of two contents would win", file(func(f *osfamily.RestoreFile) { f.Path = "/var/lib/etcd/member/snap/db" }), "listed twice"},
		{"a file is no folder", file(func(f *osfamily.RestoreFile) { f.Path = "/var/lib/etcd/member/snap/db/x" }), "lies below another file"},
		{"anybody can listen to http", file(func(f *osfamily.RestoreFile) { f.URL = "http://backup.example.com/?" + signature }), `files[1].url has scheme "http"`},
		{"the node has no credentials for a bucket", file(func(f *osfamily.RestoreFile) { f.URL = "s3://bucket/db?" + signature }), `scheme "s3"`},
		{"nor for one of another provider", file(func(f *osfamily.RestoreFile) { f.URL = "gs://bucket/db?" + signature }), `scheme "gs"`},
		{"an address needs a host", file(func(f *osfamily.RestoreFile) { f.URL = "https:///db?" + signature }), "names no host"},
		{"a password would be shown in logs", file(func(f *osfamily.RestoreFile) { f.URL = "https://me:" + signature + "@example.com/db" }), "user or password"},
		{"what is no URL", file(func(f *osfamily.RestoreFile) { f.URL = "https://%zz?" + signature }), "is not a URL"},
		{"white space ends an address", file(func(f *osfamily.RestoreFile) { f.URL = "https://example.com/a b?" + signature }), "white space"},
		{"a fragment is never sent", file(func(f *osfamily.RestoreFile) { f.URL = "https://example.com/a#" + signature }), "fragment"},
		{"content without a digest could be any", file(func(f *osfamily.RestoreFile) { f.SHA512 = "" }), "files[1].sha512"},
		{"another digest is not this one", file(func(f *osfamily.RestoreFile) { f.SHA512 = strings.Repeat("a", 64) }), "files[1].sha512"},
		{"a digest has one form", file(func(f *osfamily.RestoreFile) { f.SHA512 = strings.Repeat("A", 128) }), "files[1].sha512"},
		{"an empty file is no part of a snapshot", file(func(f *osfamily.RestoreFile) { f.SizeBytes = 0 }), "sizeBytes is 0"},
		{"an authority that is none", func(r *osfamily.Restore) { r.Authority = "rubbish" }, "authority is not PEM"},
		{"a certificate that is none", func(r *osfamily.Restore) {
			r.Authority = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"
		}, "authority holds a certificate that cannot be read"},
		{"a private key has no business on the node", func(r *osfamily.Restore) {
			r.Authority = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n"
		}, "authority must hold certificates and nothing else"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			r := sampleRestore()
			tc.change(&r)
			_, encodeErr := r.Encode()
			data, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			_, decodeErr := osfamily.DecodeRestore(data)
			for _, err := range []error{encodeErr, decodeErr} {
				checkRefusal(t, err, tc.want)
			}
		})
	}
}

func TestDecodeRestoreRefuses(t *testing.T) {
	for _, tc := range []struct{ why, data, want string }{
		{"nothing", ``, "not valid JSON"},
		{"half a document", `{"files":[{"url":"https://a/?` + signature + `"`, "not valid JSON"},
		{"a key of another version", `{"files":[],"` + "volume" + `":1}`, `unknown field "volume"`},
		{"a size that is no number", `{"files":[{"sizeBytes":"` + signature + `"}]}`, "files.sizeBytes has the wrong type"},
		{"two documents", `{"files":[]} {"files":[]}`, "more than one JSON document"},
		{"a document with rubbish behind it", `{"files":[]} }`, "more than one JSON document"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			_, err := osfamily.DecodeRestore([]byte(tc.data))
			checkRefusal(t, err, tc.want)
		})
	}
}

func checkRefusal(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("got error %v, want one that contains %q", err, want)
	}
	if strings.Contains(err.Error(), signature) || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error quotes a secret or breaks a line: %v", err)
	}
}
