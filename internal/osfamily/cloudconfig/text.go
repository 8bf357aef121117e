// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudconfig

import (
	"fmt"
	"slices"
	"strings"
)

// FormProblem finds text of a user that is read as something else than cloud-config, or of which a part is never read.
// Further first lines may be named that mean cloud-config, too. Empty means that there is no problem.
func FormProblem(text string, headers ...string) string {
	first, _, _ := strings.Cut(text, "\n")
	first = strings.TrimSpace(first)
	// A comment has a blank behind its #, or says nothing. All else names a kind of user data.
	kind := strings.HasPrefix(first, "#") && len(first) > 1 && first[1] != ' ' || strings.Contains(first, "template:")
	if kind && !slices.Contains(append(headers, strings.TrimSpace(header)), first) {
		return fmt.Sprintf("begins with %q, and must be cloud-config", first)
	}
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "---") || strings.HasPrefix(line, "...") {
			return "must be one document, without --- and ... at the beginning of a line"
		}
	}
	return ""
}

// Message keeps of an error of the YAML library what a person needs.
func Message(err error) string {
	text := strings.TrimPrefix(err.Error(), "error unmarshaling JSON: ")
	for _, prefix := range []string{"while decoding JSON: ", "error converting YAML to JSON: ", "yaml: ", "json: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return strings.Join(strings.Fields(text), " ")
}
