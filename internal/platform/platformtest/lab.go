// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package platformtest is the contract of the platform port as tests. Every adapter and the fake pass the same suite;
// what an adapter does beyond the contract is tested beside the adapter.
//
// It knows no vendor. What it must do to an endpoint behind the manager's back, it asks a Lab to do.
package platformtest

import (
	"net/netip"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Lab is one endpoint together with the hands of a person beside it. Several tests use one endpoint, one after another.
type Lab interface {
	// Session opens a session, as a manager does that was just started. It ends with the test.
	Session(t *testing.T) platform.Platform

	// Faulty opens a session that dies at its n-th effect on the outside world, counted from 0: instead of it, or, if
	// lost, after it and before its answer arrives. A dead session stays dead. fired tells whether it came to that.
	Faulty(t *testing.T, n int, lost bool) (session platform.Platform, fired func() bool)

	// Image is an artefact that was never used, for any storage. What it is made of goes with the test.
	Image(t *testing.T) platform.ImageRequest

	// WrongImages are the ways in which an artefact of this lab can be wrong.
	WrongImages() []WrongImage

	// Complete adds to a request where inside the endpoint the instance is put, if there is a choice.
	Complete(req *platform.Request)

	// KnowsAddresses is whether the networks of the platform know which addresses they have and who has which.
	KnowsAddresses() bool

	// Storage is a storage that is there. Network is a network that is there.
	Storage() string
	Network() string

	// Sever cuts all sessions of Session off from the endpoint, until restore is called.
	Sever(t *testing.T) (restore func())

	// PutForeign makes a running instance with this uuid that is not ours. It is removed with the test.
	PutForeign(t *testing.T, uuid string)

	// PowerOff ends an instance as its guest or a person would, without the manager.
	PowerOff(t *testing.T, uuid string)

	// Channels are the kinds of channel that the platform implements.
	Channels() []delivery.Kind

	// Address is an address of Network that nobody has, the same with each call.
	Address() platform.Address

	// TakeAddress gives an address of Network to somebody else. It is given back with the test.
	TakeAddress(t *testing.T, address netip.Addr)

	// Asked is how often the guest of an instance was asked to shut down, over sessions of Session.
	Asked(t *testing.T, uuid string) int

	// Rename gives an instance that does not run another name, as a person would.
	Rename(t *testing.T, uuid, name string)

	// Built is what an instance was really made of.
	Built(t *testing.T, uuid string) Built

	// Inventory lists everything at the endpoint, one line each, in enough detail that any change shows: instances
	// with their state and definition, volumes with their size, reserved addresses.
	Inventory(t *testing.T) []string
}

// WrongImage is one way in which an artefact can be wrong.
type WrongImage struct {
	// Name says what is wrong.
	Name string
	// Spoil makes an artefact wrong that was good, or asks for something else than it is.
	Spoil func(t *testing.T, image *platform.ImageRequest)
	// Want is what EnsureImage returns.
	Want error
}

// Built is what an instance was made of, as far as the platform shows it.
type Built struct {
	// Name is what the platform calls it.
	Name string
	// Disks are the further disks in the order in which the guest sees them.
	Disks []platform.Disk
	// Interfaces are the network interfaces in order, without addresses.
	Interfaces []platform.Interface
}

// law is one sentence of the contract.
type law struct {
	name string
	why  string
	test func(*testing.T, Lab)
}

// Run runs the whole suite against the endpoint that lab stands for.
func Run(t *testing.T, lab Lab) {
	t.Helper()
	hold(t, lab, []law{
		{"Life", "from nothing to a running instance and back to nothing", testLife},
		{"StartedOnce", "a stopped instance is for its owner to judge: starting it again could bring a replaced node back", testStartedOnce},
		{"SeparateOwners", "the same uuid under another management cluster is not ours", testSeparateOwners},
		{"Foreign", "what does not carry our token is never changed, whatever its uuid", testForeign},
		{"Refusals", "what can never work is told at once and leaves nothing behind", testRefusals},
		{"Unreachable", "could not tell is never not there", testUnreachable},
		{"Deadline", "no call outlives its context", testDeadline},
		{"Concurrent", "two passes at the same time make one instance", testConcurrent},
		{"TwoManagers", "a manager that was slow to die shares the endpoint with its successor for a moment", testTwoManagers},
		{"EnsureInterrupted", "after a crash at any point the next call ends well, or everything can be taken away", testEnsureInterrupted},
		{"ReleaseInterrupted", "a release that crashed anywhere is finished by the next", testReleaseInterrupted},
		{"ScrubInterrupted", "secrets go even if the first attempt to remove them crashed", testScrubInterrupted},
		{"Channels", "a family that reads no other channel must get its data, and its secrets must go as well", testChannels},
		{"StaticAddress", "an address that a pool gave to one machine is that machine's and nobody else's", testStaticAddress},
		{"AddressTwice", "a machine with one address on two interfaces cannot be reached", testAddressTwice},
		{"AddressTaken", "two machines with one address break each other", testAddressTaken},
		{"ShutDown", "a guest that has its time can end its work; one that does not end is switched off", testShutDown},
		{"ShutDownObeyed", "a guest that obeys is not made to wait", testShutDownObeyed},
		{"ShutDownInterrupted", "asking is no reason for an instance to stay", testShutDownInterrupted},
		{"PowerCycle", "a guest that hangs is switched off and on, and loses nothing by it", testPowerCycle},
		{"PowerCycleInterrupted", "each half of a power cycle is done once, whenever the manager is killed", testPowerCycleInterrupted},
		{"Disks", "a machine has the disks that it was declared with, once, and they go with it", testDisks},
		{"Interfaces", "a machine has the interfaces that it was declared with, in order", testInterfaces},
		{"HardwareRefusals", "hardware that cannot be is refused before anything is made, and never replaced by something similar", testHardwareRefusals},
		{"Renamed", "people rename what they look after; an instance is found by its uuid alone", testRenamed},
		{"Listed", "what is ours is found even when nobody remembers it, and nothing else is", testListed},
		{"ListedInterrupted", "what a crash leaves behind is found, however little it is", testListedInterrupted},
		{"Console", "a console log is shown to its owner alone", testConsole},
		{"Capacity", "who places machines must know how much there is", testCapacity},
	})
	RunImages(t, lab)
}

// RunImages runs what the contract says of images, for a platform that takes more than one kind of artefact.
func RunImages(t *testing.T, lab Lab) {
	t.Helper()
	hold(t, lab, []law{
		{"ImageWrong", "wrong bytes are never usable, and the failure is told once", testImageWrong},
		{"ImageInterrupted", "a partial copy is never usable", testImageInterrupted},
		{"ImageInUse", "a disk never loses what is below it", testImageInUse},
		{"ImageOnce", "many machines that ask at once cause one copy", testImageOnce},
		{"ImageTwoManagers", "two managers that copy at once do not spoil each other's copy", testImageTwoManagers},
	})
}

func hold(t *testing.T, lab Lab, laws []law) {
	t.Helper()
	for _, l := range laws {
		t.Run(l.name, func(t *testing.T) {
			t.Log("why: " + l.why)
			before := lab.Inventory(t)
			l.test(t, lab)
			if !t.Failed() {
				sameInventory(t, "after the test", before, lab.Inventory(t))
			}
		})
	}
}
