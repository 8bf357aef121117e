// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import "strings"

// connectivity is a server on the control plane node, its Service, and a client on the worker that asks the server by
// its Service's name, and the API server by its name and at the VIP. The image is preloaded in our node image.
func connectivity(vip string) string {
	return strings.ReplaceAll(`
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: server}}
spec:
  nodeSelector: {node-role.kubernetes.io/control-plane: ""}
  tolerations: [{operator: Exists}]
  containers:
  - {name: probe, image: "ingot.local/probe:v1", imagePullPolicy: Never, args: [serve]}
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec:
  selector: {app: server}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: check, labels: {app: check}}
spec:
  restartPolicy: OnFailure
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms: [{matchExpressions: [{key: node-role.kubernetes.io/control-plane, operator: DoesNotExist}]}]
  containers:
  - name: probe
    image: ingot.local/probe:v1
    imagePullPolicy: Never
    args: [get, "http://server.default.svc.cluster.local/", "https://kubernetes.default.svc.cluster.local/livez", "https://VIP:6443/livez"]
`, "VIP", vip)
}

// readOnlyRoot tries to write to the root of the worker's VM.
const readOnlyRoot = `
apiVersion: v1
kind: Pod
metadata: {name: read-only-root}
spec:
  restartPolicy: Never
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms: [{matchExpressions: [{key: node-role.kubernetes.io/control-plane, operator: DoesNotExist}]}]
  volumes: [{name: root, hostPath: {path: /}}]
  containers:
  - name: probe
    image: ingot.local/probe:v1
    imagePullPolicy: Never
    args: [read-only, /host, /host/usr]
    securityContext: {privileged: true}
    volumeMounts: [{name: root, mountPath: /host}]
`
