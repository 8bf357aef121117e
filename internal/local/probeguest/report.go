// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package probeguest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
)

// Report is what the guest said since it was started, by key and in the order in which it said it. The keys are
// described with the program, nodeimage/probeguest in the checkout. A line without a value, such as done, has the
// empty string.
type Report map[string][]string

// Keys of lines that say how far the guest is.
const (
	// Begin is the first line of a boot.
	Begin = "begin"
	// Done is the last line of a boot.
	Done = "done"
	// Failed is a part that the guest could not look at, and why. No test should accept one.
	Failed = "error"
	// PowerOffRequested is printed when the power button was pressed, before the guest powers off.
	PowerOffRequested = "poweroff-requested"
	// PowerOffIgnored is printed when the power button was pressed and the guest was told to ignore it.
	PowerOffIgnored = "poweroff-ignored"
)

// IgnoreACPI makes the guest ignore the power button, when it is anywhere in the data that is delivered to it.
const IgnoreACPI = "probe.ignore-acpi"

// linePrefix begins each line of the guest.
const linePrefix = "PROBE "

// Has says whether the guest printed a line with this key.
func (r Report) Has(key string) bool { return len(r[key]) > 0 }

// Value is the first value of a key, or "".
func (r Report) Value(key string) string {
	if !r.Has(key) {
		return ""
	}
	return r[key][0]
}

// ParseConsole reads what the guest said since it was last started. It is empty as long as the guest said nothing.
func ParseConsole(console []byte) Report {
	boots := ParseBoots(console)
	if len(boots) == 0 {
		return Report{}
	}
	return boots[len(boots)-1]
}

// ParseBoots reads what the guest said in each boot. Other lines do not count, and neither does a last line that has
// not ended.
func ParseBoots(console []byte) []Report {
	var boots []Report
	for line := range bytes.Lines(console) {
		text, ok := strings.CutPrefix(string(line), linePrefix)
		if !ok || !strings.HasSuffix(text, "\n") {
			continue
		}
		key, value, _ := strings.Cut(strings.TrimRight(text, "\r\n"), "=")
		if plain, err := url.PathUnescape(key); err == nil {
			key = plain
		}
		if key == Begin {
			boots = append(boots, Report{})
		}
		if len(boots) > 0 {
			last := boots[len(boots)-1]
			last[key] = append(last[key], value)
		}
	}
	return boots
}

// Digest is a digest as the guest prints it.
func Digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
