// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package bottlerocket

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

// document is what Bottlerocket reads: all settings are below one table.
type document struct {
	Settings settings `toml:"settings"`
}

// settings are those that the images for vSphere have. A key that is not here is one that they do not know. Each group is
// as upstream documents it; sinceRelease holds what came later than the oldest release.
type settings struct {
	AWS                 *aws                          `toml:"aws,omitempty"`
	Boot                *boot                         `toml:"boot,omitempty"`
	BootstrapCommands   map[string]bootstrapCommand   `toml:"bootstrap-commands,omitempty"`
	BootstrapContainers map[string]bootstrapContainer `toml:"bootstrap-containers,omitempty"`
	ContainerRegistry   *containerRegistry            `toml:"container-registry,omitempty"`
	ContainerRuntime    *containerRuntime             `toml:"container-runtime,omitempty"`
	DNS                 *dns                          `toml:"dns,omitempty"`
	HostContainers      map[string]hostContainer      `toml:"host-containers,omitempty"`
	Kernel              *kernel                       `toml:"kernel,omitempty"`
	Kubernetes          *kubernetes                   `toml:"kubernetes,omitempty"`
	Metrics             *metrics                      `toml:"metrics,omitempty"`
	MOTD                string                        `toml:"motd,omitempty"`
	Network             *network                      `toml:"network,omitempty"`
	NTP                 *ntp                          `toml:"ntp,omitempty"`
	OCIDefaults         *ociDefaults                  `toml:"oci-defaults,omitempty"`
	OCIHooks            *ociHooks                     `toml:"oci-hooks,omitempty"`
	PKI                 map[string]pkiBundle          `toml:"pki,omitempty"`
	Updates             *updates                      `toml:"updates,omitempty"`
}

type aws struct {
	Config      string `toml:"config,omitempty"`
	Credentials string `toml:"credentials,omitempty"`
	Profile     string `toml:"profile,omitempty"`
	Region      string `toml:"region,omitempty"`
}

type boot struct {
	InitParameters    map[string][]string `toml:"init-parameters,omitempty"`
	KernelParameters  map[string][]string `toml:"kernel-parameters,omitempty"`
	RebootToReconcile *bool               `toml:"reboot-to-reconcile,omitempty"`
}

type bootstrapCommand struct {
	Commands  [][]string `toml:"commands,omitempty"`
	Essential *bool      `toml:"essential,omitempty"`
	Mode      string     `toml:"mode,omitempty"`
}

type bootstrapContainer struct {
	Command   []string `toml:"command,omitempty"`
	Essential *bool    `toml:"essential,omitempty"`
	Mode      string   `toml:"mode,omitempty"`
	Source    string   `toml:"source,omitempty"`
	UserData  string   `toml:"user-data,omitempty"`
}

type containerRegistry struct {
	Credentials []registryCredential `toml:"credentials,omitempty"`
	Mirrors     []registryMirror     `toml:"mirrors,omitempty"`
}

type registryCredential struct {
	Registry      string `toml:"registry,omitempty"`
	Username      string `toml:"username,omitempty"`
	Password      string `toml:"password,omitempty"`
	Auth          string `toml:"auth,omitempty"`
	IdentityToken string `toml:"identitytoken,omitempty"`
}

type registryMirror struct {
	Registry string   `toml:"registry,omitempty"`
	Endpoint []string `toml:"endpoint,omitempty"`
}

type containerRuntime struct {
	ConcurrentDownloadChunkSize string `toml:"concurrent-download-chunk-size,omitempty"`
	EnableUnprivilegedICMP      *bool  `toml:"enable-unprivileged-icmp,omitempty"`
	EnableUnprivilegedPorts     *bool  `toml:"enable-unprivileged-ports,omitempty"`
	MaxConcurrentDownloads      *int32 `toml:"max-concurrent-downloads,omitempty"`
	MaxContainerLogLineSize     *int32 `toml:"max-container-log-line-size,omitempty"`
	Snapshotter                 string `toml:"snapshotter,omitempty"`
}

type dns struct {
	NameServers []string `toml:"name-servers,omitempty"`
	SearchList  []string `toml:"search-list,omitempty"`
}

type hostContainer struct {
	Command      []string `toml:"command,omitempty"`
	Enabled      *bool    `toml:"enabled,omitempty"`
	Source       string   `toml:"source,omitempty"`
	Superpowered *bool    `toml:"superpowered,omitempty"`
	UserData     string   `toml:"user-data,omitempty"`
}

type kernel struct {
	Lockdown string                  `toml:"lockdown,omitempty"`
	Modules  map[string]kernelModule `toml:"modules,omitempty"`
	Sysctl   map[string]string       `toml:"sysctl,omitempty"`
}

type kernelModule struct {
	Allowed  *bool `toml:"allowed,omitempty"`
	Autoload *bool `toml:"autoload,omitempty"`
}

type metrics struct {
	MetricsURL    string   `toml:"metrics-url,omitempty"`
	SendMetrics   *bool    `toml:"send-metrics,omitempty"`
	ServiceChecks []string `toml:"service-checks,omitempty"`
}

type network struct {
	Hostname   string   `toml:"hostname,omitempty"`
	Hosts      [][]any  `toml:"hosts,omitempty"`
	HTTPSProxy string   `toml:"https-proxy,omitempty"`
	NoProxy    []string `toml:"no-proxy,omitempty"`
}

type ntp struct {
	TimeServers []string `toml:"time-servers,omitempty"`
}

type ociDefaults struct {
	Capabilities   map[string]bool          `toml:"capabilities,omitempty"`
	ResourceLimits map[string]resourceLimit `toml:"resource-limits,omitempty"`
}

type resourceLimit struct {
	HardLimit *int64 `toml:"hard-limit,omitempty"`
	SoftLimit *int64 `toml:"soft-limit,omitempty"`
}

type ociHooks struct {
	Log4jHotpatchEnabled *bool `toml:"log4j-hotpatch-enabled,omitempty"`
}

type pkiBundle struct {
	Data    string `toml:"data,omitempty"`
	Trusted *bool  `toml:"trusted,omitempty"`
}

type updates struct {
	IgnoreWaves     *bool   `toml:"ignore-waves,omitempty"`
	MetadataBaseURL string  `toml:"metadata-base-url,omitempty"`
	Seed            *uint32 `toml:"seed,omitempty"`
	TargetsBaseURL  string  `toml:"targets-base-url,omitempty"`
	VersionLock     string  `toml:"version-lock,omitempty"`
}

// kubernetes returns the group, which is made where there is none.
func (s *settings) kubernetes() *kubernetes {
	if s.Kubernetes == nil {
		s.Kubernetes = &kubernetes{}
	}
	return s.Kubernetes
}

// network returns the group, which is made where there is none.
func (s *settings) network() *network {
	if s.Network == nil {
		s.Network = &network{}
	}
	return s.Network
}

// encode writes the settings. The same settings give the same bytes.
func encode(s settings) ([]byte, error) {
	return toml.Marshal(document{Settings: s})
}

// decode reads a document. It refuses whatever the images do not know.
func decode(text string) (settings, error) {
	var d document
	decoder := toml.NewDecoder(strings.NewReader(text)).DisallowUnknownFields()
	err := decoder.Decode(&d)
	var unknown *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case err == nil:
		return d.Settings, nil
	case errors.As(err, &unknown):
		var keys []string
		for _, e := range unknown.Errors {
			keys = append(keys, strings.Join(e.Key(), "."))
		}
		return settings{}, fmt.Errorf("%s: the images for vSphere have no such setting", strings.Join(keys, ", "))
	case errors.As(err, &wrong):
		row, column := wrong.Position()
		at := fmt.Sprintf("line %d, column %d", row, column)
		if key := wrong.Key(); len(key) > 0 {
			at += ", " + strings.Join(key, ".")
		}
		return settings{}, fmt.Errorf("%s: %s", at, strings.TrimPrefix(wrong.Error(), "toml: "))
	default:
		return settings{}, errors.New(strings.TrimPrefix(err.Error(), "toml: "))
	}
}

// Validate reads a document as strictly as the images of a release do. Tests and diagnostics use it.
func Validate(data []byte, release bootstrapv1.BottlerocketRelease) error {
	s, err := decode(string(data))
	if err != nil {
		return err
	}
	tree, err := readTree(string(data))
	if err != nil {
		return err
	}
	if problems := append(s.problems(), tooNew(tree, release)...); len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}
