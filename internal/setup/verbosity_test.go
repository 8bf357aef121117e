// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package setup_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-base/logs"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/setup"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

const (
	// managerVariable makes this binary a manager. Its value is a verbosity that no option and no endpoint may set, or empty.
	managerVariable = "INGOT_TEST_MANAGER"
	// secretToken is what the log is searched for.
	secretToken = "hunter2-in-a-kubeconfig"
	patience    = 2 * time.Minute
)

func TestMain(m *testing.M) {
	if verbosity, child := os.LookupEnv(managerVariable); child {
		if err := manage(verbosity); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// manage is main of the manager.
func manage(beyond string) error {
	options, err := parse(os.Args[1:]...)
	if err != nil {
		return err
	}
	ctx := ctrl.SetupSignalHandler()
	if beyond != "" {
		time.AfterFunc(time.Second, func() { _, _ = logs.GlogSetter(beyond) })
	}
	return setup.Run(ctx, options)
}

func parse(args ...string) (*setup.Options, error) {
	options := &setup.Options{}
	flags := pflag.NewFlagSet("manager", pflag.ContinueOnError)
	options.AddFlags(flags)
	return options, flags.Parse(args)
}

// TestVerbosityOption: who asks for Secrets in the log is told so, before anything starts.
func TestVerbosityOption(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says string
	}{
		{args: nil},
		{args: []string{"--v=0"}},
		{args: []string{"--v", "7"}},
		{args: []string{"-v=4"}},
		{args: []string{"--v=8"}, says: "--v: verbosity 8 would write the bodies of requests and answers into the log, and with them Secrets: use at most 7"},
		{args: []string{"--v=10"}, says: "use at most 7"},
		{args: []string{"--v=-1"}, says: `--v: verbosity "-1" is not a number between 0 and 7`},
	} {
		options, err := parse(c.args...)
		if err != nil {
			t.Fatal(err)
		}
		err = options.Validate()
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.args, err)
		}
	}
}

// TestVerbosityEndpoint raises the verbosity of a manager by Cluster API's diagnostics endpoint, as somebody who may, and has
// it read a Secret. Who may do so need not be somebody who may read Secrets, and nor need be those who read the log.
func TestVerbosityEndpoint(t *testing.T) {
	t.Parallel()
	w := newPlane(t)
	capped, beyond := w.startManager("capped", ""), w.startManager("beyond", "10")

	if status, said := capped.put("", "7"); status != http.StatusUnauthorized {
		t.Errorf("who nobody knows may set the verbosity: %d %s", status, said)
	}
	for _, verbosity := range []string{"8", "9", "10", "2147483647", "4294967295", "-1", " 7", "0x8", "", strings.Repeat("1", 1000)} {
		if status, said := capped.put(w.token, verbosity); status != http.StatusBadRequest || !strings.Contains(said, "verbosity") && len(verbosity) < 64 {
			t.Errorf("verbosity %.20q: %d %s", verbosity, status, said)
		}
	}
	if status, said := capped.put(w.token, "7"); status != http.StatusOK {
		t.Fatalf("verbosity 7: %d %s", status, said)
	}

	w.connectCluster()
	const asked = "secrets/" + builder.ClusterName + "-kubeconfig"
	if log := capped.await(asked); strings.Contains(log, secretToken) {
		t.Errorf("the log holds a Secret: %.2000s", log)
	}
	// With more, the same manager writes it: it is the cap that keeps it out, and this search would find it.
	if log := beyond.await(secretToken); !strings.Contains(log, secretToken) {
		t.Error("at verbosity 10 the log holds no Secret, so this test searches for nothing")
	}
	if log := capped.log(); strings.Contains(log, secretToken) {
		t.Errorf("the log holds a Secret by now: %.2000s", log)
	}
}

// plane is a management cluster, with somebody who may set the verbosity of managers.
type plane struct {
	*testing.T
	client.Client
	plane *managementplane.Plane
	token string
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	running, stop, err := builder.StartAPIServer(t.Context())
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := builder.NewClient(running.Config)
	if err != nil {
		t.Fatal(err)
	}
	w := &plane{T: t, Client: c, plane: running}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "operator"}}
	w.create(account)
	w.create(&rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "operator"},
		Rules:      []rbacv1.PolicyRule{{NonResourceURLs: []string{"/debug/flags/v"}, Verbs: []string{"put"}}},
	})
	w.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "operator"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "operator"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: metav1.NamespaceDefault, Name: "operator"}},
	})
	request := &authenticationv1.TokenRequest{}
	if err := c.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	w.token = request.Status.Token
	return w
}

func (w *plane) create(object client.Object) {
	w.Helper()
	if err := w.Create(w.Context(), object); err != nil {
		w.Fatal(err)
	}
}

// connectCluster makes a Cluster whose kubeconfig every manager reads to reach it.
func (w *plane) connectCluster() {
	w.Helper()
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: builder.ClusterName + "-kubeconfig"},
		Data: map[string][]byte{"value": []byte(`{"users":[{"name":"a","user":{"token":"` + secretToken + `"}}],"clusters":[{"name":"a",` +
			`"cluster":{"server":"https://127.0.0.1:1"}}],"contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}],"current-context":"a"}`)},
	})
	cluster := builder.Cluster(func(c *clusterv1.Cluster) { c.Namespace = metav1.NamespaceDefault })
	w.create(cluster)
	cluster.Status.Initialization.InfrastructureProvisioned = new(true)
	cluster.Status.Initialization.ControlPlaneInitialized = new(true)
	if err := w.Status().Update(w.Context(), cluster); err != nil {
		w.Fatal(err)
	}
}

// manager is a manager that runs as a process of its own.
type manager struct {
	*testing.T
	file, url string
}

func (w *plane) startManager(name, beyond string) *manager {
	w.Helper()
	port, err := w.plane.Port(w.Context(), name)
	if err != nil {
		w.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	m := &manager{T: w.T, file: filepath.Join(w.TempDir(), "log"), url: "https://" + address + "/debug/flags/v"}
	running, err := process.StartChild(w.Context(), process.Spec{
		Name: name, Path: os.Args[0], Args: []string{"--role=bootstrap", "--v=6", "--health-addr=0", "--diagnostics-address=" + address},
		Env: append(os.Environ(), managerVariable+"="+beyond, "KUBECONFIG="+w.plane.Kubeconfig),
		Log: m.file, PIDFile: m.file + ".pid",
	})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := running.Stop(context.WithoutCancel(w.Context()), 10*time.Second); err != nil {
			w.Error(err)
		}
	})
	return m
}

// put asks for a verbosity, and waits until the manager answers at all.
func (m *manager) put(token, verbosity string) (status int, said string) {
	m.Helper()
	// The certificate is one that nobody has signed, as where no other is given.
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		request, err := http.NewRequestWithContext(m.Context(), http.MethodPut, m.url, strings.NewReader(verbosity))
		if err != nil {
			m.Fatal(err)
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := insecure.Do(request)
		if err != nil && time.Since(begin) < patience {
			continue
		}
		if err != nil {
			m.Fatalf("%v\n%s", err, process.Tail(m.file, 20))
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || response.Body.Close() != nil {
			m.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
}

// await waits until a text is in the log.
func (m *manager) await(text string) string {
	m.Helper()
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(100 * time.Millisecond) {
		if log := m.log(); strings.Contains(log, text) {
			return log
		}
	}
	m.Fatalf("the log has no %q:\n%s", text, process.Tail(m.file, 20))
	return ""
}

// log is what was logged, and then once more what is in it as a dump of bytes.
func (m *manager) log() string {
	m.Helper()
	content, err := os.ReadFile(m.file)
	if err != nil {
		m.Fatal(err)
	}
	var dumped strings.Builder
	for _, line := range regexp.MustCompile(`(?m)^\s*[0-9a-f]{8}  .*\|(.{1,16})\|$`).FindAllSubmatch(content, -1) {
		dumped.Write(line[1])
	}
	return string(content) + dumped.String()
}
