// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ignition encodes Ignition 3.4 configurations. It is shared by the families whose images run Ignition 3.x on
// first boot. It knows the format: files, units, masks, what is fetched and from whom, how they are ordered and how they
// are validated; and it reads what users add in Butane's words, without reading a file or an address for them. It never
// knows an operating system, a role or Kubernetes.
package ignition

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/ignition/v2/config/v3_4"
	"github.com/coreos/ignition/v2/config/v3_4/types"
)

// Version is the specification that Config.Encode writes. Ignition 2.15 and later read it.
const Version = "3.4.0"

// Config is one configuration.
type Config struct {
	// Files are files to write.
	Files []File
	// Units are systemd units to write, extend, enable or mask.
	Units []Unit
	// Folders are directories to make, for those whose mode matters.
	Folders []Folder
	// Links are symbolic links to make.
	Links []Link
	// Encrypted are volumes to encrypt.
	Encrypted []EncryptedVolume
	// Authorities are PEM bundles that the machine trusts for remote files, beside those that its image trusts.
	Authorities []string
	// FetchTimeout is how long the machine tries to fetch one remote file, in whole seconds. Zero means for ever.
	FetchTimeout time.Duration
	// Additions are merged into the rest, in their order. What an addition names in the words of the rest replaces it, so
	// look at its Parts first.
	Additions []Addition
}

// File is a file that root owns.
type File struct {
	// Path is absolute. Missing parent directories are made with mode 0755.
	Path string
	// Mode holds the permission bits.
	Mode fs.FileMode
	// Data is the content.
	Data []byte
	// Remote is where the content is fetched from; Data is empty then.
	Remote Remote
	// Append adds Data to what the image has at the path instead of replacing it.
	Append bool
}

// Remote is content that the machine fetches on first boot. The image must have a network before its root is up.
type Remote struct {
	// URL is the address.
	URL string
	// SHA512 is the digest in hexadecimal. It or SHA256 is required: Ignition refuses any other content.
	SHA512 string
	// SHA256 is the digest in hexadecimal, where there is no SHA512.
	SHA256 string
}

// Folder is a directory that root owns.
type Folder struct {
	// Path is absolute. Missing parent directories are made with mode 0755.
	Path string
	// Mode holds the permission bits.
	Mode fs.FileMode
}

// Link is a symbolic link.
type Link struct {
	// Path is absolute. Missing parent directories are made with mode 0755.
	Path string
	// Target is what it points to. It need not exist.
	Target string
}

// EncryptedVolume is a partition that Ignition encrypts, with a file system in it. What was on the partition is lost. Its key
// is made on the machine, and only the machine's TPM 2.0 gives it back, by Clevis, which the image must have in its initramfs.
type EncryptedVolume struct {
	// Name is the name of the open volume below /dev/mapper.
	Name string
	// Device is the partition.
	Device string
	// Label is the label of the encrypted volume. Empty means none.
	Label string
	// Format and FilesystemLabel are those of the file system.
	Format, FilesystemLabel string
}

// Opened is the device of the volume when it is open.
func (v EncryptedVolume) Opened() string { return "/dev/mapper/" + v.Name }

// Unit is a systemd unit.
type Unit struct {
	// Name is the file name of the unit. Do not use an instance of a template (name@instance.service): Ignition would
	// ask systemd for its version, and in an initramfs without systemd that fails.
	Name string
	// Contents is the unit file; empty keeps the image's own.
	Contents string
	// Enabled enables the unit on first boot.
	Enabled bool
	// Masked makes the unit impossible to start. A unit that does not exist may be masked.
	Masked bool
	// Dropins extend the unit: file name to content.
	Dropins map[string]string
}

// Encode returns the configuration as JSON. The same configuration gives the same bytes in whatever order its files
// and units are listed. It fails where Ignition's own validation finds anything at all to say, warnings included.
func (c Config) Encode() ([]byte, error) {
	out := types.Config{Ignition: types.Ignition{Version: Version}}
	for _, f := range c.Files {
		if err := f.Remote.check(len(f.Data) > 0 || f.Append); err != nil {
			return nil, fmt.Errorf("file %s: %w", f.Path, err)
		}
		out.Storage.Files = append(out.Storage.Files, encodeFile(f))
	}
	for _, f := range c.Folders {
		out.Storage.Directories = append(out.Storage.Directories, types.Directory{
			Node: types.Node{Path: f.Path}, DirectoryEmbedded1: types.DirectoryEmbedded1{Mode: new(int(f.Mode.Perm()))},
		})
	}
	for _, l := range c.Links {
		out.Storage.Links = append(out.Storage.Links, types.Link{
			Node: types.Node{Path: l.Path, Overwrite: new(true)}, LinkEmbedded1: types.LinkEmbedded1{Target: new(l.Target)},
		})
	}
	for _, v := range c.Encrypted {
		luks, filesystem := encodeVolume(v)
		out.Storage.Luks = append(out.Storage.Luks, luks)
		out.Storage.Filesystems = append(out.Storage.Filesystems, filesystem)
	}
	for _, bundle := range c.Authorities {
		out.Ignition.Security.TLS.CertificateAuthorities = append(out.Ignition.Security.TLS.CertificateAuthorities,
			types.Resource{Source: new(encodeAuthority(bundle))})
	}
	if c.FetchTimeout > 0 {
		out.Ignition.Timeouts.HTTPTotal = new(int(c.FetchTimeout / time.Second))
	}
	for _, u := range c.Units {
		out.Systemd.Units = append(out.Systemd.Units, encodeUnit(u))
	}
	for _, a := range c.Additions {
		out = v3_4.Merge(out, a.config)
	}
	slices.SortStableFunc(out.Storage.Files, func(a, b types.File) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortStableFunc(out.Storage.Directories, func(a, b types.Directory) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortStableFunc(out.Storage.Links, func(a, b types.Link) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortStableFunc(out.Systemd.Units, func(a, b types.Unit) int { return cmp.Compare(a.Name, b.Name) })

	data, err := compact(out)
	if err != nil {
		return nil, err
	}
	return data, Validate(data)
}

// Validate parses data as strictly as Ignition does and fails on every finding, warnings included.
func Validate(data []byte) error {
	_, report, err := v3_4.Parse(data)
	var findings []string
	for _, entry := range report.Entries {
		findings = append(findings, fmt.Sprintf("%s: %s", entry.Context.String(), entry.Message))
	}
	if err == nil && len(findings) == 0 {
		return nil
	}
	if err == nil {
		err = errors.New("findings")
	}
	return fmt.Errorf("not a valid Ignition %s configuration: %w: %s", Version, err, strings.Join(findings, "; "))
}

// Decode reads a configuration that Encode wrote. It reads no volumes, and of additions files, folders, links and
// units. Tests and diagnostics use it.
func Decode(data []byte) (Config, error) {
	if err := Validate(data); err != nil {
		return Config{}, err
	}
	var in types.Config
	if err := json.Unmarshal(data, &in); err != nil {
		return Config{}, fmt.Errorf("decoding Ignition configuration: %w", err)
	}
	var out Config
	for _, f := range in.Storage.Files {
		file, err := decodeFile(f)
		if err != nil {
			return Config{}, fmt.Errorf("decoding file %s: %w", f.Path, err)
		}
		out.Files = append(out.Files, file)
	}
	for _, u := range in.Systemd.Units {
		out.Units = append(out.Units, decodeUnit(u))
	}
	for _, f := range in.Storage.Directories {
		out.Folders = append(out.Folders, Folder{Path: f.Path, Mode: fs.FileMode(ptrOr(f.Mode, 0)) & fs.ModePerm})
	}
	for _, l := range in.Storage.Links {
		out.Links = append(out.Links, Link{Path: l.Path, Target: ptrOr(l.Target, "")})
	}
	for i, authority := range in.Ignition.Security.TLS.CertificateAuthorities {
		bundle, err := decodeDataURL(ptrOr(authority.Source, ""))
		if err != nil {
			return Config{}, fmt.Errorf("decoding authority %d: %w", i, err)
		}
		out.Authorities = append(out.Authorities, string(bundle))
	}
	out.FetchTimeout = time.Duration(ptrOr(in.Ignition.Timeouts.HTTPTotal, 0)) * time.Second
	return out, nil
}

// check refuses what Ignition would accept and nobody can have meant.
func (r Remote) check(hasData bool) error {
	switch {
	case r == Remote{}:
		return nil
	case hasData:
		return errors.New("its content is either given or fetched, and never appended when it is fetched")
	case r.URL == "" || (r.SHA512 == "") == (r.SHA256 == ""):
		return errors.New("what is fetched needs an address and a digest, SHA-512 or SHA-256")
	default:
		return nil
	}
}

// hash is the digest as Ignition writes it.
func (r Remote) hash() string {
	if r.SHA256 != "" {
		return sha256Prefix + r.SHA256
	}
	return sha512Prefix + r.SHA512
}

const (
	dataURLPrefix = "data:;base64,"
	// plainURLPrefix is the other form of data URLs, which Encode does not write itself.
	plainURLPrefix = "data:,"
	sha512Prefix   = "sha512-"
	sha256Prefix   = "sha256-"
)

func encodeFile(f File) types.File {
	out := types.File{Node: types.Node{Path: f.Path}}
	out.Mode = new(int(f.Mode.Perm()))
	content := types.Resource{Source: new(encodeDataURL(f.Data))}
	if f.Append {
		out.Append = []types.Resource{content}
		return out
	}
	if f.Remote != (Remote{}) {
		content = types.Resource{Source: new(f.Remote.URL), Verification: types.Verification{Hash: new(f.Remote.hash())}}
	}
	out.Overwrite = new(true)
	out.Contents = content
	return out
}

func encodeVolume(v EncryptedVolume) (types.Luks, types.Filesystem) {
	luks := types.Luks{Name: v.Name, Device: new(v.Device), WipeVolume: new(true), Clevis: types.Clevis{Tpm2: new(true)}}
	if v.Label != "" {
		luks.Label = new(v.Label)
	}
	return luks, types.Filesystem{Device: v.Opened(), Format: new(v.Format), Label: new(v.FilesystemLabel), WipeFilesystem: new(true)}
}

// encodeAuthority ends the bundle with its last certificate: Ignition takes a blank line after it for a broken one.
func encodeAuthority(bundle string) string {
	return encodeDataURL([]byte(strings.TrimSpace(bundle) + "\n"))
}

func encodeDataURL(data []byte) string {
	return dataURLPrefix + base64.StdEncoding.EncodeToString(data)
}

func decodeFile(f types.File) (File, error) {
	out := File{Path: f.Path, Mode: fs.FileMode(ptrOr(f.Mode, 0)) & fs.ModePerm}
	content := f.Contents
	if len(f.Append) == 1 {
		content, out.Append = f.Append[0], true
	}
	source := ptrOr(content.Source, "")
	if hash := ptrOr(content.Verification.Hash, ""); hash != "" && !out.Append {
		out.Remote.URL = source
		if digest, ok := strings.CutPrefix(hash, sha256Prefix); ok {
			out.Remote.SHA256 = digest
		} else {
			out.Remote.SHA512 = strings.TrimPrefix(hash, sha512Prefix)
		}
		return out, nil
	}
	var err error
	out.Data, err = decodeDataURL(source)
	return out, err
}

func decodeDataURL(source string) ([]byte, error) {
	if escaped, ok := strings.CutPrefix(source, plainURLPrefix); ok {
		text, err := url.PathUnescape(escaped)
		return []byte(text), err
	}
	encoded, ok := strings.CutPrefix(source, dataURLPrefix)
	if !ok {
		u, err := url.Parse(source)
		if err != nil {
			return nil, errors.New("the source is not a URL")
		}
		return nil, fmt.Errorf("the source has scheme %q: only data URLs are known", u.Scheme)
	}
	return base64.StdEncoding.DecodeString(encoded)
}

func encodeUnit(u Unit) types.Unit {
	out := types.Unit{Name: u.Name}
	if u.Contents != "" {
		out.Contents = new(u.Contents)
	}
	if u.Enabled {
		out.Enabled = new(true)
	}
	if u.Masked {
		out.Mask = new(true)
	}
	for name, contents := range u.Dropins {
		out.Dropins = append(out.Dropins, types.Dropin{Name: name, Contents: new(contents)})
	}
	slices.SortFunc(out.Dropins, func(a, b types.Dropin) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func decodeUnit(u types.Unit) Unit {
	out := Unit{
		Name:     u.Name,
		Contents: ptrOr(u.Contents, ""),
		Enabled:  ptrOr(u.Enabled, false),
		Masked:   ptrOr(u.Mask, false),
	}
	for _, d := range u.Dropins {
		if out.Dropins == nil {
			out.Dropins = map[string]string{}
		}
		out.Dropins[d.Name] = ptrOr(d.Contents, "")
	}
	return out
}

// compact encodes v as JSON without the empty objects that the generated Ignition types leave everywhere. Object keys
// come out sorted.
func compact(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding Ignition configuration: %w", err)
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return nil, fmt.Errorf("encoding Ignition configuration: %w", err)
	}
	data, err := json.Marshal(prune(tree))
	if err != nil {
		return nil, fmt.Errorf("encoding Ignition configuration: %w", err)
	}
	return data, nil
}

func prune(tree any) any {
	switch node := tree.(type) {
	case map[string]any:
		for key, child := range node {
			child = prune(child)
			if object, ok := child.(map[string]any); ok && len(object) == 0 {
				delete(node, key)
				continue
			}
			node[key] = child
		}
	case []any:
		for i := range node {
			node[i] = prune(node[i])
		}
	}
	return tree
}

func ptrOr[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}
	return *p
}
