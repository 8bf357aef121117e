// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
)

// Whatever there is: the newest are kept, the newest that was rehearsed is among what is kept, nothing else is, and doing it
// again changes nothing.
func TestRetain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keep := rapid.IntRange(-1, 6).Draw(t, "keep")
		all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) store.Manifest {
			m := store.Manifest{Time: noon.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "hours")) * time.Hour)}
			if rapid.Bool().Draw(t, "rehearsed") {
				m.Rehearsed = m.Time
			}
			return m
		}), 0, 12).Draw(t, "all")
		for i := range all {
			all[i].Name = fmt.Sprintf("n%02d", i)
		}
		before := slices.Clone(all)
		removed := store.Retain(all, keep)
		if !slices.Equal(all, before) {
			t.Fatal("the caller's list is changed")
		}
		kept := slices.DeleteFunc(slices.Clone(all), func(m store.Manifest) bool { return slices.Contains(removed, m) })
		newer := func(m store.Manifest) (n int) { // how many are at least as new
			for _, other := range all {
				if other.Time.After(m.Time) || other.Time.Equal(m.Time) && other.Name > m.Name {
					n++
				}
			}
			return n
		}
		rehearsed := slices.DeleteFunc(slices.Clone(all), func(m store.Manifest) bool { return m.Rehearsed.IsZero() })
		isNewestRehearsed := func(m store.Manifest) bool {
			return !m.Rehearsed.IsZero() && !slices.ContainsFunc(rehearsed, func(other store.Manifest) bool { return newer(other) < newer(m) })
		}
		for _, m := range all {
			want := newer(m) < max(keep, 1) || isNewestRehearsed(m)
			if slices.Contains(kept, m) != want {
				t.Fatalf("%s of %v: kept is not %v", m.Name, all, want)
			}
		}
		if again := store.Retain(kept, keep); len(again) > 0 {
			t.Fatalf("again it removes %v", again)
		}
	})
}

// A wrong location is refused before anything is asked, in words that say what to write instead, and never with what it holds
// of a password.
func TestValidate(t *testing.T) {
	t.Parallel()
	for url, says := range map[string]string{
		"": "",
		"s3://bucket/a/prefix?region=eu-west-1&endpoint=https://minio.example.org:9000&pathStyle=true": "",
		"gs://bucket": "",
		"azblob://container/prefix?account=name&endpoint=http://10.0.0.1:10000/name": "",
		"file:///etc":                             "leave the URL out",
		"ftp://bucket":                            "use s3, gs or azblob",
		"bucket/prefix":                           "use s3, gs or azblob",
		"mem://":                                  "use s3, gs or azblob",
		"s3://":                                   "no bucket is named",
		"s3:bucket":                               "no bucket is named",
		"s3:///prefix":                            "no bucket is named",
		"s3://id:secret@bucket":                   "belong into a Secret",
		"s3://bucket/a/../b":                      "the prefix",
		"s3://bucket/a//b":                        "the prefix",
		"s3://bucket#x":                           "#",
		"s3://bucket?regoin=eu":                   `parameter "regoin" is not known: s3 takes endpoint, pathStyle, region`,
		"s3://bucket?region=a&region=b":           "2 times",
		"s3://bucket?pathStyle=yes":               "true or false",
		"s3://bucket?endpoint=minio:9000":         "https://minio.example.org:9000",
		"s3://bucket?endpoint=file:///etc":        "https://minio.example.org:9000",
		"s3://bucket?endpoint=https://a:b@minio":  "https://minio.example.org:9000",
		"gs://bucket?region=eu":                   `parameter "region" is not known`,
		"s3://bucket?disable_https=true;x":        "cannot be read",
		"s3://buc ket":                            "no URL",
		"azblob://container?storage_account=name": "not known: azblob takes account, endpoint",
	} {
		err := store.Location{URL: url}.Validate()
		if (err == nil) != (says == "") || err != nil && (!strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret@")) {
			t.Errorf("%q: %v, not %q", url, err, says)
		}
	}
}

// Credentials that cannot work are refused with the key that is missing, and what belongs to the manager is lent to nobody.
func TestOpen(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "of the manager")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "of the manager")
	data := func(pairs ...string) map[string][]byte {
		m := map[string][]byte{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = []byte(pairs[i+1])
		}
		return m
	}
	ambient := store.Options{AllowAmbient: true}
	for why, c := range map[string]struct {
		location store.Location
		options  store.Options
		says     string
	}{
		"the own folder must be there":                {store.Location{}, store.Options{}, "name a bucket"},
		"without credentials nothing is lent":         {store.Location{URL: "s3://b"}, store.Options{}, "needs credentials"},
		"unless that is allowed":                      {store.Location{URL: "s3://b"}, ambient, ""},
		"but never to an endpoint of the user's":      {store.Location{URL: "s3://b?endpoint=https://evil.example.org"}, ambient, "needs credentials"},
		"unless the user is who runs the program":     {store.Location{URL: "s3://b?endpoint=https://mine"}, store.Options{AllowAmbient: true, TrustEndpoint: true}, ""},
		"an empty Secret is not the same as none":     {store.Location{URL: "s3://b", Credentials: data()}, ambient, "lack accessKeyID and secretAccessKey"},
		"a missing key is named":                      {store.Location{URL: "s3://b", Credentials: data("accessKeyID", "x")}, ambient, "lack secretAccessKey"},
		"an authority must be one":                    {store.Location{URL: "s3://b", Credentials: data("accessKeyID", "x", "secretAccessKey", "y", "caCertificate", "z")}, ambient, "caCertificate holds no certificate"},
		"Google needs a service account":              {store.Location{URL: "gs://b", Credentials: data()}, ambient, "lack serviceAccountJSON"},
		"whose key is one":                            {store.Location{URL: "gs://b", Credentials: data("serviceAccountJSON", "{}")}, ambient, "no key of a service account"},
		"and no other kind, which may name a program": {store.Location{URL: "gs://b", Credentials: data("serviceAccountJSON", `{"type": "external_account"}`)}, ambient, "no key of a service account"},
		"Azure needs an account":                      {store.Location{URL: "azblob://b", Credentials: data("accountKey", "a2V5")}, ambient, "no account is named"},
		"whose name is one":                           {store.Location{URL: "azblob://b", Credentials: data("accountName", "evil.example.org/", "accountKey", "a2V5")}, ambient, "name of the account"},
		"and one of key and token":                    {store.Location{URL: "azblob://b", Credentials: data("accountName", "x")}, ambient, "accountKey or sasToken"},
		"and not both":                                {store.Location{URL: "azblob://b", Credentials: data("accountName", "x", "accountKey", "a2V5", "sasToken", "y")}, ambient, "not both"},
		"a key that is none":                          {store.Location{URL: "azblob://b", Credentials: data("accountName", "x", "accountKey", "!")}, ambient, "accountKey is none"},
		"a key of Azure needs no more":                {store.Location{URL: "azblob://b", Credentials: data("accountName", "x", "accountKey", "a2V5")}, store.Options{}, ""},
		"what Validate refuses is refused":            {store.Location{URL: "file:///etc", Credentials: data()}, ambient, "leave the URL out"},
	} {
		s, err := store.Open(t.Context(), c.location, c.options)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, not %q", why, err, c.says)
		}
		if s != nil {
			_ = s.Close()
		}
	}
}
