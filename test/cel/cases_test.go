// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package cel_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
)

// suite is one file of testdata.
type suite struct {
	// Base is a valid object without a name.
	Base map[string]any `json:"base"`
	// Cases are asked one after another, each with an object of its own.
	Cases []testCase `json:"cases"`
}

// testCase is one question to the API server. Its name is the reason for the answer.
type testCase struct {
	Name string `json:"name"`
	// Create is merged into the base before the object is created (RFC 7396).
	Create map[string]any `json:"create"`
	// Update, when set, is merged into the object after it was created.
	Update map[string]any `json:"update"`
	// DryRun makes the update a dry run.
	DryRun bool `json:"dryRun"`
	// Refused is part of the message with which the last step is refused. Empty means that all steps are accepted.
	Refused string `json:"refused"`
	// Stored is what the accepted object holds, among other things.
	Stored map[string]any `json:"stored"`
}

// leastRefused is how many wrong specs of machines, their templates, endpoints and images must be refused at admission.
const leastRefused = 40

func TestAPI(t *testing.T) {
	c := newClient(t)
	refused := 0
	for file, suite := range readSuites(t) {
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			for i, testCase := range suite.Cases {
				t.Run(testCase.Name, func(t *testing.T) {
					testCase.run(t, c, suite.Base, fmt.Sprintf("case-%d", i))
				})
				if testCase.Refused != "" && ofMachines(file) {
					refused++
				}
			}
		})
	}
	t.Run("manifests of the documents", func(t *testing.T) { checkDocuments(t, c) })
	t.Logf("%d wrong specs of machines, their templates, endpoints and images were put to the API server to be refused", refused)
	if refused < leastRefused {
		t.Errorf("that is less than %d", leastRefused)
	}
}

// checkDocuments asks for what the pages of settings show.
func checkDocuments(t *testing.T, c client.Client) {
	t.Helper()
	page := string(read(t, filepath.Join(repo(t), "docs", "node-settings.md")))
	found := 0
	for _, block := range strings.Split(page, "```yaml\n")[1:] {
		manifest, _, _ := strings.Cut(block, "```\n")
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(manifest), &object.Object); err != nil {
			t.Fatal(err)
		}
		object.SetNamespace(metav1.NamespaceDefault)
		if err := c.Create(t.Context(), object); err != nil {
			t.Errorf("%s %s is refused: %v", object.GetKind(), object.GetName(), err)
		}
		found++
	}
	if found == 0 {
		t.Error("the page shows no manifest")
	}
}

// ofMachines is whether a suite is about what decides how a machine is made.
func ofMachines(file string) bool {
	return slices.Contains([]string{"ingotmachine.yaml", "ingotmachinetemplate.yaml", "platformendpoint.yaml", "nodeimage.yaml"}, file)
}

func (tc testCase) run(t *testing.T, c client.Client, base map[string]any, name string) {
	t.Helper()
	object := merge(t, base, tc.Create)
	object.SetName(name)
	if namespaced, err := c.IsObjectNamespaced(object); err != nil {
		t.Fatal(err)
	} else if namespaced {
		object.SetNamespace(metav1.NamespaceDefault)
	}
	err := c.Create(t.Context(), object)
	if tc.Update != nil {
		if err != nil {
			t.Fatalf("the object is refused before it is updated: %v", err)
		}
		err = tc.update(t, c, object)
	}
	tc.check(t, object, err)
}

func (tc testCase) update(t *testing.T, c client.Client, object *unstructured.Unstructured) error {
	t.Helper()
	patch, err := json.Marshal(tc.Update)
	if err != nil {
		t.Fatal(err)
	}
	var options []client.PatchOption
	if tc.DryRun {
		options = append(options, client.DryRunAll)
	}
	return c.Patch(t.Context(), object, client.RawPatch(types.MergePatchType, patch), options...)
}

func (tc testCase) check(t *testing.T, object *unstructured.Unstructured, err error) {
	t.Helper()
	switch {
	case tc.Refused == "" && err != nil:
		t.Fatalf("refused: %v", err)
	case tc.Refused != "" && err == nil:
		t.Fatalf("accepted, want it refused with %q", tc.Refused)
	case tc.Refused != "" && !strings.Contains(err.Error(), tc.Refused):
		t.Fatalf("refused with %q, want %q", err, tc.Refused)
	case tc.Refused != "" && !apierrors.IsInvalid(err) && !strings.Contains(tc.Refused, "unknown field"):
		t.Fatalf("refused, and not by a rule: %v", err) // a case with a slip of the pen proves nothing
	}
	if err != nil {
		t.Log(err) // what a person reads
	}
	if tc.Stored == nil {
		return
	}
	want := merge(t, object.Object, tc.Stored) // equal to the object itself when it holds all of Stored
	if diff := cmp.Diff(want.Object, object.Object); diff != "" {
		t.Errorf("stored object differs (-want +got):\n%s", diff)
	}
}

// TestEveryRuleRefusesSomething keeps rules honest: one that no case trips may as well not be there.
func TestEveryRuleRefusesSomething(t *testing.T) {
	var refusals []string
	for _, suite := range readSuites(t) {
		for _, testCase := range suite.Cases {
			if testCase.Refused != "" {
				refusals = append(refusals, testCase.Refused)
			}
		}
	}
	for _, crd := range readCRDs(t) {
		walk(schemaOf(crd), "", func(path string, schema node) {
			for _, rule := range schema.Rules {
				if !containsAny(rule.Message, refusals) {
					t.Errorf("%s%s: no case in testdata is refused with %q", crd.Name, path, rule.Message)
				}
			}
		})
	}
}

func containsAny(message string, parts []string) bool {
	for _, part := range parts {
		if strings.Contains(message, part) {
			return true
		}
	}
	return false
}

func newClient(t *testing.T) client.Client {
	t.Helper()
	plane, stop, err := managementplane.StartForTest(t.Context(), managementplane.Options{})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(repo(t), "config")
	crds := envtest.CRDInstallOptions{Paths: []string{filepath.Join(config, "crd", "bases")}, ErrorIfPathMissing: true}
	if _, err := envtest.InstallCRDs(plane.Config, crds); err != nil {
		t.Fatalf("installing CRDs: %v", err)
	}
	plain, err := client.New(plane.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := client.WithFieldValidation(plain, metav1.FieldValidationStrict)
	installPolicies(t, c, filepath.Join(config, "admission"))
	return c
}

// installPolicies installs the admission policies and waits until the API server enforces them.
func installPolicies(t *testing.T, c client.Client, folder string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "ingot*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no policies found in %s: %v", folder, err)
	}
	for _, file := range files {
		for document := range strings.SplitSeq(string(read(t, file)), "\n---\n") {
			object := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if err := c.Create(t.Context(), object); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
	}
	for _, kind := range []string{"ingotmachinetemplate", "ingotconfigtemplate"} {
		awaitPolicy(t, c, readSuites(t)[kind+".yaml"])
	}
	policies := &admissionv1.ValidatingAdmissionPolicyList{}
	if err := c.List(t.Context(), policies); err != nil {
		t.Fatal(err)
	}
	for _, policy := range policies.Items {
		if checking := policy.Status.TypeChecking; checking != nil && len(checking.ExpressionWarnings) > 0 {
			t.Errorf("policy %s does not fit its kind: %v", policy.Name, checking.ExpressionWarnings)
		}
	}
}

// awaitPolicy changes a throw-away template until that is refused: the API server takes up policies with a delay.
func awaitPolicy(t *testing.T, c client.Client, suite suite) {
	t.Helper()
	probe := merge(t, suite.Base, nil)
	probe.SetName("probe")
	probe.SetNamespace(metav1.NamespaceDefault)
	if err := c.Create(t.Context(), probe); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for i := 0; time.Now().Before(deadline); i++ {
		patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"labels":{"probe":"%d"}}}}}`, i)
		if err := c.Patch(t.Context(), probe, client.RawPatch(types.MergePatchType, []byte(patch))); apierrors.IsInvalid(err) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("the policy for %s is not enforced after a minute", probe.GetKind())
}

func readSuites(t *testing.T) map[string]suite {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	suites := map[string]suite{}
	for _, file := range files {
		var suite suite
		if err := yaml.UnmarshalStrict(read(t, file), &suite); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		suites[filepath.Base(file)] = suite
	}
	return suites
}

func repo(t *testing.T) string {
	t.Helper()
	root, err := components.FindRepo("")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// merge returns a copy of base with a merge patch applied.
func merge(t *testing.T, base, patch map[string]any) *unstructured.Unstructured {
	t.Helper()
	document := marshal(t, base)
	if patch != nil {
		var err error
		if document, err = jsonpatch.MergePatch(document, marshal(t, patch)); err != nil {
			t.Fatal(err)
		}
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(document); err != nil {
		t.Fatal(err)
	}
	return object
}

func marshal(t *testing.T, value any) []byte {
	t.Helper()
	document, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return document
}
