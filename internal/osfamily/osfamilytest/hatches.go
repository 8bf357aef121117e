// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamilytest

import (
	"strings"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

// Words in lures that stand for what only the running test knows, see Trap.
const (
	wordFile   = "CANARYFILE"
	wordFolder = "CANARYFOLDER"
	wordServer = "http://canary.invalid"
)

// Hatch is a place of the API where people write in the language of an operating system, or name what a machine fetches.
type Hatch struct {
	// Name is a word for the family and the place.
	Name string
	// Select sets the operating system block that chooses the family.
	Select func(*bootstrapv1.IngotConfigSpec)
	// Set writes a text into the place.
	Set func(spec *bootstrapv1.IngotConfigSpec, text string)
	// Lures are texts that name a file or an address wherever the language, or a library that reads it, knows such a thing.
	// The words in them are for Trap.Set.
	Lures []string
}

// Hatches are the escape hatches of every family and its variants, and the portable settings that name addresses and files.
func Hatches() []Hatch {
	var hatches []Hatch
	portable := func(name string, choose func(*bootstrapv1.IngotConfigSpec)) {
		hatches = append(hatches,
			Hatch{Name: name + "/addresses", Select: choose, Set: setAddresses, Lures: portableLures()},
			Hatch{Name: name + "/words", Select: choose, Set: setWords, Lures: portableLures()})
		if !strings.HasPrefix(name, "talos") && !strings.HasPrefix(name, "bottlerocket") { // which have no files
			hatches = append(hatches, Hatch{Name: name + "/file", Select: choose, Set: setFile, Lures: portableLures()})
		}
	}
	for _, variant := range []bootstrapv1.IgnitionVariant{bootstrapv1.IgnitionVariantGeneric, bootstrapv1.IgnitionVariantFlatcar, bootstrapv1.IgnitionVariantFedoraCoreOS} {
		name, choose := "ignition-"+string(variant), func(spec *bootstrapv1.IngotConfigSpec) { spec.Ignition.Variant = variant }
		hatches = append(hatches, Hatch{
			Name: name + "/butane", Select: choose, Lures: ButaneLures(),
			Set: func(spec *bootstrapv1.IngotConfigSpec, text string) { spec.Ignition.Butane = []string{text} },
		})
		if variant != bootstrapv1.IgnitionVariantGeneric {
			hatches = append(hatches, Hatch{Name: name + "/sysexts", Select: choose, Set: setSysext, Lures: portableLures()})
		}
		portable(name, choose)
	}
	for _, contract := range []bootstrapv1.TalosContract{"1.12", "1.13", "1.14"} {
		name, choose := "talos-"+string(contract), func(spec *bootstrapv1.IngotConfigSpec) {
			spec.Talos = &bootstrapv1.TalosConfig{Contract: contract}
		}
		hatches = append(hatches, Hatch{
			Name: name + "/patches", Select: choose, Lures: talosLures(),
			Set: func(spec *bootstrapv1.IngotConfigSpec, text string) { spec.Talos.Patches = []string{text} },
		})
		portable(name, choose)
	}
	for _, distribution := range []bootstrapv1.KairosDistribution{"kubeadm", "k3s", "k0s"} {
		name, choose := "kairos-"+string(distribution), func(spec *bootstrapv1.IngotConfigSpec) { spec.Kairos.Distribution = distribution }
		hatches = append(hatches, Hatch{
			Name: name + "/cloudConfig", Select: choose, Lures: kairosLures(),
			Set: func(spec *bootstrapv1.IngotConfigSpec, text string) { spec.Kairos.CloudConfig = text },
		})
		portable(name, choose)
	}
	cloudInit := func(spec *bootstrapv1.IngotConfigSpec) { spec.CloudInit = &bootstrapv1.CloudInitConfig{} }
	hatches = append(hatches, Hatch{
		Name: "cloudInit/userData", Select: cloudInit, Lures: cloudInitLures(),
		Set: func(spec *bootstrapv1.IngotConfigSpec, text string) { spec.CloudInit.UserData = text },
	})
	portable("cloudInit", cloudInit)
	for _, release := range []bootstrapv1.BottlerocketRelease{"1.50", "1.57"} {
		name, choose := "bottlerocket-"+string(release), func(spec *bootstrapv1.IngotConfigSpec) {
			spec.Bottlerocket = &bootstrapv1.BottlerocketConfig{Release: release}
		}
		hatches = append(hatches, Hatch{
			Name: name + "/settings", Select: choose, Lures: bottlerocketLures(),
			Set: func(spec *bootstrapv1.IngotConfigSpec, text string) { spec.Bottlerocket.Settings = text },
		})
		portable(name, choose)
	}
	return hatches
}

// luresFor are the lures in the language that a spec is for.
func luresFor(spec bootstrapv1.IngotConfigSpec) []string {
	switch {
	case spec.Talos != nil:
		return talosLures()
	case spec.Bottlerocket != nil:
		return bottlerocketLures()
	case spec.CloudInit != nil:
		return cloudInitLures()
	case spec.Kairos.Distribution != "":
		return kairosLures()
	default:
		return ButaneLures()
	}
}

// ButaneLures are for Butane, and for Ignition below it.
func ButaneLures() []string {
	hash := "verification: {hash: sha512-" + strings.Repeat("0f", 64) + "}"
	fetched := "{source: '" + wordServer + "/a', " + hash + "}"
	return []string{
		"storage: {files: [{path: /etc/a, contents: {local: " + wordFile + "}}], trees: [{local: " + wordFolder + "}]}",
		"storage: {files: [{path: /etc/a, contents: {local: ../../../../../../../.." + wordFile + "}}]}",
		"storage: {trees: [{local: " + wordFolder + ", path: /etc/a}]}",
		"storage: {trees: [{local: ., path: /}]}",
		"storage: {files: [{path: /etc/a, contents: " + fetched + "}, {path: /etc/b, append: [" + fetched + "]}]}",
		"storage: {files: [{path: /etc/a, contents: {source: '" + wordServer + "/a'}}]}",
		"storage: {files: [{path: /etc/a, contents: {source: 'file://" + wordFile + "', " + hash + "}}]}",
		"storage: {files: [{path: /etc/a, contents: {source: " + wordFile + ", " + hash + "}}]}",
		"storage: {files: [{path: /etc/a, contents: {source: '" + wordServer + "/a', compression: gzip, http_headers: [{name: a, value: b}], " + hash + "}}]}",
		"storage: {files: [{path: /etc/a, contents: {source: 'tftp://127.0.0.1/a', " + hash + "}}, {path: /etc/b, contents: {source: 's3://canary/a', " + hash + "}}]}",
		"storage: {files: [{path: /etc/a, contents: {inline: '@" + wordFile + "'}}]}",
		"storage: {links: [{path: /etc/a, target: " + wordFile + "}]}",
		"storage: {luks: [{name: a, device: /dev/vdb, key_file: {local: " + wordFile + "}}]}",
		"storage: {luks: [{name: a, device: /dev/vdb, key_file: " + fetched + "}]}",
		"storage: {luks: [{name: a, device: /dev/vdb, clevis: {tang: [{url: '" + wordServer + "', thumbprint: abcdefghijklmnopqrstuvwxyz0}]}}]}",
		"ignition: {config: {merge: [{source: '" + wordServer + "'}, {local: " + wordFile + "}]}}",
		"ignition: {config: {merge: [" + fetched + "]}}",
		"ignition: {config: {replace: {local: " + wordFile + "}}}",
		"ignition: {config: {replace: " + fetched + "}}",
		"ignition: {security: {tls: {certificate_authorities: [{local: " + wordFile + "}, " + fetched + "]}}}",
		"ignition: {security: {tls: {certificate_authorities: [" + fetched + "]}}}",
		"ignition: {proxy: {http_proxy: '" + wordServer + "', https_proxy: '" + wordServer + "'}}\nstorage: {files: [{path: /etc/a, contents: " + fetched + "}]}",
		"passwd: {users: [{name: core, ssh_authorized_keys_local: [" + wordFile + "]}]}",
		"systemd: {units: [{name: a.service, contents_local: " + wordFile + ", dropins: [{name: a.conf, contents_local: " + wordFile + "}]}]}",
		"systemd: {units: [{name: a.service, enabled: true, contents: \"[Service]\\nEnvironmentFile=" + wordFile + "\\nExecStart=/usr/bin/curl " + wordServer + "\\n[Install]\\nWantedBy=multi-user.target\\n\"}]}",
		"grub: {users: [{name: root, password_hash: '" + wordFile + "'}]}",
		"boot_device: {luks: {tang: [{url: '" + wordServer + "', thumbprint: abcdefghijklmnopqrstuvwxyz0}]}}",
		"variant: fcos\nversion: 1.5.0\nignition: {config: {replace: {source: '" + wordServer + "'}}}",
	}
}

// talosLures are for Talos' machinery: patches that are file names, documents with addresses, and files.
func talosLures() []string {
	document := func(kind, rest string) string { return "apiVersion: v1alpha1\nkind: " + kind + "\n" + rest }
	return []string{
		"@" + wordFile, wordFile, wordServer, wordServer + "/config.yaml",
		"- op: add\n  path: /machine/files\n  value: [{path: /var/a, content: '@" + wordFile + "'}]\n",
		"machine: {files: [{path: /var/a, op: create, permissions: 0o644, content: '@" + wordFile + "'}]}",
		"machine: {files: [{path: '" + wordFile + "', op: append, content: a}]}",
		"machine: {install: {image: '" + strings.TrimPrefix(wordServer, "http://") + "/installer:v1', disk: '" + wordFile + "'}}",
		"machine: {registries: {mirrors: {docker.io: {endpoints: ['" + wordServer + "']}}}}",
		"machine: {registries: {config: {a: {tls: {ca: '@" + wordFile + "', clientIdentity: {crt: " + wordFile + ", key: " + wordFile + "}}}}}}",
		"machine: {time: {servers: ['" + wordServer + "']}, env: {http_proxy: '" + wordServer + "', https_proxy: '" + wordServer + "'}}",
		"machine: {logging: {destinations: [{endpoint: '" + wordServer + "', format: json_lines}]}}",
		"machine: {systemDiskEncryption: {ephemeral: {provider: luks2, keys: [{slot: 0, kms: {endpoint: '" + wordServer + "'}}]}}}",
		"machine: {pods: [{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: '" + wordServer + "'}]}}]}",
		"machine: {seccompProfiles: [{name: a.json, value: {defaultAction: '" + wordFile + "'}}]}",
		"machine: {udev: {rules: ['SUBSYSTEM==\"drm\", RUN+=\"/usr/bin/curl " + wordServer + "\"']}}",
		"cluster: {extraManifests: ['" + wordServer + "/manifest.yaml', '" + wordFile + "', 'file://" + wordFile + "']}\n",
		"cluster: {extraManifestHeaders: {a: b}, inlineManifests: [{name: a, contents: '@" + wordFile + "'}]}",
		"cluster: {network: {cni: {name: custom, urls: ['" + wordServer + "/cni.yaml']}}}",
		"cluster: {externalCloudProvider: {enabled: true, manifests: ['" + wordServer + "/ccm.yaml']}}",
		"cluster: {discovery: {enabled: true, registries: {service: {endpoint: '" + wordServer + "'}}}}",
		"cluster: {aescbcEncryptionSecret: '" + wordFile + "', ca: {crt: '" + wordFile + "', key: '" + wordFile + "'}}",
		document("SideroLinkConfig", "apiUrl: "+wordServer+"/\n"),
		document("EventSinkConfig", "endpoint: 127.0.0.1:8080\n"),
		document("KmsgLogConfig", "name: a\nurl: "+strings.Replace(wordServer, "http", "tcp", 1)+":9\n"),
		document("TrustedRootsConfig", "name: a\ncertificates: '@"+wordFile+"'\n"),
		document("TrustedRootsConfig", "name: a\ncertificates: "+wordFile+"\n"),
		document("ExtensionServiceConfig", "name: a\nconfigFiles: [{content: '@"+wordFile+"', mountPath: "+wordFile+"}]\nenvironment: [a="+wordServer+"]\n"),
		document("VolumeConfig", "name: EPHEMERAL\nencryption: {provider: luks2, keys: [{slot: 0, kms: {endpoint: '"+wordServer+"'}}]}\n"),
		document("RegistryMirrorConfig", "name: docker.io\nendpoints: [{url: '"+wordServer+"'}]\n"),
		document("RegistryTLSConfig", "name: a\nca: '@"+wordFile+"'\n"),
		document("EnvironmentConfig", "variables: {HTTP_PROXY: '"+wordServer+"'}\n"),
		document("EtcFileConfig", "name: a\ncontents: '@"+wordFile+"'\n"),
		document("TimeSyncConfig", "ntp: {servers: ['"+wordServer+"']}\n"),
	}
}

// kairosLures are for Kairos and yip. Their own libraries take a text that begins with http for an address, and any other for
// the name of a file before they take it for a configuration.
func kairosLures() []string {
	return []string{
		wordServer, wordServer + "/config.yaml", wordFile, "file://" + wordFile,
		"#cloud-config\nconfig_url: " + wordServer + "\n",
		"#cloud-config\nconfig_url: " + wordFile + "\n",
		"#include " + wordServer + "\n",
		"users: [{name: a, ssh_authorized_keys: ['" + wordServer + "/keys', 'github:canary', '" + wordFile + "']}]\n",
		"users: [{name: a}]\nssh_authorized_keys: ['" + wordServer + "/keys']\n",
		"write_files: [{path: /etc/a, content: '@" + wordFile + "'}, {path: /etc/b, content: '" + wordServer + "', encoding: b64}]\n",
		"write_files: [{path: /etc/a, source: {uri: '" + wordServer + "'}}]\n",
		"runcmd: ['curl " + wordServer + "', 'cat " + wordFile + "']\n",
		"bundles: [{targets: ['run://" + strings.TrimPrefix(wordServer, "http://") + "/a:latest', 'container://" + wordFile + "']}]\n",
		"bundles: [{targets: ['run://" + wordFile + "'], local_file: true, repository: '" + wordServer + "'}]\n",
		"stages: {boot: [{downloads: [{url: '" + wordServer + "', path: /opt/a}]}]}\n",
		"stages: {boot: [{git: {url: '" + wordServer + "', path: /opt/a}}]}\n",
		"stages: {boot: [{git: {url: '" + wordFolder + "', path: /opt/a, auth: {insecure: true}}}]}\n",
		"stages: {boot: [{unpack_images: [{source: '" + strings.TrimPrefix(wordServer, "http://") + "/a', target: /opt/a}]}]}\n",
		"stages: {boot: [{files: [{path: /etc/a, content: '@" + wordFile + "'}, {path: " + wordFile + ", content: a}]}]}\n",
		"stages: {boot: [{files: [{path: /etc/a, content: '{{ readFile \"" + wordFile + "\" }}'}]}]}\n",
		"stages: {boot: [{commands: ['{{ env \"HOME\" }}', '{{ getHostByName \"canary.invalid\" }}']}]}\n",
		"stages: {boot: [{datasource: {providers: [cdrom, file], path: " + wordFolder + "}}]}\n",
		"stages: {boot: [{environment_file: " + wordFile + ", environment: {a: '" + wordServer + "'}}]}\n",
		"stages: {boot: [{include: ['" + wordServer + "', '" + wordFile + "']}]}\n",
		"stages: {boot: [{timesyncd: {NTP: '" + wordServer + "'}, dns: {nameservers: ['" + wordServer + "'], path: " + wordFile + "}}]}\n",
		"stages: {boot: [{systemctl: {overrides: [{service: a, content: '@" + wordFile + "'}]}}]}\n",
		"install: {image: '" + wordServer + "', bundles: [{targets: ['" + wordFile + "']}]}\n",
		"k3s: {args: ['--config=" + wordFile + "']}\n",
		"env: [http_proxy=" + wordServer + "]\nrepositories: [{url: '" + wordServer + "'}]\n",
	}
}

// cloudInitLures are for cloud-init, whose user data may be a list of addresses, a template or a script.
func cloudInitLures() []string {
	return []string{
		wordServer, wordFile,
		"#include " + wordServer + "\n",
		"#include\n" + wordServer + "\nfile://" + wordFile + "\n",
		"#include-once\n" + wordServer + "\n",
		"#cloud-config-url " + wordServer + "\n",
		"#cloud-config-archive\n- {type: text/x-include-url, content: '" + wordServer + "'}\n",
		"## template: jinja\n#cloud-config\ntimezone: {% include '" + wordFile + "' %}\n",
		"#!/bin/sh\ncurl " + wordServer + "\n", "#cloud-boothook\ncat " + wordFile + "\n", "#upstart-job\n", "#part-handler\n",
		"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: text/x-include-url\n\n" + wordServer + "\n--a--\n",
		"users: [{name: a, ssh_import_id: [gh:canary], ssh_authorized_keys: ['" + wordServer + "']}]\n",
		"users: [{name: a, snapuser: a@canary.invalid, homedir: " + wordFolder + ", gecos: '@" + wordFile + "'}]\n",
		"write_files: [{path: /etc/a, source: {uri: '" + wordServer + "'}}]\n",
		"write_files: [{path: /etc/a, source: {uri: 'file://" + wordFile + "'}, content: '@" + wordFile + "'}]\n",
		"apt: {sources: {a: {source: 'deb " + wordServer + " a main', keyid: a, keyserver: '" + wordServer + "'}}, proxy: '" + wordServer + "'}\n",
		"yum_repos: {a: {baseurl: '" + wordServer + "'}}\n",
		"ca_certs: {trusted: ['@" + wordFile + "']}\n",
		"ntp: {servers: ['" + wordServer + "'], config: {template: '@" + wordFile + "'}}\n",
		"phone_home: {url: '" + wordServer + "'}\n", "puppet: {install: true, conf_file: " + wordFile + "}\n", "chef: {server_url: '" + wordServer + "'}\n",
		"ansible: {pull: {url: '" + wordServer + "', playbook_name: a.yml}}\n", "swap: {filename: " + wordFile + ", size: 1}\n",
		"mounts: [['" + wordServer + "', /mnt], ['" + wordFile + "', /srv], [/dev/vdb, '" + wordFolder + "']]\n",
		"disk_setup: {'" + wordFile + "': {table_type: gpt, layout: true}}\nfs_setup: [{device: '" + wordFile + "', filesystem: ext4, label: a}]\n",
		"timezone: " + wordFile + "\nlocale: ../../../.." + wordFile + "\n",
		"growpart: {mode: auto, devices: ['" + wordFile + "', '" + wordFolder + "']}\n",
		"vendor_data: {enabled: true}\ndatasource: {NoCloud: {seedfrom: '" + wordServer + "'}}\n", "merge_how: '" + wordFile + "'\n",
	}
}

// bottlerocketLures are for Bottlerocket's settings.
func bottlerocketLures() []string {
	return []string{
		wordServer, wordFile, "include = \"" + wordFile + "\"\n",
		"[settings.updates]\nmetadata-base-url = \"" + wordServer + "\"\ntargets-base-url = \"" + wordServer + "\"\n",
		"[settings.host-containers.a]\nsource = \"" + strings.TrimPrefix(wordServer, "http://") + "/a\"\nenabled = true\nuser-data = \"" + wordFile + "\"\n",
		"[settings.bootstrap-containers.a]\nsource = \"" + wordServer + "\"\nmode = \"always\"\nuser-data = \"aGVsbG8=\"\n",
		"[settings.bootstrap-commands.a]\ncommands = [[\"apiclient\", \"get\", \"" + wordServer + "\"]]\nmode = \"always\"\n",
		"[settings.network]\nhttps-proxy = \"" + wordServer + "\"\nno-proxy = [\"" + wordFile + "\"]\n",
		"[settings.ntp]\ntime-servers = [\"" + wordServer + "\"]\n",
		"[settings.dns]\nname-servers = [\"127.0.0.1\"]\nsearch-list = [\"" + wordServer + "\"]\n",
		"[settings.pki.a]\ndata = \"" + wordFile + "\"\ntrusted = true\n",
		"[settings.pki.a]\ndata = \"@" + wordFile + "\"\ntrusted = true\n",
		"[[settings.container-registry.mirrors]]\nregistry = \"*\"\nendpoint = [\"" + wordServer + "\"]\n",
		"[[settings.container-registry.credentials]]\nregistry = \"" + wordServer + "\"\nauth = \"" + wordFile + "\"\n",
		"[settings.kubernetes]\nserver-certificate = \"" + wordFile + "\"\nserver-key = \"" + wordFile + "\"\n",
		"[settings.kubernetes]\napi-server = \"" + wordServer + "\"\ncluster-certificate = \"" + wordFile + "\"\n",
		"[settings.kubernetes.static-pods.a]\nmanifest = \"" + wordFile + "\"\nenabled = true\n",
		"[settings.kubernetes.credential-providers.a]\nenabled = true\nimage-patterns = [\"" + wordServer + "\"]\n",
		"[settings.metrics]\nmetrics-url = \"" + wordServer + "\"\nsend-metrics = true\n",
		"[settings.oci-hooks]\nlog4j-hotpatch-enabled = true\n",
		"[settings]\nmotd = \"@" + wordFile + "\"\n", "[settings]\nmotd = \"" + wordServer + "\"\n",
		"[settings.kernel.modules.\"" + wordFile + "\"]\nallowed = true\n", "[settings.kernel.sysctl]\n\"" + wordFile + "\" = \"1\"\n",
	}
}

// portableLures are for settings that are one word.
func portableLures() []string {
	return []string{
		wordServer, wordServer + "/a", wordFile, "file://" + wordFile, "@" + wordFile, "../../../.." + wordFile, "localhost", "https://metadata.invalid/latest",
	}
}

func setSysext(spec *bootstrapv1.IngotConfigSpec, text string) {
	spec.Ignition.Sysexts = []bootstrapv1.Sysext{{Name: "kubernetes", URL: text, SHA256: strings.Repeat("0f", 32)}}
}

// setAddresses writes a text where portable settings name what a machine fetches from. Of the registries of k0s nothing is
// rendered.
func setAddresses(spec *bootstrapv1.IngotConfigSpec, text string) {
	spec.Proxy = bootstrapv1.ProxySettings{HTTPSProxy: text} // Bottlerocket knows no other
	if spec.Kairos.Distribution != bootstrapv1.KairosDistributionK0s {
		spec.Registries = []bootstrapv1.Registry{{Host: "docker.io", Mirrors: []bootstrapv1.RegistryMirror{{URL: text}}}}
	}
}

// setWords writes a text where portable settings take a word.
func setWords(spec *bootstrapv1.IngotConfigSpec, text string) {
	spec.NTP.Servers = []string{text}
	spec.Node.Annotations = map[string]bootstrapv1.AnnotationValue{"example.com/a": bootstrapv1.AnnotationValue(text)}
}

// setFile writes a text into a file of the machine.
func setFile(spec *bootstrapv1.IngotConfigSpec, text string) {
	spec.Files = []bootstrapv1.File{{Path: "/etc/opt/a", Content: &text}}
}
