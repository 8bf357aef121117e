// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

// Differences says in which respects a Machine is not what is desired, one phrase each, in a fixed order. What is not
// seen is not different.
func Differences(d Desired, m Machine) []string {
	var list []string
	if m.Version != d.Version {
		list = append(list, fmt.Sprintf("version is %s, wanted %s", m.Version, d.Version))
	}
	if m.ClonedFrom != (Template{}) && m.ClonedFrom != d.Template {
		list = append(list, fmt.Sprintf("infrastructure template is %s, wanted %s", m.ClonedFrom, d.Template))
	}
	if m.Config != nil {
		for _, field := range configDifferences(*m.Config, d.Config) {
			list = append(list, field+" differs")
		}
	}
	return append(list, m.Due...)
}

// usable is whether what was left can become the Machine that is wanted now, which begins with a snapshot, or with none.
func (d Desired) usable(l Leftover, role bootstrapv1.Role, snapshot string) bool {
	switch {
	case l.Deleting, l.Config != nil && l.RestoredFrom != snapshot:
		return false
	case l.ClonedFrom != (Template{}) && l.ClonedFrom != d.Template:
		return false
	case l.Config != nil:
		return l.Config.Role == role && len(configDifferences(*l.Config, d.Config)) == 0
	default:
		return true
	}
}

// configDifferences returns the sorted paths below spec.config in which two configs differ, apart from the role and from
// what is restored, which belong to one machine.
func configDifferences(a, b bootstrapv1.IngotConfigSpec) []string {
	a.Role, b.Role = "", ""
	a.RestoreFrom, b.RestoreFrom = bootstrapv1.RestoreReference{}, bootstrapv1.RestoreReference{}
	return differentPaths("spec.config", fields(a), fields(b))
}

func differentPaths(path string, a, b map[string]any) []string {
	keys := maps.Clone(a)
	maps.Copy(keys, b)
	var list []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		nestedA, isMapA := a[key].(map[string]any)
		nestedB, isMapB := b[key].(map[string]any)
		switch {
		case isMapA && isMapB:
			list = append(list, differentPaths(path+"."+key, nestedA, nestedB)...)
		case !reflect.DeepEqual(a[key], b[key]):
			list = append(list, path+"."+key)
		}
	}
	return list
}

// fields returns the config as its JSON has it. The type holds nothing that JSON cannot express, so a failure is a
// programming error, and shows as a config without fields.
func fields(config bootstrapv1.IngotConfigSpec) map[string]any {
	data, err := json.Marshal(config)
	if err != nil {
		return nil
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		return nil
	}
	return m
}
