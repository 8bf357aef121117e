// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignition

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/coreos/butane/config/common"
	fcos "github.com/coreos/butane/config/fcos/v1_5"
	flatcar "github.com/coreos/butane/config/flatcar/v1_1"
	"github.com/coreos/ignition/v2/config/v3_4/types"
	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
	"go.yaml.in/yaml/v3"
)

// Dialect is a variant of Butane. Each is pinned to the version that gives specification 3.4.0.
type Dialect string

const (
	// DialectFlatcar is variant flatcar, version 1.1.0: Ignition's own words and no more. It knows no Clevis.
	DialectFlatcar Dialect = "flatcar"
	// DialectFedoraCoreOS is variant fcos, version 1.5.0. It can lay out the boot disk of Fedora CoreOS.
	DialectFedoraCoreOS Dialect = "fcos"
)

// Problem is something that is wrong with a snippet.
type Problem struct {
	// Path is the place in the snippet, for example storage.files[0].contents. It may be empty.
	Path string
	// Message says what is wrong and what to do.
	Message string
}

// String puts the place before the message.
func (p Problem) String() string {
	if p.Path == "" {
		return p.Message
	}
	return p.Path + ": " + p.Message
}

// Translate reads a Butane snippet without variant and version. It reads no file and asks no address, whatever the snippet
// says; it refuses what Butane only warns of, and whatever could be another thing tomorrow. The addition is usable only
// where there is no problem.
func Translate(snippet string, dialect Dialect) (Addition, []Problem) {
	if problem, ok := checkYAML(snippet); !ok {
		return Addition{}, []Problem{problem}
	}
	translate := flatcar.ToIgn3_4Bytes
	if dialect == DialectFedoraCoreOS {
		translate = fcos.ToIgn3_4Bytes
	}
	// Compression is left out, because its bytes are another release's tomorrow.
	data, found, err := translate([]byte(snippet), common.TranslateBytesOptions{TranslateOptions: common.TranslateOptions{NoResourceAutoCompression: true}})
	if problems := problemsOf(found, err); len(problems) > 0 {
		return Addition{}, problems
	}
	// Butane has judged what it wrote as Ignition does, and that takes most of the time: it is only read here.
	var config types.Config
	if err := json.Unmarshal(data, &config); err != nil {
		return Addition{}, []Problem{{Message: messageOf(err)}}
	}
	addition := Addition{config: config}
	problems := checkSources(config)
	if len(problems) == 0 && len(addition.Parts()) == 0 && len(config.Ignition.Security.TLS.CertificateAuthorities) == 0 {
		problems = append(problems, Problem{Message: "it adds nothing: remove it"})
	}
	return addition, problems
}

// checkYAML demands one mapping, without the keys that Ingot sets. An alias is refused, because a few lines of them can
// stand for gigabytes; so is a second document, because Butane does not look at it.
func checkYAML(snippet string) (Problem, bool) {
	decoder := yaml.NewDecoder(strings.NewReader(snippet))
	var document, more yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return Problem{Message: "it is empty: remove it"}, false
		}
		return Problem{Message: messageOf(err)}, false
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return Problem{Message: "it holds more than one YAML document: write each into a snippet of its own"}, false
	}
	if line := lineOfAlias(&document); line > 0 {
		return Problem{Message: fmt.Sprintf("line %d has an alias or an anchor of YAML: write it out", line)}, false
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return Problem{Message: "it is not a Butane configuration: write keys like storage and systemd"}, false
	}
	for i := 0; i < len(root.Content); i += 2 {
		if key := root.Content[i].Value; slices.Contains([]string{"variant", "version"}, key) {
			return Problem{Path: key, Message: "is set by Ingot: remove it"}, false
		}
	}
	return Problem{}, true
}

// Weight is how many keys, values, lists and mappings a snippet has: the time that Translate takes grows with it. It is 0 for
// what is no YAML, which Translate refuses at once.
func Weight(snippet string) int {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(snippet), &document); err != nil {
		return 0
	}
	return weightOf(&document)
}

func weightOf(node *yaml.Node) int {
	weight := 1
	for _, child := range node.Content { // what an alias stands for is no child of it
		weight += weightOf(child)
	}
	return weight
}

func lineOfAlias(node *yaml.Node) int {
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		return node.Line
	}
	for _, child := range node.Content {
		if line := lineOfAlias(child); line > 0 {
			return line
		}
	}
	return 0
}

// problemsOf lists all findings, warnings too; the error itself counts only where it says more.
func problemsOf(found report.Report, err error) []Problem {
	var problems []Problem
	for _, entry := range found.Entries {
		message := entry.Message
		if message == common.ErrNoFilesDir.Error() {
			message = "no file of the machine that Ingot runs on is ever read: write the content inline"
		}
		problems = append(problems, Problem{Path: pathOf(entry.Context), Message: message})
	}
	if err != nil && len(problems) == 0 {
		problems = append(problems, Problem{Message: messageOf(err)})
	}
	return problems
}

// messageOf leaves out the values that YAML's errors quote.
func messageOf(err error) string {
	text := regexp.MustCompile("`[^`]*`").ReplaceAllString(err.Error(), "the value")
	return strings.Join(strings.Fields(text), " ")
}

// pathOf writes a path as Ingot's reports do.
func pathOf(context path.ContextPath) string {
	var out strings.Builder
	for _, element := range context.Path {
		switch element := element.(type) {
		case int:
			fmt.Fprintf(&out, "[%d]", element)
		default:
			if out.Len() > 0 {
				out.WriteString(".")
			}
			fmt.Fprint(&out, element)
		}
	}
	return out.String()
}

// checkSources refuses whatever is fetched and may be another thing on the next machine, and what would bring a whole
// configuration along, because nobody has looked at its parts.
func checkSources(config types.Config) []Problem {
	var problems []Problem
	check := func(at string, resource types.Resource) {
		source := ptrOr(resource.Source, "")
		if source != "" && !strings.HasPrefix(source, "data:") && ptrOr(resource.Verification.Hash, "") == "" {
			problems = append(problems, Problem{Path: at, Message: "is fetched without a digest, so it could be another thing on the next machine: " +
				"set verification.hash, or write the content inline"})
		}
	}
	if len(config.Ignition.Config.Merge) > 0 || ptrOr(config.Ignition.Config.Replace.Source, "") != "" {
		problems = append(problems, Problem{Path: "ignition.config", Message: "would bring another configuration, whose parts nobody has looked at: " +
			"write it as a snippet"})
	}
	for i, f := range config.Storage.Files {
		check(fmt.Sprintf("storage.files[%d].contents", i), f.Contents)
		for j, appended := range f.Append {
			check(fmt.Sprintf("storage.files[%d].append[%d]", i, j), appended)
		}
	}
	for i, l := range config.Storage.Luks {
		check(fmt.Sprintf("storage.luks[%d].key_file", i), l.KeyFile)
	}
	for i, authority := range config.Ignition.Security.TLS.CertificateAuthorities {
		check(fmt.Sprintf("ignition.security.tls.certificate_authorities[%d]", i), authority)
	}
	return problems
}
