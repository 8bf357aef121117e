// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignitionnode

import (
	"fmt"
	"slices"
	"strings"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
)

// mostProblems is how many problems of one snippet are listed. A condition must stay readable.
const mostProblems = 8

// translate reads the snippets. The additions are as many as the snippets where all are good.
func translate(report *osfamily.Report, snippets []string, dialect ignition.Dialect) []ignition.Addition {
	var additions []ignition.Addition
	for i, snippet := range snippets {
		addition, problems := ignition.Translate(snippet, dialect)
		for n, problem := range problems {
			if n == mostProblems {
				report.Errorf(snippetPath(i), "%d more problems", len(problems)-n)
				break
			}
			report.Errorf(snippetPath(i), "%s", problem)
		}
		additions = append(additions, addition)
	}
	return additions
}

func snippetPath(i int) string { return fmt.Sprintf("spec.ignition.butane[%d]", i) }

// mostNodes is how many keys, values, lists and mappings all snippets together have where somebody waits. Butane looks at each
// of them several times by reflection, which takes up to 0.15 ms of a CPU for one: as many take half a second for each role.
const mostNodes = 4096

// Weigh implements osfamily.Weigher.Weigh.
func Weigh(config bootstrapv1.IngotConfigSpec) osfamily.Report {
	var report osfamily.Report
	nodes := 0
	for i, snippet := range config.Ignition.Butane {
		if nodes += ignition.Weight(snippet); nodes > mostNodes {
			report.Errorf(snippetPath(i), "makes more than %d keys and values of all snippets together, which take too long to translate: "+
				"name fewer things, or build them into the image", mostNodes)
			break
		}
	}
	return report
}

// check holds additions to the law: each may add, none may replace or undo what Ingot writes or an earlier one adds.
func check(additions []ignition.Addition, claims []claim) osfamily.Report {
	var report osfamily.Report
	taken := map[string]int{}
	for i, addition := range additions {
		parts, problems := addition.Parts(), 0
		for _, part := range parts {
			message, clash := clashOf(part, claims)
			if earlier, ok := taken[key(part)]; ok && !clash {
				message, clash = fmt.Sprintf("is in %s already: write it once", snippetPath(earlier)), true
			}
			if !clash || problems == mostProblems {
				continue
			}
			report.Errorf(snippetPath(i), "%s %q %s", part.Kind, part.Name, message)
			problems++
		}
		for _, part := range parts {
			taken[key(part)] = i
		}
	}
	return report
}

// key is what two additions must not both name. What is mounted at a path is not what lies there.
func key(part ignition.Part) string {
	if part.Path != "" && part.Kind != ignition.KindFilesystem && part.Kind != ignition.KindMount {
		return part.Path
	}
	return string(part.Kind) + " " + part.Name
}

func clashOf(part ignition.Part, claims []claim) (string, bool) {
	for _, c := range claims {
		switch at, clash := c.clash(part); {
		case clash && at == above:
			return saysAbove, true
		case clash:
			return c.says, true
		}
	}
	return "", false
}

// clash is where the part is, seen from the claim, and whether that takes something away: at the claim, below one that is
// a tree, or above. A file system above takes nothing away as long as it is mounted whenever the system runs.
func (c claim) clash(part ignition.Part) (place, bool) {
	if c.setting != "" {
		return same, part.Path == "" && (part.Kind == ignition.KindSetting || part.Kind == ignition.KindKernelArgument) && part.Name == c.setting
	}
	if c.device != "" {
		volume := part.Kind == ignition.KindLUKS || part.Kind == ignition.KindRAID || part.Kind == ignition.KindFilesystem
		return same, volume && part.Path == "" && part.Name == c.device
	}
	if part.Path == "" || c.except != "" && slices.Contains([]place{same, below}, compare(part.Path, c.except)) {
		return elsewhere, false
	}
	at := compare(part.Path, c.path)
	switch {
	case at == below:
		return at, c.tree
	case part.Kind == ignition.KindFilesystem && !part.Hides:
		return at, at == same && !c.mountable
	default:
		return at, at == same || at == above
	}
}

// place says where a path is, seen from a claim.
type place int

const (
	elsewhere place = iota
	same
	above
	below
)

// compare compares a path with a pattern, element by element. A path that is a pattern itself is equal to itself. It makes
// no garbage: thousands of paths are compared with hundreds of patterns.
func compare(path, pattern string) place {
	for {
		var element, wanted string
		element, path = cutElement(path)
		wanted, pattern = cutElement(pattern)
		switch {
		case element == "" && wanted == "":
			return same
		case element == "":
			return above
		case wanted == "":
			return below
		case element != wanted && !matches(element, wanted):
			return elsewhere
		}
	}
}

// cutElement returns the first element of a path and what follows it. There is none where it is empty.
func cutElement(path string) (element, rest string) {
	element, rest, _ = strings.Cut(strings.TrimLeft(path, "/"), "/")
	return element, rest
}

// matches knows one asterisk, for any text. Nothing else is special, because units have names that hold everything.
func matches(element, pattern string) bool {
	before, after, ok := strings.Cut(pattern, "*")
	return ok && len(element) >= len(before)+len(after) && strings.HasPrefix(element, before) && strings.HasSuffix(element, after)
}
