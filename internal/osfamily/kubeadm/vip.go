// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

const (
	vipInterfaceScript = "/etc/ingot/vip-interface"
	vipCheckScript     = "/etc/ingot/vip-check"
	vipInterfaceFile   = "/run/ingot/vip-interface.conf"
	// etcdPort is where the API server finds the node's member of etcd.
	etcdPort = 2379
)

func wantsVIP(in osfamily.Input) bool {
	return isControlPlane(in.Role) && in.Config.ControlPlane.VIP.VirtualRouterID != 0
}

// addVIP makes keepalived hold the cluster's endpoint address on one of the control plane nodes whose API server and
// member of etcd listen. A node takes the address only after its own API server is up, so a joining node never draws traffic to
// itself, and kubeadm never mistakes the address for the node's own.
func addVIP(node *Node, in osfamily.Input) {
	vip := in.Config.ControlPlane.VIP
	include, name := "", vip.Interface
	unit := Unit{Name: "keepalived.service", Enabled: true}
	if vip.Interface == "" {
		include, name = "include "+vipInterfaceFile+"\n", "$INTERFACE"
		node.Files = append(node.Files, File{Path: vipInterfaceScript, Mode: 0o755, Data: []byte(interfaceScript)})
		unit.Dropins = map[string]string{"10-ingot.conf": interfaceDropin}
	}
	node.Files = append(node.Files,
		File{Path: vipCheckScript, Mode: 0o755, Data: []byte(checkScript(in.Cluster.EndpointPort))},
		File{
			Path: "/etc/keepalived/keepalived.conf",
			Mode: 0o644,
			Data: fmt.Appendf(nil, keepalivedConf, include, vipCheckScript, name, vip.VirtualRouterID, in.Cluster.EndpointHost),
		})
	node.Units = append(node.Units, unit)
}

// keepalivedConf gives every node the same priority and never takes the address back: it moves only when it must.
const keepalivedConf = `global_defs {
  enable_script_security
  script_user root
}
%svrrp_script apiserver {
  script "%s"
  interval 2
  timeout 5
  fall 2
  rise 1
  init_fail
}
vrrp_instance ingot {
  state BACKUP
  nopreempt
  interface %s
  virtual_router_id %d
  priority 100
  advert_int 1
  garp_master_refresh 10
  virtual_ipaddress {
    %s/32
  }
  track_script {
    apiserver
  }
}
`

// checkScript says whether something listens on the ports of the API server and of etcd. It asks the kernel, because an
// image need not have an HTTP client. A member that is removed from its cluster ends at once, and the API server beside it
// listens for minutes, until the kubelet has asked it often enough whether it works.
func checkScript(port int32) string {
	return fmt.Sprintf(`#!/bin/sh
# Succeeds while the API server of this node, and the member of etcd that it asks, listen.
for port in %04X %04X; do
    grep -qsE "^ *[0-9]+: [0-9A-F]+:$port [0-9A-F]+:0000 0A " /proc/net/tcp /proc/net/tcp6 || exit 1
done
`, port, etcdPort)
}

const interfaceDropin = `[Unit]
Wants=network-online.target
After=network-online.target

[Service]
ExecStartPre=` + vipInterfaceScript + `
Restart=on-failure
RestartSec=5
`

// interfaceScript needs nothing but a shell and the kernel. It waits a minute, since a route may come after
// network-online.target.
const interfaceScript = `#!/bin/sh
# Tells keepalived which interface has the IPv4 default route; among several the one with the lowest metric.
set -eu
mkdir -p /run/ingot
tries=0
while [ "$tries" -lt 60 ]; do
    best= lowest=
    while read -r name destination _ _ _ _ metric mask _; do
        [ "$destination/$mask" = 00000000/00000000 ] || continue
        if [ -z "$best" ] || [ "$metric" -lt "$lowest" ]; then
            best=$name lowest=$metric
        fi
    done </proc/net/route
    if [ -n "$best" ]; then
        echo "\$INTERFACE=$best" >` + vipInterfaceFile + `
        exit 0
    fi
    tries=$((tries + 1))
    sleep 1
done
echo "no interface has an IPv4 default route: set spec.controlPlane.vip.interface" >&2
exit 1
`
