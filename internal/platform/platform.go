// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package platform is the port to the places where instances live. It holds the contract that every adapter keeps, the
// values that cross it and the errors that it may return. Adapters live in folders below it; the suite that proves that
// they keep the contract lives in platformtest. No vendor type appears here, and nothing here knows an OS family, a
// Kubernetes client or a condition.
//
// Laws that hold for every method:
//   - It may be called again at any time, also after a crash at any point of an earlier call, and never makes a second
//     instance, volume or image for the same identity.
//   - It never waits for a guest or a copy: it takes at most one bounded round of calls and returns. Progress is told by
//     an Event and seen by calling again.
//   - It honours the context's deadline. A call whose outcome is not known returns an error that wraps ErrUnreachable;
//     "could not tell" is never "not there".
//   - It changes and destroys only what carries the identity's owner token; anything else returns ErrForeign.
//   - With an error the observation is zero: nothing is known. An error that wraps none of the errors of this package is
//     the endpoint's own refusal, in its own words; retrying later may help. A malformed identity is ErrInvalid.
//   - Every change of an instance's existence or power that this session can see is told by an Event, also a change that
//     somebody else made. Whatever may have been missed while there was no connection is covered by one Session event.
//   - A storage that does not exist holds nothing, so that a machine with a mistyped storage can be deleted. A storage
//     that exists and cannot be read is ErrUnreachable.
package platform

import (
	"context"
	"net/netip"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
)

// Platform is one session with one endpoint. It is safe for concurrent use.
type Platform interface {
	// Ensure makes the instance of req exist and run, one step further with each call, and returns what is there now.
	// An instance that exists and was started once is never changed, and never started again by Ensure: a stopped instance is
	// an observation for its owner to judge. The image must be Ready on the storage, else ErrImageNotReady.
	// Errors: ErrForeign, ErrInvalid, ErrUnsupported, ErrCapacity, ErrImageNotReady, ErrUnreachable.
	Ensure(ctx context.Context, req Request) (Observation, error)

	// Observe looks at the instance and changes nothing. Existence is Absent only when the endpoint was asked and has
	// neither an instance nor a volume of the identity, and nothing is under way there that may still make one: while
	// something is, it is Unknown, and Detail says what.
	// Errors: ErrForeign, ErrUnreachable.
	Observe(ctx context.Context, id Identity) (Observation, error)

	// Release removes the instance and everything that was made for it (disks, bootstrap carriers, firmware and TPM state,
	// address reservations, console log), one step further with each call, and returns what is still there. A guest that
	// runs is asked to shut down and left alone until req.ForceAfter; then, or when that is zero, it is switched off. Absent
	// means that nothing is left; the caller looks a second time before it believes it. The image is never touched.
	// Errors: ErrForeign, ErrUnreachable.
	Release(ctx context.Context, req ReleaseRequest) (Observation, error)

	// EnsureImage makes the artefact exist on a storage, verified. The copy runs in the background of the session, at
	// most once at a time for the same image; each call returns how far it is. An image is Ready only after every byte
	// was written and the digest of what was read from the source matched. A failed copy is reported by exactly one
	// call and leaves nothing that could be taken for an image; the next call starts anew.
	// Errors: ErrDigestMismatch, ErrSource, ErrInvalid, ErrUnsupported, ErrCapacity, ErrUnreachable.
	EnsureImage(ctx context.Context, req ImageRequest) (ImageObservation, error)

	// ReleaseImage removes a copy. It returns ErrInUse while a disk depends on it, and nil when nothing is left of it.
	// Errors: ErrInUse, ErrUnreachable.
	ReleaseImage(ctx context.Context, id ImageIdentity) error
}

// BootstrapScrubber is the capability to remove bootstrap data from the platform after the node has joined.
type BootstrapScrubber interface {
	// ScrubBootstrap removes the carrier of the bootstrap data and every reference to it. Observation.BootstrapPresent
	// is false afterwards. Safe to call when nothing is left.
	// Errors: ErrForeign, ErrUnreachable.
	ScrubBootstrap(ctx context.Context, id Identity) error
}

// PowerCycler is the capability to switch off an instance whose guest hangs, and on again. It has two halves, so that whoever
// writes down before each of them which one it is at has done both once, whenever it was killed: a half that is done already
// does nothing. Disks, addresses and bootstrap data stay as they are. What was never started, or is not there, is
// left alone by both.
type PowerCycler interface {
	// SwitchOff switches off an instance that runs, without asking its guest, and returns what is there now: it may take
	// another call until that is off.
	// Errors: ErrForeign, ErrUnreachable.
	SwitchOff(ctx context.Context, id Identity) (Observation, error)

	// SwitchOn starts an instance that was started before and is off, and returns what is there now: it may take another call
	// until that runs. Nothing else starts an instance a second time.
	// Errors: ErrForeign, ErrUnreachable.
	SwitchOn(ctx context.Context, id Identity) (Observation, error)
}

// ConsoleReader is the capability to read what an instance wrote to its serial console.
type ConsoleReader interface {
	// ReadConsole returns the last maxBytes of the console log, or fewer if there are fewer; nothing when there is no log. It
	// can hold whatever the guest printed: treat it as secret.
	// Errors: ErrForeign, ErrUnreachable.
	ReadConsole(ctx context.Context, id Identity, maxBytes int64) ([]byte, error)
}

// Separator is the capability to keep instances of a group on different hosts. An instance is of the group that its Request
// names. What Release removes leaves its group, and a group that keeps nothing apart any more leaves nothing behind.
type Separator interface {
	// KeepApart has the platform keep an instance and others of its group, which may exist or not, on different hosts, as far as
	// they share hosts. It returns once that holds, and changes nothing where it holds already. Others that are not of the group
	// are left out. Whoever is made later says so itself.
	// Errors: ErrForeign, ErrInvalid, ErrUnsupported, ErrUnreachable.
	KeepApart(ctx context.Context, id Identity, others []Identity) error
}

// StorageChooser is the capability to choose where the disks of an instance lie by a policy of the storage.
type StorageChooser interface {
	// ChooseStorage returns the storage for an instance, as in Identity: the one with the most room among those that the policy
	// allows and that every working host has behind the resource pool, or of the group that is required. It changes nothing, and
	// another call may return another: whoever asks writes the answer down before anything is made. Of many that ask for the
	// same within a minute, all get the same answer, and the endpoint is asked once.
	// Errors: ErrInvalid, ErrUnsupported, ErrCapacity, ErrUnreachable.
	ChooseStorage(ctx context.Context, wish StorageWish) (storage string, err error)
}

// StorageWish is what the storage of an instance must be like.
type StorageWish struct {
	// Datacenter and ResourcePool are where the instance is to run.
	Datacenter, ResourcePool string
	// Policy is the policy that the storage must be able to keep, as in Request.StoragePolicy.
	Policy string
	// HostGroup is the group of hosts that it is to run on, as in Request.
	HostGroup HostGroup
}

// Inventory is the capability to list what is ours on an endpoint, so that what belongs to nobody can be found.
type Inventory interface {
	// List returns everything that carries the owner token of the management cluster, one entry per identity and storage,
	// whole or in part, in a stable order. It is complete or an error: a storage that exists and cannot be read is
	// ErrUnreachable. It costs a bounded number of calls, whatever the number of instances.
	// Errors: ErrUnreachable.
	List(ctx context.Context, managementClusterID string) ([]Owned, error)
}

// CapacityReporter is the capability to tell how much an endpoint has.
type CapacityReporter interface {
	// Capacity returns what the endpoint has, used or not.
	// Errors: ErrUnreachable.
	Capacity(ctx context.Context) (Capacity, error)
}

// PrivilegeReporter is the capability to tell what the account of the session lacks.
type PrivilegeReporter interface {
	// Privileges returns which privileges the account lacks that are needed for what is used. It changes nothing.
	// Errors: ErrUnreachable.
	Privileges(ctx context.Context, used Uses) (Privileges, error)
}

// Uses is what machines use on an endpoint.
type Uses struct {
	// Places are where machines are put.
	Places []Place
	// Sources are where the images come from that machines may be made from, as in ImageRequest. One that is not on the
	// endpoint is no trouble.
	Sources []string
	// Images are where images are put, on platforms where that is chosen.
	Images []ImagePlace
}

// ImagePlace is where in a datacenter images are put, as in ImageRequest.
type ImagePlace struct {
	Datacenter, Folder string
	ResourcePools      []string
}

// Place is where inside an endpoint machines are put, as in Request.
type Place struct {
	Storage, Folder, ResourcePool string
	Networks                      []string
	// HostGroup is the name of the group of hosts.
	HostGroup string
}

// Privileges is what an account lacks, as far as it could be asked.
type Privileges struct {
	// Account is the name of the account, as the endpoint knows it.
	Account string
	// Missing are the privileges that are missing, in a stable order.
	Missing []MissingPrivilege
	// Unasked says of each thing that could not be asked about what it is and why, for people. Nothing is known of those.
	Unasked []string
}

// MissingPrivilege is a privilege that an account lacks on something.
type MissingPrivilege struct {
	// Privilege is its name in the words of the platform, and On what it is missing on.
	Privilege, On string
	// For says what it is needed for. Optional is whether machines that do not ask for that are made without it.
	For      string
	Optional bool
}

// Owned is something on an endpoint that is ours.
type Owned struct {
	Identity
	// Name is what the platform calls it, for people; empty when only volumes are left.
	Name string
	// Power is whether it runs.
	Power Power
}

// Capacity is what an endpoint has.
type Capacity struct {
	// CPUs is the number of CPUs that the host runs guests on.
	CPUs int32
	// MemoryBytes is the memory of the host.
	MemoryBytes int64
}

// Identity names one instance for ever. It is chosen before the first call and written to the API first.
type Identity struct {
	// UUID is the machine's uuid in lower case. It is also the instance's SMBIOS system UUID.
	UUID string
	// ManagementClusterID is the other half of the owner token: only objects that carry both are ours.
	ManagementClusterID string
	// Storage is where the instance's disks are: a libvirt storage pool, or DATACENTER/DATASTORE of vSphere.
	Storage string
	// SeenIn is the place inside the endpoint where the instance is on record to have been, on platforms that can hide such
	// places from a session: a folder of vSphere, "/" for the datacenter's own. While the session does not see it, nothing that
	// was not found is Absent. Empty means that there is no such record.
	SeenIn string `json:",omitempty"`
}

// Request describes one instance.
type Request struct {
	Identity
	// Name is shown to people. It need not be unique and is never used to find anything.
	Name string
	// NameOnPlatform is what the platform calls the instance, where its owner chooses that; empty leaves it to the platform. The
	// same instance always has the same. It is never used to find anything either, but may be one that something else has.
	NameOnPlatform string `json:",omitempty"`
	// ImageSHA256 is the digest of the artefact that the root disk is cloned from.
	ImageSHA256 string
	// FullClone makes the root disk a copy of the image, where the platform knows that beside a layer over it. Neither is
	// ever made in place of the other.
	FullClone bool `json:",omitempty"`
	// Folder and ResourcePool are where the instance is put, on platforms that have such places inside an endpoint.
	Folder, ResourcePool string `json:",omitempty"`
	// Group is the group of instances that are to be kept on different hosts, on platforms with a Separator; empty means none.
	// It is the same for all of a group, and nobody else's.
	Group string `json:",omitempty"`
	// HostGroup is the group of hosts that the instance is bound to before it first starts, on platforms that have such; the zero
	// value means any host. What Release removes leaves nothing of that behind.
	HostGroup HostGroup `json:",omitzero"`
	// StoragePolicy is the policy of the storage for everything of the instance, on platforms that have policies beside the
	// storage itself; empty means the storage's own.
	StoragePolicy string `json:",omitempty"`
	// CPUs is the number of virtual CPUs.
	CPUs int32
	// MemoryBytes is the amount of memory.
	MemoryBytes int64
	// ReservedCPUMHz and ReservedMemoryBytes are what the host keeps for the instance alone, on platforms that can. 0 means
	// nothing, whatever the image says.
	ReservedCPUMHz, ReservedMemoryBytes int64 `json:",omitempty"`
	// RootDiskBytes is the size of the root disk that the guest sees; 0 means the size of the image.
	RootDiskBytes int64
	// Disks are further, empty disks, in order.
	Disks []Disk
	// Interfaces are the network interfaces, in order.
	Interfaces []Interface
	// Tags are put on the instance before it first starts, on platforms that have tags. They must exist there.
	Tags []Tag `json:",omitempty"`
	// HardwareVersion is the least version of the virtual hardware, on platforms that number it; 0 means that of the image.
	HardwareVersion int32 `json:",omitempty"`
	// Firmware is the firmware interface.
	Firmware Firmware
	// SecureBoot lets the firmware start only what is signed by a key that the platform enrols by default.
	SecureBoot bool
	// VirtualTPM adds a TPM 2.0.
	VirtualTPM bool
	// DedicatedCPUs pins each virtual CPU to a CPU of the host that no other instance with dedicated CPUs uses.
	DedicatedCPUs bool
	// HugePageBytes backs the memory with huge pages of this size; 0 means ordinary pages.
	HugePageBytes int64
	// SingleNUMANode takes CPUs and memory from one NUMA node of the host.
	SingleNUMANode bool
	// PCIDevices are devices of the host that are handed to the instance.
	PCIDevices []PCIDevice
	// VirtualGPUs are the profiles of parts of the host's GPUs that the instance gets, one for each, on platforms that have such.
	VirtualGPUs []string `json:",omitempty"`
	// Bootstrap is the data for the first boot.
	Bootstrap Bootstrap
}

// HostGroup is a group of hosts that instances are bound to.
type HostGroup struct {
	// Name is what the platform calls the group. It must exist there.
	Name string
	// Required never runs the instance on another host; otherwise it may run there while those of the group are full or gone.
	Required bool
}

// Tag is a word that people put on what they want to find or treat alike.
type Tag struct {
	// Category is what the tag is one of.
	Category string
	// Name is the tag.
	Name string
}

// Disk is an empty disk.
type Disk struct {
	// Name is the serial number that the guest sees, at most 20 of a-z, 0-9 and -.
	Name string
	// Bytes is the size that the guest sees.
	Bytes int64
}

// Interface is a network interface.
type Interface struct {
	// Network is the name of the network on the endpoint.
	Network string
	// MTU is the largest packet in bytes; 0 means what the network has.
	MTU int32
	// Addresses are the static addresses of the interface. They are delivered in whatever way reaches the guest: the
	// network's own reservation, or the bootstrap carrier. Where neither works, Ensure returns ErrUnsupported.
	Addresses []Address
}

// Address is a static address.
type Address struct {
	// Prefix is the address with the length of its network's prefix.
	Prefix netip.Prefix
	// Gateway is the default gateway; the zero value means none.
	Gateway netip.Addr
}

// PCIDevice selects devices of the host by what they are.
type PCIDevice struct {
	// VendorID and DeviceID are four hexadecimal digits each.
	VendorID, DeviceID string
	// Count is how many such devices.
	Count int32
}

// ReleaseRequest says which instance is to go, and how.
type ReleaseRequest struct {
	Identity
	// ForceAfter is until when a running guest may take to shut down; the zero time switches it off at once.
	ForceAfter time.Time
}

// Bootstrap is the data for the first boot and how it may be delivered. It is secret.
type Bootstrap struct {
	// Data is the data in the format that the guest reads.
	Data []byte
	// Channels are the channels that the guest reads, best first. The platform uses the first that it implements.
	Channels []delivery.Channel
}

// Firmware is a firmware interface.
type Firmware string

const (
	// FirmwareUEFI boots through the EFI system partition.
	FirmwareUEFI Firmware = "UEFI"
	// FirmwareBIOS boots through the master boot record.
	FirmwareBIOS Firmware = "BIOS"
)

// Existence is whether something is there. The zero value is Unknown, so that a forgotten value destroys nothing.
type Existence int

const (
	// Unknown means that it could not be told.
	Unknown Existence = iota
	// Exists means that it was seen, whole or in part.
	Exists
	// Absent means that it was looked for by a session that can see, and is not there.
	Absent
)

// String returns the name of the value.
func (e Existence) String() string {
	switch e {
	case Exists:
		return "Exists"
	case Absent:
		return "Absent"
	default:
		return "Unknown"
	}
}

// Power is whether an instance runs.
type Power int

const (
	// PowerUnknown means that it could not be told, or that there is no complete instance.
	PowerUnknown Power = iota
	// PowerOn is a running instance.
	PowerOn
	// PowerOff is an instance that does not run.
	PowerOff
)

// Observation is what is there of an instance.
type Observation struct {
	// Existence is whether anything of the instance is there.
	Existence Existence
	// Started is whether the instance was ever started.
	Started bool
	// Power is whether the instance runs.
	Power Power
	// Addresses are IP addresses of the instance, the first interface's first.
	Addresses []string
	// BootstrapPresent is whether bootstrap data is still kept on the platform.
	BootstrapPresent bool
	// ConsoleLog is where the console log is on the endpoint, for people; empty if there is none.
	ConsoleLog string
	// Detail says in a few words what is going on, for people.
	Detail string
	// UntilEvent is whether all of this stays as it is until an Event tells otherwise: the addresses too, and what the platform
	// does by itself. Without it that holds for existence and power alone, and who waits for more must look again.
	UntilEvent bool
}

// ImageIdentity names one copy of one artefact.
type ImageIdentity struct {
	// SHA256 is the digest of the artefact at its source, in lower-case hexadecimal.
	SHA256 string
	// Storage is where the copy is, named as in Identity.
	Storage string
	// Folder is where inside the endpoint the copy is made of a file, on platforms that have such places and can hide them from a
	// session; empty means the platform's own. It is no part of what the copy is: one that is elsewhere is the copy, too. While the
	// session does not see it, a copy that was not found is not gone. The same copy always has the same.
	Folder string `json:",omitempty"`
}

// ImageRequest describes one copy.
type ImageRequest struct {
	ImageIdentity
	// Source is the URL of the artefact.
	Source string
	// Format is the format of the disk after decompression, for example qcow2; or template, for an artefact that is an
	// instance on the endpoint already.
	Format string
	// Compression is how the file is compressed: None, gzip, zstd, xz or bzip2.
	Compression string
	// SizeBytes is the size of the file at its source.
	SizeBytes int64
	// ResourcePools are what the copy may be made in, on platforms that have such places: the first one is used that has the
	// storage. None means the platform's own.
	ResourcePools []string `json:",omitempty"`
}

// ImageObservation is how far a copy is.
type ImageObservation struct {
	// Ready is whether the copy is complete and verified.
	Ready bool
	// BytesDone is how much was read from the source, of ImageRequest.SizeBytes.
	BytesDone int64
	// ExternalID is the platform's own reference to the copy, once there is one.
	ExternalID string
	// StoredBytes is how much room the copy takes on the storage, once it is Ready.
	StoredBytes int64
}

// Event says that something may have changed. It is a hint to look, never a fact.
type Event struct {
	// UUID is the identity of the instance; empty when the event is not about an instance.
	UUID string
	// ImageSHA256 is the digest of the image; empty when the event is not about an image.
	ImageSHA256 string
	// Session is true when the session itself changed (connected, lost): everything on the endpoint may have changed.
	Session bool
}
