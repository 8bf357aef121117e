// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// startNetwork says what interfaces there are and asks for an address on each in the background. The channel is closed
// when each interface with a cable has one.
func (p *probe) startNetwork() <-chan struct{} {
	all := make(chan struct{})
	interfaces, err := net.Interfaces()
	p.failed("network", err)
	var waiting sync.WaitGroup
	for _, nic := range interfaces {
		if nic.Flags&net.FlagLoopback != 0 {
			continue
		}
		p.say("nic", fmt.Sprintf("%s,%s,%d", nic.Name, nic.HardwareAddr, nic.MTU))
		waiting.Go(func() { p.failed("network "+nic.Name, p.bringUp(nic)) })
	}
	go func() {
		waiting.Wait()
		close(all)
	}()
	return all
}

// bringUp switches an interface on and gives it an address. An interface without a cable stays without one.
func (p *probe) bringUp(nic net.Interface) error {
	if err := setUp(nic.Name); err != nil {
		return err
	}
	if !awaitCarrier(nic.Name) {
		return nil
	}
	client, err := newDHCPClient(nic)
	if err != nil {
		return err
	}
	defer client.close()
	for wait := time.Second; ; wait = min(2*wait, 8*time.Second) {
		began := time.Now()
		lease, err := client.ask(wait)
		if err != nil { // a lost packet and no server look alike
			time.Sleep(time.Until(began.Add(wait)))
			continue
		}
		if err := setAddress(nic.Name, lease.address, lease.mask); err != nil {
			return err
		}
		ones, _ := lease.mask.Size()
		p.say("address", lease.address.String())
		p.say("lease:"+nic.Name, fmt.Sprintf("%s/%d", lease.address, ones))
		return nil
	}
}

// awaitCarrier waits up to a second for the cable.
func awaitCarrier(nic string) bool {
	for range 20 {
		text, err := os.ReadFile("/sys/class/net/" + nic + "/carrier")
		if err == nil && strings.TrimSpace(string(text)) == "1" {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}
