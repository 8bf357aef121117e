// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// secureBootVariable is the firmware's word on whether it checks signatures.
const secureBootVariable = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

// firmware says what booted the machine.
func (p *probe) firmware() error {
	if text, err := os.ReadFile("/sys/kernel/security/lockdown"); err == nil {
		p.say("lockdown", chosen(string(text)))
	}
	switch _, err := os.Stat("/sys/firmware/efi"); {
	case os.IsNotExist(err):
		p.say("boot", "bios")
		p.say("secureboot", "none")
		return nil
	case err != nil:
		return err
	}
	p.say("boot", "uefi")
	if err := unix.Mount("efivarfs", "/sys/firmware/efi/efivars", "efivarfs", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mounting efivarfs: %w", err)
	}
	value, err := os.ReadFile(secureBootVariable)
	switch {
	case os.IsNotExist(err):
		p.say("secureboot", "none")
		return nil
	case err != nil:
		return err
	case len(value) != 5: // four bytes of attributes, one of value
		return fmt.Errorf("variable SecureBoot has %d bytes, want 5", len(value))
	}
	p.say("secureboot", fmt.Sprint(value[4]))
	return nil
}

// chosen is the word in brackets of a list of choices: [none] integrity.
func chosen(choices string) string {
	_, rest, _ := strings.Cut(choices, "[")
	word, _, _ := strings.Cut(rest, "]")
	return word
}

// tpm says which TPM there is, and reads a register through the kernel as proof that it answers.
func (p *probe) tpm() error {
	const dir = "/sys/class/tpm/tpm0"
	version, err := os.ReadFile(dir + "/tpm_version_major")
	if os.IsNotExist(err) {
		p.say("tpm", "none")
		return nil
	}
	if err != nil {
		return err
	}
	p.say("tpm", string(version))
	// Each read of these files is a command to the TPM. The firmware decides which banks there are.
	for _, bank := range []string{"pcr-sha256", "pcr-sha384", "pcr-sha512", "pcr-sha1"} {
		value, err := os.ReadFile(dir + "/" + bank + "/0")
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading register 0: %w", err)
		}
		p.say("tpm-pcr0", strings.ToLower(string(value)))
		return nil
	}
	// A TPM 1.2 has one bank, and one file for all registers: "PCR-00: 01 02 ...".
	registers, err := os.ReadFile(dir + "/pcrs")
	if err != nil {
		return fmt.Errorf("reading register 0: %w", err)
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(string(registers), "PCR-00:"), "\n")
	p.say("tpm-pcr0", strings.ToLower(strings.ReplaceAll(first, " ", "")))
	return nil
}
