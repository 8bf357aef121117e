// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// An input event is a time of 16 bytes, a type, a code and a value.
const (
	eventBytes = 24
	eventKey   = 1
	keyPower   = 116
)

// watchPowerButton powers the machine off when its button is pressed, unless that is to be ignored.
func (p *probe) watchPowerButton() error {
	devices, err := filepath.Glob("/dev/input/event*")
	if err != nil {
		return err
	}
	if len(devices) == 0 {
		return errors.New("there is none")
	}
	for _, device := range devices {
		events, err := os.Open(device)
		if err != nil {
			return err
		}
		go p.readEvents(events)
	}
	return nil
}

func (p *probe) readEvents(events io.Reader) {
	event := make([]byte, eventBytes)
	for {
		if _, err := io.ReadFull(events, event); err != nil {
			p.failed("power button", err)
			return
		}
		if !isPowerPress(event) {
			continue
		}
		if p.ignoreACPI.Load() {
			p.write("PROBE poweroff-ignored\n")
			continue
		}
		p.write("PROBE poweroff-requested\n")
		unix.Sync()
		p.failed("power off", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
	}
}

func isPowerPress(event []byte) bool {
	return binary.LittleEndian.Uint16(event[16:]) == eventKey &&
		binary.LittleEndian.Uint16(event[18:]) == keyPower &&
		binary.LittleEndian.Uint32(event[20:]) == 1
}
