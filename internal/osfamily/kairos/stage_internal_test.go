// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

// yip drops keys that it does not know. The list is compared with yip's own in the module test/kairos, which has yip.
func TestKeysOfAStep(t *testing.T) {
	var keys []string
	keysOf(reflect.TypeFor[stage](), "", &keys)
	slices.Sort(keys)
	osfamilytest.CompareFile(t, "testdata/stage-keys.txt", strings.Join(keys, "\n")+"\n")
}

func keysOf(t reflect.Type, path string, keys *[]string) {
	switch t.Kind() {
	case reflect.Pointer:
		keysOf(t.Elem(), path, keys)
	case reflect.Slice:
		keysOf(t.Elem(), path+"[]", keys)
	case reflect.Map:
		keysOf(t.Elem(), path+"{}", keys)
	case reflect.Struct:
		for field := range t.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			keysOf(field.Type, path+"."+name, keys)
		}
	default:
		*keys = append(*keys, path)
	}
}
