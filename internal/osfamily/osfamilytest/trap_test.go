// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamilytest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"net/http"
	"os"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

// TestTrap: a trap that does not spring proves nothing.
func TestTrap(t *testing.T) {
	t.Parallel()
	trap := osfamilytest.NewTrap(t)
	content, err := os.ReadFile(trap.Set("CANARYFILE"))
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(content); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	for name, output := range map[string]string{
		"plain":      "a " + string(content) + " b",
		"escaped":    `{"source":"data:,x%20canary%2D6f1d%0A"}`,
		"encoded":    `{"source":"data:;base64,` + base64.StdEncoding.EncodeToString(append([]byte("ab"), content...)) + `"}`,
		"compressed": "content: " + base64.StdEncoding.EncodeToString(zipped.Bytes()) + "\n",
	} {
		if trap.Sprung("nothing", output) == "" {
			t.Errorf("%s: not found in %s", name, output)
		}
	}
	if who := trap.Sprung("nothing", trap.Set("CANARYFILE CANARYFOLDER http://canary.invalid/a canary.invalid/a")); who != "" {
		t.Errorf("what names the trap springs it: %s", who)
	}
	response, err := http.Get(trap.Set("http://canary.invalid/a"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if trap.Sprung() == "" {
		t.Error("nobody noticed a request")
	}
}
