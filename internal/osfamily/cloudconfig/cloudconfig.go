// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cloudconfig encodes cloud-config, the user data of cloud-init. It is shared by the families whose images run
// cloud-init on first boot. It knows the format: files, systemd units and how they come to run, the host name, what
// cloud-init does to packages, how all of it is ordered and how it is validated. It never knows an operating system, a
// role or Kubernetes.
//
// cloud-init goes on when a module fails. Ignition's promise, the machine as it was described or none, is kept here by
// order: cloud-init stops writing at the first file that it cannot write, and unit files come last; the commands that start
// units come after all others, in a script that ends at the first failure. So a unit that a configuration brings runs only
// where all of the configuration is in place.
package cloudconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"sigs.k8s.io/yaml"
)

// header is the first line, by which cloud-init tells what it reads.
const header = "#cloud-config\n"

// Config is one configuration.
type Config struct {
	// Hostname is the host name as a whole, also where it has dots. Empty leaves it to the image and the data source.
	// Whoever sets it writes /etc/hosts, if at all, as one of the files.
	Hostname string
	// KeepPackages has cloud-init update no package, whatever the image's own configuration says.
	KeepPackages bool
	// ReadOnce has cloud-init keep what it read. Without it, cloud-init takes a machine from which its data source was taken
	// away for a new one, and sets it up as one that has no configuration.
	ReadOnce bool
	// Files are files to write.
	Files []File
	// Units are systemd units to write, extend, enable or mask.
	Units []Unit
	// Additions are what a user adds.
	Additions Additions
}

// File is a file that root owns. Files of units are not among them.
type File struct {
	// Path is absolute. Missing parent directories are made with mode 0755.
	Path string
	// Mode holds the permission bits.
	Mode fs.FileMode
	// Data is the content.
	Data []byte
	// Append adds Data to what the image has at the path instead of replacing it.
	Append bool
}

// Unit is a systemd unit.
type Unit struct {
	// Name is the file name of the unit. Instances of a template (name@instance.service) are not known.
	Name string
	// Contents is the unit file; empty keeps the image's own.
	Contents string
	// Enabled enables the unit, and starts it at the end of the first boot. One that runs by then is started anew, so that
	// it reads the files of the configuration.
	Enabled bool
	// Masked makes the unit impossible to start. A unit that does not exist may be masked.
	Masked bool
	// Dropins extend the unit: file name to content.
	Dropins map[string]string
}

// Encode returns the configuration as YAML. The same configuration gives the same bytes in whatever order its files and
// units are listed.
func (c Config) Encode() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	data, err := c.marshal()
	if err != nil {
		return nil, err
	}
	return data, Validate(data)
}

// Validate fails on everything but what Encode writes. cloud-init itself takes nearly everything and drops what it does
// not understand.
func Validate(data []byte) error {
	_, err := Decode(data)
	return err
}

// Decode reads a configuration that Encode wrote. Tests and diagnostics use it.
func Decode(data []byte) (Config, error) {
	body, ok := bytes.CutPrefix(data, []byte(header))
	if !ok {
		return Config{}, errors.New("not a cloud-config: the first line must be #cloud-config")
	}
	var doc document
	if err := yaml.UnmarshalStrict(body, &doc); err != nil {
		return Config{}, fmt.Errorf("decoding cloud-config: %w", err)
	}
	config, err := doc.config()
	if err != nil {
		return Config{}, fmt.Errorf("decoding cloud-config: %w", err)
	}
	if err := config.check(); err != nil {
		return Config{}, fmt.Errorf("decoding cloud-config: %w", err)
	}
	again, err := config.marshal()
	if err != nil {
		return Config{}, err
	}
	if !bytes.Equal(data, again) {
		return Config{}, errors.New("decoding cloud-config: it says more than, or something else than, files, units and additions in the one way in which they are written")
	}
	return config, nil
}

func (c Config) marshal() ([]byte, error) {
	body, err := yaml.Marshal(documentOf(c))
	if err != nil {
		return nil, fmt.Errorf("encoding cloud-config: %w", err)
	}
	return append([]byte(header), body...), nil
}
