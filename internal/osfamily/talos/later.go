// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// since is a kind of documents, or a field of an older kind, that came with a release.
type since struct {
	minor int
	// kind is the kind of the document; empty for the large one that has none.
	kind string
	// field is its path: an entry of a list is no step, and every key of a map is called *. It is empty for the kind itself.
	field string
}

// String names it as the user would write it.
func (s since) String() string {
	return place{kind: s.kind, path: s.field}.String()
}

// knows is whether the image reads documents of a kind. It comes up with none of them where it does not know one.
func (r release) knows(kind string) bool {
	return !slices.ContainsFunc(newer(), func(s since) bool { return r.image.Minor < s.minor && s.kind == kind && s.field == "" })
}

// checkFields refuses fields that the image does not know. Our machinery is newer than some images, and reads them.
func (r release) checkFields(text string) error {
	for decoder := yaml.NewDecoder(bytes.NewReader([]byte(text))); ; {
		document := map[string]any{}
		switch err := decoder.Decode(&document); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		kind, _ := document["kind"].(string)
		for _, s := range newer() {
			if r.image.Minor < s.minor && s.kind == kind && s.field != "" && holds(document, strings.Split(s.field, ".")) {
				return fmt.Errorf("%s came with Talos 1.%d, and the machine runs %s, which does not come up with what it does not know: remove it, or use a newer image", s, s.minor, r)
			}
		}
	}
}

// holds is whether there is anything at a path.
func holds(value any, path []string) bool {
	if len(path) == 0 {
		return true
	}
	switch value := value.(type) {
	case []any:
		return slices.ContainsFunc(value, func(entry any) bool { return holds(entry, path) })
	case map[string]any:
		for name, entry := range value {
			if (path[0] == name || path[0] == "*") && holds(entry, path[1:]) {
				return true
			}
		}
	}
	return false
}
