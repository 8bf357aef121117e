// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformtest

import (
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// through returns the request with its data on one kind of channel. A channel that the platform does not know comes first.
func through(req platform.Request, kind delivery.Kind) platform.Request {
	channel := delivery.Channel{Kind: kind}
	switch kind {
	case delivery.FWCfg:
		channel.Key = "opt/com.coreos/config"
	case delivery.SMBIOS:
		channel.Key = "io.systemd.credential.binary:conformance"
	case delivery.GuestInfo:
		channel.Key, channel.EncodingKey, channel.MetadataKey = "guestinfo.userdata", "guestinfo.userdata.encoding", "guestinfo.metadata"
		channel.Encoding = delivery.GzipBase64
	default: // a file system has no key
	}
	req.Bootstrap.Channels = []delivery.Channel{{Kind: "unheard-of", Key: "x"}, channel}
	return req
}

func testChannels(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	for _, kind := range lab.Channels() {
		t.Run(string(kind), func(t *testing.T) {
			req := through(newRequest(lab, image), kind)
			if o := run(t, p, req); !o.BootstrapPresent {
				t.Errorf("started without bootstrap data: %+v", o)
			}
			if scrubber, ok := p.(platform.BootstrapScrubber); ok {
				scrubs(t, lab, p, scrubber, req)
			}
			gone(t, p, req.Identity)
		})
	}
	dropImage(t, p, image)
}

func scrubs(t *testing.T, lab Lab, p platform.Platform, scrubber platform.BootstrapScrubber, req platform.Request) {
	t.Helper()
	var scrubbed []string
	for i := range 2 {
		if err := scrubber.ScrubBootstrap(within(t), req.Identity); err != nil {
			t.Fatalf("ScrubBootstrap: %v", err)
		}
		if o := observe(t, p, req.Identity); o.BootstrapPresent || o.Power != platform.PowerOn {
			t.Errorf("after the scrub: %+v, want a running instance without bootstrap data", o)
		}
		if i == 0 {
			scrubbed = lab.Inventory(t)
		}
	}
	if o := run(t, p, req); o.BootstrapPresent {
		t.Error("Ensure brought the bootstrap data back")
	}
	sameInventory(t, "after what was scrubbed was scrubbed and ensured again", scrubbed, lab.Inventory(t))
	lab.PowerOff(t, req.UUID)
	if err := scrubber.ScrubBootstrap(within(t), req.Identity); err != nil {
		t.Errorf("ScrubBootstrap of a stopped instance: %v", err)
	}
	if o := observe(t, p, req.Identity); o.BootstrapPresent || o.Power != platform.PowerOff {
		t.Errorf("after the scrub of a stopped instance: %+v", o)
	}
}
