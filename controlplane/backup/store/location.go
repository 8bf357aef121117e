// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Location is where snapshots are kept.
type Location struct {
	// URL is empty for the manager's own folder, or one of
	//
	//	s3://bucket/prefix?region=eu-west-1&endpoint=https://minio.example.org&pathStyle=true
	//	gs://bucket/prefix?endpoint=...
	//	azblob://container/prefix?account=...&endpoint=...
	//
	// where everything but the bucket or container may be left out. region is us-east-1 unless it is named. endpoint is for
	// what is compatible with S3, for private addresses of a cloud, and for sovereign clouds.
	URL string
	// Credentials are the data of a Secret, with the keys
	//
	//	s3      accessKeyID, secretAccessKey, and sessionToken where the two are temporary
	//	gs      serviceAccountJSON
	//	azblob  accountName, and accountKey or sasToken
	//
	// and for each of them caCertificate: PEM, for endpoints that no public authority vouches for. nil means to use the
	// identity of this process, which Options must allow.
	Credentials map[string][]byte
}

// Keys of Credentials.
const (
	AccessKeyID        = "accessKeyID"
	SecretAccessKey    = "secretAccessKey"
	SessionToken       = "sessionToken"
	ServiceAccountJSON = "serviceAccountJSON"
	AccountName        = "accountName"
	AccountKey         = "accountKey"
	SASToken           = "sasToken"
	CACertificate      = "caCertificate"
)

// parameters are what a URL may say behind its question mark.
func parameters(scheme string) []string {
	switch scheme {
	case "s3":
		return []string{"endpoint", "pathStyle", "region"}
	case "gs":
		return []string{"endpoint"}
	case "azblob":
		return []string{"account", "endpoint"}
	default:
		return nil
	}
}

// address is a URL that was understood.
type address struct {
	scheme, bucket, prefix string
	query                  map[string]string
}

// Validate says what is wrong with the URL, without a call to anybody.
func (l Location) Validate() error {
	if l.URL == "" {
		return nil
	}
	_, err := l.parse()
	return err
}

// String is the URL.
func (l Location) String() string {
	if l.URL == "" {
		return "the manager's own folder"
	}
	return l.URL
}

func (l Location) parse() (address, error) {
	a, err := parse(l.URL)
	if err != nil {
		return address{}, fmt.Errorf("the location of snapshots %q: %w", redact(l.URL), err)
	}
	return a, nil
}

func parse(text string) (address, error) {
	u, err := url.Parse(text)
	if err != nil {
		return address{}, errors.New("it is no URL")
	}
	switch {
	case u.Scheme == "file":
		return address{}, errors.New("a folder of the manager's machine cannot be named: leave the URL out for the manager's own folder")
	case parameters(u.Scheme) == nil:
		return address{}, fmt.Errorf("scheme %q is not known: use s3, gs or azblob", u.Scheme)
	case u.User != nil:
		return address{}, errors.New("credentials belong into a Secret, not into the URL")
	case u.Host == "" || u.Port() != "" || u.Opaque != "":
		return address{}, fmt.Errorf("no bucket is named: write %s://bucket/prefix", u.Scheme)
	case u.Fragment != "":
		return address{}, errors.New("nothing may follow a #")
	}
	a := address{scheme: u.Scheme, bucket: u.Host, prefix: strings.Trim(u.Path, "/")}
	if a.prefix != "" && path.Clean("/"+a.prefix) != "/"+a.prefix {
		return address{}, fmt.Errorf("the prefix %q must not hold empty parts, or dots for folders", a.prefix)
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return address{}, errors.New("what follows the ? cannot be read")
	}
	a.query, err = singles(u.Scheme, values)
	return a, err
}

// singles refuses parameters that are not known, or that are there twice.
func singles(scheme string, values url.Values) (map[string]string, error) {
	query := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		switch {
		case !slices.Contains(parameters(scheme), key):
			return nil, fmt.Errorf("parameter %q is not known: %s takes %s", key, scheme, strings.Join(parameters(scheme), ", "))
		case len(values[key]) > 1:
			return nil, fmt.Errorf("parameter %q is there %d times", key, len(values[key]))
		}
		query[key] = values.Get(key)
	}
	if style, ok := query["pathStyle"]; ok && style != "true" && style != "false" {
		return nil, errors.New("parameter pathStyle must be true or false")
	}
	if endpoint, ok := query["endpoint"]; ok {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return nil, errors.New("parameter endpoint must be a URL such as https://minio.example.org:9000")
		}
	}
	return query, nil
}

// redact takes out of a URL what may be a password.
func redact(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return text
	}
	u.User = url.User("...")
	return u.String()
}

// needs returns an error where one of the keys is missing.
func (l Location) needs(keys ...string) error {
	var missing []string
	for _, key := range keys {
		if len(l.Credentials[key]) == 0 {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the credentials for %s lack %s", redact(l.URL), strings.Join(missing, " and "))
	}
	return nil
}

// text is one of the credentials, without the line end that a file leaves.
func (l Location) text(key string) string { return strings.TrimSpace(string(l.Credentials[key])) }
