// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos

import (
	"bytes"
	"errors"
	"fmt"

	"sigs.k8s.io/yaml"
)

// header is the first line, by which Kairos tells what it reads.
const header = "#cloud-config\n"

// unitFolder is where units of the administrator lie.
const unitFolder = "/etc/systemd/system/"

// document is a configuration as Kairos reads it, with the keys that a running machine obeys. Keys are in the order of the
// alphabet.
type document struct {
	Bundles           []bundle           `json:"bundles,omitempty"`
	ConfigURL         string             `json:"config_url,omitempty"`
	Env               []string           `json:"env,omitempty"`
	GrowPart          *growPart          `json:"growpart,omitempty"`
	Hostname          string             `json:"hostname,omitempty"`
	K0sWorker         *agent             `json:"k0s-worker,omitempty"`
	K3sAgent          *agent             `json:"k3s-agent,omitempty"`
	Name              string             `json:"name,omitempty"`
	RunCmd            []string           `json:"runcmd,omitempty"`
	SSHAuthorizedKeys []string           `json:"ssh_authorized_keys,omitempty"`
	Stages            map[string][]stage `json:"stages,omitempty"`
	Users             []account          `json:"users,omitempty"`
	WriteFiles        []writeFile        `json:"write_files,omitempty"`
}

// agent is how Kairos starts a worker.
type agent struct {
	Args    []string `json:"args,omitempty"`
	Enabled bool     `json:"enabled"`
}

// bundle is an image whose content is put on the machine at boot.
type bundle struct {
	DBPath     string   `json:"db_path,omitempty"`
	LocalFile  bool     `json:"local_file,omitempty"`
	Repository string   `json:"repository,omitempty"`
	RootfsPath string   `json:"rootfs_path,omitempty"`
	Targets    []string `json:"targets,omitempty"`
}

type growPart struct {
	Devices []string `json:"devices,omitempty"`
	Mode    string   `json:"mode,omitempty"`
}

// account is a user, in the words of cloud-init and of yip.
type account struct {
	GECOS             string   `json:"gecos,omitempty"`
	Groups            []string `json:"groups,omitempty"`
	Homedir           string   `json:"homedir,omitempty"`
	LockPasswd        bool     `json:"lock_passwd,omitempty"`
	Name              string   `json:"name,omitempty"`
	NoCreateHome      bool     `json:"no_create_home,omitempty"`
	NoLogInit         bool     `json:"no_log_init,omitempty"`
	NoUserGroup       bool     `json:"no_user_group,omitempty"`
	Passwd            string   `json:"passwd,omitempty"`
	PrimaryGroup      string   `json:"primary_group,omitempty"`
	Shell             string   `json:"shell,omitempty"`
	SSHAuthorizedKeys []string `json:"ssh_authorized_keys,omitempty"`
	System            bool     `json:"system,omitempty"`
	UID               string   `json:"uid,omitempty"`
}

// writeFile is a file in cloud-init's words.
type writeFile struct {
	Content     string `json:"content,omitempty"`
	Encoding    string `json:"encoding,omitempty"`
	Owner       string `json:"owner,omitempty"`
	Path        string `json:"path,omitempty"`
	Permissions string `json:"permissions,omitempty"`
}

// encode writes the configuration. The same configuration gives the same bytes.
func encode(config document) ([]byte, error) {
	body, err := yaml.Marshal(config)
	if err != nil {
		return nil, err
	}
	return append([]byte(header), body...), nil
}

// Validate fails on everything but what is written here. Kairos itself takes nearly everything and drops what it does not
// understand.
func Validate(data []byte) error {
	body, ok := bytes.CutPrefix(data, []byte(header))
	if !ok {
		return errors.New("not a cloud-config: the first line must be #cloud-config")
	}
	var config document
	if err := yaml.UnmarshalStrict(body, &config); err != nil {
		return fmt.Errorf("decoding cloud-config: %w", err)
	}
	again, err := encode(config)
	if err != nil {
		return err
	}
	if !bytes.Equal(data, again) {
		return errors.New("decoding cloud-config: it is not written in the one way in which it is written here")
	}
	return nil
}
