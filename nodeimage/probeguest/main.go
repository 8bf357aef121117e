// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Command probeguest is the first and only process of the probe guest, a tiny machine with which tests prove what a
// machine sees from inside. It prints lines on the serial console, each `PROBE key=value`:
//
//	begin                            the first line of every boot
//	boot=uefi|bios                   the firmware that booted it
//	secureboot=1|0|none              the firmware's variable SecureBoot
//	lockdown=none|integrity|...      what the kernel itself made of it
//	tpm=2|1|none                     version of the TPM
//	tpm-pcr0=<hex>                   what the TPM answers when register 0 is read
//	uuid=<uuid>|none                 SMBIOS system UUID
//	cpus=<n>                         processors that are online
//	memory=<bytes>                   memory devices according to SMBIOS
//	memory-usable=<bytes>            what the kernel has of it
//	disk=<name>,<bytes>,<serial>     each disk; 0 bytes is a drive without a medium
//	nic=<name>,<mac>,<mtu>           each network interface
//	address=<ip>                     an address from DHCP
//	lease:<nic>=<ip>/<bits>          the same, with its interface
//	fw_cfg:<name>=<sha256>           each file of fw_cfg below opt/
//	iso:<label>:<path>=<sha256>      each file of each ISO 9660 and FAT volume but the guest's own
//	smbios-oem:<n>=<sha256>          each SMBIOS OEM string, counted from 1
//	smbios-oem-value:<key>=<sha256>  what is decoded from an OEM string of the form key=base64
//	ignore-acpi=1                    the power button will be ignored
//	error=<what went wrong>          a part that could not look
//	done                             all is said
//	poweroff-ignored                 the power button was pressed, and nothing happens
//	poweroff-requested               the power button was pressed; the machine powers off
//
// Keys escape %, = and spaces as URLs do. The power button is ignored when the kernel command line or anything that is delivered
// to the machine has the words probe.ignore-acpi, or fw_cfg's opt/ingot/probe has ignore-acpi. A network without DHCP
// delays the line done by ten seconds, and an address that comes later is still printed.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// leaseWait is how long `done` waits for addresses. A DHCP server may take 3 s to see that an address is free.
const leaseWait = 10 * time.Second

func main() {
	console, err := os.OpenFile("/dev/console", os.O_WRONLY, 0)
	if err != nil {
		console = os.Stdout
	}
	p := &probe{out: console}
	p.run()
	for {
		time.Sleep(time.Hour) // the kernel panics when its first process ends
	}
}

// probe collects and prints. Its methods may be called from any goroutine.
type probe struct {
	mu  sync.Mutex
	out io.Writer

	ignoreACPI atomic.Bool
}

func (p *probe) run() {
	prepareErr := prepare()
	p.write("\nPROBE begin\n") // whatever the firmware left on the line ends here
	p.failed("preparing", prepareErr)
	p.failed("loading modules", loadModules())
	addresses := p.startNetwork()
	if line, err := os.ReadFile("/proc/cmdline"); err == nil {
		p.mark(line)
	}
	p.failed("firmware", p.firmware())
	p.failed("TPM", p.tpm())
	p.failed("SMBIOS", p.smbios())
	p.failed("processors and memory", p.hardware())
	p.failed("disks", p.disks())
	p.failed("fw_cfg", p.fwCfg())
	p.failed("volumes", p.volumes())
	p.failed("power button", p.watchPowerButton())
	if p.ignoreACPI.Load() {
		p.say("ignore-acpi", "1")
	}
	select {
	case <-addresses:
	case <-time.After(leaseWait):
	}
	p.write("PROBE done\n")
}

// say prints one line.
func (p *probe) say(key, value string) {
	value = strings.Join(strings.Fields(value), " ") // one line stays one line
	p.write(fmt.Sprintf("PROBE %s=%s\n", keyEscape(key), value))
}

func (p *probe) write(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = io.WriteString(p.out, text) // there is nobody else to tell
}

// failed prints an error.
func (p *probe) failed(what string, err error) {
	if err != nil {
		p.say("error", what+": "+err.Error())
	}
}

// mark looks for the words that say that the power button is to be ignored.
func (p *probe) mark(delivered []byte) {
	if bytes.Contains(delivered, []byte("probe.ignore-acpi")) {
		p.ignoreACPI.Store(true)
	}
}

// keyEscape makes sure that a key is one word that ends at the first =.
func keyEscape(key string) string {
	var out strings.Builder
	for _, b := range []byte(key) {
		if b <= ' ' || b == '=' || b == '%' || b >= 0x7f {
			fmt.Fprintf(&out, "%%%02X", b)
		} else {
			out.WriteByte(b)
		}
	}
	return out.String()
}
