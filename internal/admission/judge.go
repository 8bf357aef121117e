// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/bootstrap/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

const (
	// mostFindings is how many findings are told at once. A person reads them in a terminal.
	mostFindings = 20
	// mostBytes is what a Secret holds, in which the machine configuration is stored.
	mostBytes = 1 << 20
)

// subject is a config in the object that holds it.
type subject struct {
	config bootstrapv1.IngotConfigSpec
	// path is where the config is in the object. What families call spec is there.
	path string
	// roles are those that machines with the config have.
	roles []bootstrapv1.Role
	// version is the Kubernetes version, and versionPath where the object says it. Both are empty where it does not.
	version, versionPath string
	// cloned says that another object was judged, of which this one is a copy for a machine that exists.
	cloned bool
}

// judge renders a config for each of its roles. It returns what is wrong with the object, and what somebody should look at.
func judge(preview controller.Preview, s subject) (field.ErrorList, []string) {
	report := weigh(preview, s.config)
	if report.Err() == nil {
		for _, role := range s.roles {
			report = append(report, dryRun(preview, s, role)...)
		}
	}
	var refused field.ErrorList
	var warnings []string
	told := map[osfamily.Finding]bool{}
	for _, finding := range report {
		path, ours := s.locate(finding.Path)
		if !ours || told[finding] {
			continue
		}
		told[finding] = true
		if finding.Severity == osfamily.Warning {
			warnings = append(warnings, path+": "+finding.Message)
			continue
		}
		refused = append(refused, &field.Error{Type: field.ErrorTypeInvalid, Field: path, BadValue: field.OmitValueType{}, Detail: finding.Message})
	}
	return shorten(refused, s.path), warnings[:min(len(warnings), mostFindings)]
}

// weigh asks the family whether the config takes too long to render while somebody waits for the answer.
func weigh(preview controller.Preview, config bootstrapv1.IngotConfigSpec) osfamily.Report {
	if weigher, weighs := preview.Family(config).(osfamily.Weigher); weighs {
		return weigher.Weigh(config)
	}
	return nil
}

// dryRun is what the newest release finds that accepts the config: which one the machine is cast from is not known.
func dryRun(preview controller.Preview, s subject, role bootstrapv1.Role) osfamily.Report {
	config := *s.config.DeepCopy()
	config.Role = role
	var first osfamily.Report
	for i, image := range preview.AnyImages(config) {
		report := dryRunFrom(preview, preview.AnySubject(config, image, s.version))
		if report.Err() == nil {
			return report
		}
		if i == 0 {
			first = report
		}
	}
	return first
}

func dryRunFrom(preview controller.Preview, subject controller.Subject) osfamily.Report {
	rendering := preview.Render(subject)
	report := slices.Clone(rendering.Report)
	if size := len(rendering.Bundle.Data); size > mostBytes {
		report.Errorf("spec", "has %d bytes as a machine configuration, and a Secret holds %d: build large files into the image", size, mostBytes)
	}
	return report
}

// locate is the path of a finding in the object; false where the finding is about what a placeholder stands for.
func (s subject) locate(path string) (string, bool) {
	switch rest, config := strings.CutPrefix(path, "spec"); {
	case config && (rest == "" || rest[0] == '.'):
		return s.path + rest, true
	case path == controller.VersionPath && s.versionPath != "":
		return s.versionPath, true
	default:
		return "", false
	}
}

// shorten keeps the first findings, and says how many there are beside them.
func shorten(refused field.ErrorList, path string) field.ErrorList {
	more := len(refused) - mostFindings
	if more <= 0 {
		return refused
	}
	return append(slices.Clip(refused[:mostFindings]), &field.Error{
		Type: field.ErrorTypeInvalid, Field: path, BadValue: field.OmitValueType{}, Detail: fmt.Sprintf("%d more problems", more),
	})
}
