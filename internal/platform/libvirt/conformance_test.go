// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/platformtest"
)

// TestConformance is there because the port's law is worth nothing unless a real host keeps it. Like TestRealHost it needs
// root and the packages that its failure names.
func TestConformance(t *testing.T) {
	t.Parallel()
	platformtest.Run(t, newLab(t))
}

// TestRealHost runs everything else that needs a host against one private libvirtd with real QEMU, since starting one
// costs ten seconds.
func TestRealHost(t *testing.T) {
	t.Parallel()
	small := smallFileSystem(t) // before libvirtd, which keeps the mounts of its start
	l := newLab(t)
	for _, c := range []struct {
		name string
		why  string
		test func(*testing.T, *lab)
	}{
		{"Scrub", "after the join no secret may be left in libvirt or in the pool", testScrub},
		{"EjectedByHand", "a person may have begun what the scrub does", testEjectedByHand},
		{"SMBIOSRoom", "what is let through must start, and what cannot start must be refused", testSMBIOSRoom},
		{"CarriedAddress", "libvirt cannot reserve everything, and what it cannot the guest must be told", testCarriedAddress},
		{"ReservedElsewhere", "dnsmasq gives a guest another address without a word when its own is taken", testReservedElsewhere},
		{"ReservationGoes", "networks change while machines live, and what is somebody else's stays", testReservationGoes},
		{"ShutDownInTime", "a guest has the time that it was given, and no more", testShutDownInTime},
		{"Held", "a guest that cannot hear is not waited for", testHeld},
		{"Probe", "only the guest knows what has reached it", testProbe},
		{"QCOW2", "the size of the disk is in the image, and an image that reads other files is a way into the host", testQCOW2},
		{"NothingLeft", "what libvirt and its helpers make beside our volumes belongs to the instance too", testNothingLeft},
		{"NameTaken", "a person may own a domain with the name that ours would get", testNameTaken},
		{"VolumeTaken", "a copy of the management cluster may have begun the same machine", testVolumeTaken},
		{"PoolInactive", "after a reboot a pool without autostart shows nothing, which is not the same as being empty", testPoolInactive},
		{"PowerLoss", "libvirt does not flush what it stores: a host can come back with half an image", testPowerLoss},
		{"Leftovers", "a manager that was killed while it copied leaves volumes that nobody asks for again", testLeftovers},
		{"ClosedWhileCopying", "a manager that is updated ends in the middle of a copy", testClosedWhileCopying},
		{"Progress", "a person wants to see that a long copy moves", testProgress},
		{"FullPool", "a pool that fills up while an image is written says so, and gets its space back", func(t *testing.T, l *lab) {
			t.Helper()
			testFullPool(t, l, small)
		}},
		{"NearlyFull", "a machine whose disks cannot even begin is refused before it is half made", func(t *testing.T, l *lab) {
			t.Helper()
			testNearlyFull(t, l, small)
		}},
		{"TrustedBoot", "the state of a TPM and of a firmware are secrets of a machine that has gone", testTrustedBoot},
		{"HandMade", "people attach disks and make snapshots; theirs stay and ours go", testHandMade},
		{"ManyDevices", "what the API allows must fit on a machine's buses", testManyDevices},
		{"DedicatedCPUs", "a CPU that two machines have is dedicated to neither", testDedicatedCPUs},
		{"HugePages", "pages that are not there are not replaced by ordinary ones", testHugePages},
		{"NUMA", "a machine of one node is on one node", testNUMA},
		{"ProbeHardware", "only the guest knows what it has got", testProbeHardware},
		{"HostDevice", "what the host cannot part with is refused", testHostDevice},
		{"Addresses", "the node's address is known before its agent answers", testAddresses},
		{"Events", "reconciles are driven by events", testEvents},
		{"Frozen", "a libvirtd that hangs holds nobody", testFrozen},
		{"StuckBeforeFirstRun", "libvirt can wait for a QEMU for ever, and no machine may wait with it", testStuckBeforeFirstRun},
		{"FrozenWhileCopying", "nor does it hold a copy, and what it took is swept later", testFrozenWhileCopying},
		{"Transports", "most hosts are not the manager's own", testTransports},
		{"RefusedCredentials", "who put a wrong key into the Secret must learn which", testRefusedCredentials},
		{"Rotation", "certificates end while machines run", testRotation},
		{"Console", "the console is often all that tells why a node did not come up", testConsole},
		{"Inventory", "what belongs to nobody is found by listing, whole or in part", testInventory},
		{"InventoryCost", "hundreds of machines are listed with the calls for one", testInventoryCost},
		{"Calls", "who looks after a fleet counts what is asked of its hosts", testCalls},
		{"Capacity", "machines are placed by what hosts have", testCapacity},
		{"EventsByHand", "people change machines too", testEventsByHand},
		{"HangingEndpoints", "one bad host must not stop the others", testHangingEndpoints},
		{"FrozenHoldsNobody", "nor may one that was good until now", testFrozenHoldsNobody},
		{"Restart", "libvirtd is restarted by every package update", testRestart},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Log("why: " + c.why)
			c.test(t, l)
		})
	}
}
