// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	machinery "github.com/siderolabs/talos/pkg/machinery/config"
	"github.com/siderolabs/talos/pkg/machinery/config/config"
	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
	"github.com/siderolabs/talos/pkg/machinery/config/configpatcher"
	"github.com/siderolabs/talos/pkg/machinery/config/container"
	"github.com/siderolabs/talos/pkg/machinery/config/encoder"
	"go.yaml.in/yaml/v3"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// patchesPath is where the user writes patches.
const patchesPath = "spec.talos.patches"

// applyPatches applies the user's patches to what Ingot wrote, one after another, and returns what the machine reads. Each is
// judged by what it changed, whatever words it used: machinery knows several for the same.
func applyPatches(report *osfamily.Report, in osfamily.Input, r release, documents []config.Document) []byte {
	current, data, warnings, err := begin(documents)
	if err != nil {
		report.Errorf("spec", "the machine would refuse its configuration: %s", hide(in, err))
		return nil
	}
	if in.Config.Talos == nil || len(in.Config.Talos.Patches) == 0 {
		return data
	}
	before, err := read(data)
	if err != nil {
		report.Errorf("spec", "cannot be read again: %s", hide(in, err))
		return nil
	}
	for i, text := range in.Config.Talos.Patches {
		path := fmt.Sprintf("%s[%d]", patchesPath, i)
		current, data, err = patch(current, r, text)
		if err != nil {
			report.Errorf(path, "%s", hide(in, err))
			return nil
		}
		after, err := read(data)
		if err != nil {
			report.Errorf(path, "leaves what cannot be read again: %s", hide(in, err))
			return nil
		}
		judge(report, in, path, before, after)
		before = after
	}
	found, err := validate(current)
	if err != nil {
		report.Errorf(patchesPath, "the machine would refuse what they make of its configuration: %s", hide(in, err))
	}
	for _, warning := range found {
		if !slices.Contains(warnings, warning) {
			report.Warnf(patchesPath, "%s", warning)
		}
	}
	return data
}

// begin writes, reads again and validates what Ingot wrote. The warnings are about documents that older releases need.
func begin(documents []config.Document) (current machinery.Provider, data []byte, warnings []string, err error) {
	first, err := container.New(documents...)
	if err != nil {
		return nil, nil, nil, err
	}
	if current, data, err = again(first); err != nil {
		return nil, nil, nil, err
	}
	warnings, err = validate(current)
	return current, data, warnings, err
}

// again writes a configuration as the machine gets it, and reads it as the machine does.
func again(provider machinery.Provider) (machinery.Provider, []byte, error) {
	data, err := provider.EncodeBytes(encoder.WithComments(encoder.CommentsDisabled))
	if err != nil {
		return nil, nil, err
	}
	read, err := configloader.NewFromBytes(data)
	return read, data, err
}

// patch applies one patch. The machinery is not made for what anybody may write: where it gives up, the patch is at fault.
func patch(current machinery.Provider, r release, text string) (patched machinery.Provider, data []byte, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("is not a patch that Talos' machinery can apply")
		}
	}()
	loaded, err := configloader.NewFromBytes([]byte(text), configloader.WithAllowPatchDelete(), configloader.WithNoValidation())
	if err != nil {
		return nil, nil, fmt.Errorf("is not a strategic merge patch of Talos: %w", err)
	}
	for _, document := range loaded.Documents() {
		if !r.knows(document.Kind()) {
			return nil, nil, fmt.Errorf("%s came with a later release of Talos than the machine's, which is %s: write it in that release's words", document.Kind(), r)
		}
	}
	if err := r.checkFields(text); err != nil {
		return nil, nil, err
	}
	merged, err := configpatcher.StrategicMerge(current, configpatcher.NewStrategicMergePatch(loaded))
	if err != nil {
		return nil, nil, fmt.Errorf("cannot be applied: %w", err)
	}
	if patched, data, err = again(merged); err != nil {
		return nil, nil, fmt.Errorf("leaves what the machine cannot read: %w", err)
	}
	if holdsSecret(loaded) {
		return nil, nil, errors.New("holds a secret, which whoever may read the config can read: replace that secret, and use registries for the logins of registries")
	}
	return patched, data, nil
}

// holdsSecret asks the machinery, which knows where its secrets are.
func holdsSecret(loaded machinery.Provider) bool {
	open, err := loaded.EncodeBytes(encoder.WithComments(encoder.CommentsDisabled))
	if err != nil {
		return true
	}
	hidden, err := loaded.RedactSecrets("hidden").EncodeBytes(encoder.WithComments(encoder.CommentsDisabled))
	return err != nil || !bytes.Equal(open, hidden)
}

// mode is how Talos runs from an image that is on the disk already.
type mode struct{}

// String implements validation.RuntimeMode.
func (mode) String() string { return "cloud" }

// RequiresInstall implements validation.RuntimeMode.
func (mode) RequiresInstall() bool { return false }

// InContainer implements validation.RuntimeMode.
func (mode) InContainer() bool { return false }

func validate(provider machinery.Provider) (warnings []string, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("cannot be judged by Talos' machinery")
		}
	}()
	return provider.ValidateAsClient(mode{})
}

// Validate reads a configuration as strictly as Talos does. Tests and diagnostics use it.
func Validate(data []byte) error {
	provider, err := configloader.NewFromBytes(data)
	if err != nil {
		return err
	}
	_, err = validate(provider)
	return err
}

// tree are the documents of a configuration by kind and name. The one without a kind is called "".
type tree map[string]map[string]any

func read(data []byte) (tree, error) {
	all := tree{}
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		document := map[string]any{}
		switch err := decoder.Decode(&document); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		kind, _ := document["kind"].(string)
		if name, ok := document["name"].(string); ok && kind != "" {
			kind += "/" + name
		}
		all[kind] = document
	}
}

// of are the documents of a kind, by kind and name.
func (t tree) of(kind string) map[string]map[string]any {
	found := map[string]map[string]any{}
	for id, document := range t {
		if id == kind || strings.HasPrefix(id, kind+"/") && kind != "" {
			found[id] = document
		}
	}
	return found
}

// at is what stands at a path of a kind that has one document; nil where nothing does.
func (t tree) at(kind, path string) any {
	if path == "" {
		return t.of(kind)
	}
	var value any = t[kind]
	for part := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		value = object[part]
	}
	return value
}

// judge refuses a patch that changed what is Ingot's, or turned a guard rail off.
func judge(report *osfamily.Report, in osfamily.Input, path string, before, after tree) {
	for _, o := range append(owned(), encryption(in.Config.DiskEncryption.Key)...) {
		if !reflect.DeepEqual(before.at(o.kind, o.path), after.at(o.kind, o.path)) {
			report.Errorf(path, "%s %s", o, o.why)
		}
	}
	for _, o := range images() {
		image, _ := after.at(o.kind, o.path).(string)
		if image != before.at(o.kind, o.path) && image != "" && !strings.Contains(image, ":"+in.Cluster.KubernetesVersion) {
			report.Errorf(path, "%s is of another version than Machine.spec.version, which is %s: change that", o, in.Cluster.KubernetesVersion)
		}
	}
	if in.Config.SelfUpdate == bootstrapv1.SelfUpdateAllowed {
		return
	}
	for _, o := range guardRails() {
		if !reflect.DeepEqual(before.at(o.kind, o.path), after.at(o.kind, o.path)) {
			report.Errorf(path, "%s %s; if it is meant to, set spec.selfUpdate: Allowed", o, o.why)
		}
	}
	for id, document := range after.of("ContainerConfig") {
		image, _ := document["image"].(string)
		if !isPinned(image) && !reflect.DeepEqual(before[id], document) {
			report.Errorf(path, "%s.image %q may be another one after each restart: write it with its digest, as NAME@sha256:DIGEST; if it is meant to, set spec.selfUpdate: Allowed", id, image)
		}
	}
}

// isPinned is whether the name of an image has a digest. The machinery has judged the rest of it.
func isPinned(image string) bool {
	_, digest, _ := strings.Cut(image, "@sha256:")
	return len(digest) == hex.EncodedLen(sha256.Size)
}
