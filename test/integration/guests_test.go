// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package integration_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// guests plays what boots in the instances of the platform: Ignition, kubeadm and the kubelet, as far as others can see
// them. A guest knows nothing but the bootstrap data that it was given.
type guests struct {
	platform *fake.Platform
	workload client.Client
	// osImages maps the digest of an image to what its nodes report.
	osImages map[string]string

	mu     sync.Mutex
	held   bool
	booted map[string]int // uuid -> number of its address
	last   error
}

// boot looks for instances that run and have not booted, until the context ends.
func (g *guests) boot(ctx context.Context) {
	g.booted = map[string]int{}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.bootAll(ctx)
		}
	}
}

func (g *guests) bootAll(ctx context.Context) {
	for _, uuid := range g.platform.Instances() {
		instance, exists := g.platform.Instance(uuid)
		g.mu.Lock()
		_, done := g.booted[uuid]
		held := g.held
		g.mu.Unlock()
		if !exists || !instance.Running || done || held {
			continue
		}
		err := g.bootOne(ctx, uuid, instance)
		g.mu.Lock()
		g.last = err
		if err == nil {
			g.booted[uuid] = len(g.booted)
		}
		g.mu.Unlock()
	}
}

// hold keeps guests from booting, or lets them.
func (g *guests) hold(held bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = held
}

// trouble is what the last boot failed with. A guest that cannot join tries again.
func (g *guests) trouble() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

// kubeadmDocument is what a guest reads of kubeadm's configuration.
type kubeadmDocument struct {
	Kind             string `json:"kind"`
	NodeRegistration struct {
		Name             string `json:"name"`
		KubeletExtraArgs []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"kubeletExtraArgs"`
	} `json:"nodeRegistration"`
	Discovery struct {
		BootstrapToken struct {
			Token string `json:"token"`
		} `json:"bootstrapToken"`
	} `json:"discovery"`
}

func (g *guests) bootOne(ctx context.Context, uuid string, instance fake.Instance) error {
	return g.join(ctx, uuid, instance.Request.Bootstrap.Data, g.osImages[instance.Request.ImageSHA256], func() error {
		g.platform.SetAddresses(uuid, fmt.Sprintf("192.0.2.%d", 20+len(g.booted)))
		return nil
	})
}

// join boots from bootstrap data: the guest takes an address, and does what kubeadm and the kubelet are told.
func (g *guests) join(ctx context.Context, uuid string, data []byte, osImage string, takeAddress func() error) error {
	config, err := ignition.Decode(data)
	if err != nil {
		return err
	}
	documents, err := readKubeadm(config)
	if err != nil {
		return err
	}
	if err := takeAddress(); err != nil {
		return err
	}
	document := documents[0]
	switch document.Kind {
	case "InitConfiguration":
		err = g.initialize(ctx)
	case "JoinConfiguration":
		err = g.checkToken(ctx, document.Discovery.BootstrapToken.Token)
	default:
		err = fmt.Errorf("kubeadm's configuration begins with %q", document.Kind)
	}
	if err != nil {
		return err
	}
	return g.register(ctx, uuid, document, osImage)
}

func readKubeadm(config ignition.Config) ([]kubeadmDocument, error) {
	for _, file := range config.Files {
		if file.Path != "/etc/ingot/kubeadm.yaml" {
			continue
		}
		var documents []kubeadmDocument
		decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(file.Data), 4096)
		for {
			var document kubeadmDocument
			err := decoder.Decode(&document)
			if errors.Is(err, io.EOF) {
				return documents, nil
			}
			if err != nil {
				return nil, err
			}
			documents = append(documents, document)
		}
	}
	return nil, errors.New("the bootstrap data holds no configuration of kubeadm")
}

// initialize leaves what kubeadm init leaves.
func (g *guests) initialize(ctx context.Context) error {
	record := builder.ClusterConfiguration()
	return client.IgnoreAlreadyExists(g.workload.Create(ctx, record))
}

// checkToken lets only those in whose token opens the door, as the API server does.
func (g *guests) checkToken(ctx context.Context, token string) error {
	id, secret, _ := strings.Cut(token, ".")
	lent := &corev1.Secret{}
	if err := g.workload.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: "bootstrap-token-" + id}, lent); err != nil {
		return fmt.Errorf("the token is not known to the cluster: %w", err)
	}
	if string(lent.Data["token-secret"]) != secret {
		return errors.New("the token is not the one that was lent")
	}
	return nil
}

// register makes the Node, as a kubelet does.
func (g *guests) register(ctx context.Context, uuid string, document kubeadmDocument, osImage string) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: document.NodeRegistration.Name}}
	for _, arg := range document.NodeRegistration.KubeletExtraArgs {
		if arg.Name == "provider-id" {
			node.Spec.ProviderID = arg.Value
		}
	}
	if document.Kind == "InitConfiguration" {
		node.Labels = map[string]string{"node-role.kubernetes.io/control-plane": ""}
	}
	if err := client.IgnoreAlreadyExists(g.workload.Create(ctx, node)); err != nil {
		return err
	}
	if err := g.workload.Get(ctx, client.ObjectKeyFromObject(node), node); err != nil {
		return err
	}
	node.Status.NodeInfo = corev1.NodeSystemInfo{
		SystemUUID: uuid, OSImage: osImage, KubeletVersion: builder.KubernetesVersion,
		OperatingSystem: "linux", Architecture: "amd64",
	}
	for kind, status := range map[corev1.NodeConditionType]corev1.ConditionStatus{
		corev1.NodeReady: corev1.ConditionTrue, corev1.NodeMemoryPressure: corev1.ConditionFalse,
		corev1.NodeDiskPressure: corev1.ConditionFalse, corev1.NodePIDPressure: corev1.ConditionFalse,
	} {
		node.Status.Conditions = append(node.Status.Conditions, corev1.NodeCondition{
			Type: kind, Status: status, Reason: "Played", LastTransitionTime: metav1.Now(), LastHeartbeatTime: metav1.Now(),
		})
	}
	if err := g.workload.Status().Update(ctx, node); err != nil || document.Kind != "InitConfiguration" {
		return err
	}
	for _, component := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"} {
		if err := g.run(ctx, node.Name, component); err != nil {
			return err
		}
	}
	return nil
}

// run mirrors a static Pod of a control plane, as the kubelet does, and has it be ready.
func (g *guests) run(ctx context.Context, node, component string) error {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceSystem, Name: component + "-" + node,
			Labels:      map[string]string{"tier": "control-plane", "component": component},
			Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "played"},
		},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: component, Image: "played"}}},
	}
	if err := client.IgnoreAlreadyExists(g.workload.Create(ctx, pod)); err != nil {
		return err
	}
	if err := g.workload.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
		return err
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	return g.workload.Status().Update(ctx, pod)
}
