// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos

// stage is a step of a stage, as yip knows it, which executes them. yip drops keys that it does not know, so they are types
// here. A test in test/kairos compares them with yip's.
type stage struct {
	After              []dependency        `json:"after,omitempty"`
	AuthorizedKeys     map[string][]string `json:"authorized_keys,omitempty"`
	Commands           []string            `json:"commands,omitempty"`
	DataSource         *dataSource         `json:"datasource,omitempty"`
	DeleteEntities     []entity            `json:"delete_entities,omitempty"`
	Directories        []directory         `json:"directories,omitempty"`
	DNS                *dns                `json:"dns,omitempty"`
	Downloads          []download          `json:"downloads,omitempty"`
	EnsureEntities     []entity            `json:"ensure_entities,omitempty"`
	Environment        map[string]string   `json:"environment,omitempty"`
	EnvironmentFile    string              `json:"environment_file,omitempty"`
	Files              []file              `json:"files,omitempty"`
	Git                *git                `json:"git,omitempty"`
	Hostname           string              `json:"hostname,omitempty"`
	If                 string              `json:"if,omitempty"`
	Layout             *layout             `json:"layout,omitempty"`
	Modules            []string            `json:"modules,omitempty"`
	Name               string              `json:"name,omitempty"`
	Node               string              `json:"node,omitempty"`
	OnlyArch           string              `json:"only_arch,omitempty"`
	OnlyOS             string              `json:"only_os,omitempty"`
	OnlyOSVersion      string              `json:"only_os_version,omitempty"`
	OnlyServiceManager string              `json:"only_service_manager,omitempty"`
	Packages           *packages           `json:"packages,omitempty"`
	Sysctl             map[string]string   `json:"sysctl,omitempty"`
	Systemctl          *systemctl          `json:"systemctl,omitempty"`
	SystemdFirstBoot   map[string]string   `json:"systemd_firstboot,omitempty"`
	TimeSyncd          map[string]string   `json:"timesyncd,omitempty"`
	UnpackImages       []unpackImage       `json:"unpack_images,omitempty"`
	Users              map[string]account  `json:"users,omitempty"`
}

type dependency struct {
	Name string `json:"name,omitempty"`
}

type dataSource struct {
	Path         string   `json:"path,omitempty"`
	Providers    []string `json:"providers,omitempty"`
	UserdataName string   `json:"userdata_name,omitempty"`
}

type entity struct {
	Entity string `json:"entity,omitempty"`
	Path   string `json:"path,omitempty"`
}

type directory struct {
	Group       int    `json:"group,omitempty"`
	Owner       int    `json:"owner,omitempty"`
	Path        string `json:"path,omitempty"`
	Permissions uint32 `json:"permissions,omitempty"`
}

type dns struct {
	Nameservers []string `json:"nameservers,omitempty"`
	Options     []string `json:"options,omitempty"`
	Path        string   `json:"path,omitempty"`
	Search      []string `json:"search,omitempty"`
}

type download struct {
	Group       int    `json:"group,omitempty"`
	Owner       int    `json:"owner,omitempty"`
	OwnerString string `json:"ownerstring,omitempty"`
	Path        string `json:"path,omitempty"`
	Permissions uint32 `json:"permissions,omitempty"`
	Timeout     int    `json:"timeout,omitempty"`
	URL         string `json:"url,omitempty"`
}

type file struct {
	Content     string `json:"content,omitempty"`
	Encoding    string `json:"encoding,omitempty"`
	Group       int    `json:"group,omitempty"`
	Owner       int    `json:"owner,omitempty"`
	OwnerString string `json:"ownerstring,omitempty"`
	Path        string `json:"path,omitempty"`
	Permissions uint32 `json:"permissions,omitempty"`
}

type git struct {
	Auth       *gitAuth `json:"auth,omitempty"`
	Branch     string   `json:"branch,omitempty"`
	BranchOnly bool     `json:"branch_only,omitempty"`
	Path       string   `json:"path,omitempty"`
	URL        string   `json:"url,omitempty"`
}

type gitAuth struct {
	Insecure   bool   `json:"insecure,omitempty"`
	Password   string `json:"password,omitempty"`
	PrivateKey string `json:"private_key,omitempty"`
	PublicKey  string `json:"public_key,omitempty"`
	Username   string `json:"username,omitempty"`
}

type layout struct {
	AddPartitions   []partition `json:"add_partitions,omitempty"`
	Device          *device     `json:"device,omitempty"`
	ExpandPartition *expand     `json:"expand_partition,omitempty"`
}

type partition struct {
	FileSystem string `json:"filesystem,omitempty"`
	FSLabel    string `json:"fsLabel,omitempty"`
	PLabel     string `json:"pLabel,omitempty"`
	Size       uint   `json:"size,omitempty"`
}

type device struct {
	Label string `json:"label,omitempty"`
	Path  string `json:"path,omitempty"`
}

type expand struct {
	Size uint `json:"size,omitempty"`
}

type packages struct {
	Install []string `json:"install,omitempty"`
	Refresh bool     `json:"refresh,omitempty"`
	Remove  []string `json:"remove,omitempty"`
	Upgrade bool     `json:"upgrade,omitempty"`
}

type systemctl struct {
	Disable   []string            `json:"disable,omitempty"`
	Enable    []string            `json:"enable,omitempty"`
	Mask      []string            `json:"mask,omitempty"`
	Overrides []systemctlOverride `json:"overrides,omitempty"`
	Start     []string            `json:"start,omitempty"`
}

type systemctlOverride struct {
	Content string `json:"content,omitempty"`
	Name    string `json:"name,omitempty"`
	Service string `json:"service,omitempty"`
}

type unpackImage struct {
	Platform string `json:"platform,omitempty"`
	Source   string `json:"source,omitempty"`
	Target   string `json:"target,omitempty"`
}
