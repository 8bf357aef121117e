// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wire stands between a client of libvirt and libvirtd. It understands just enough of libvirt's protocol to show
// each message to a test before it passes it on, to cut the wire at a message of the test's choice, to cut it altogether,
// and to freeze it. It knows neither the adapter nor what the messages hold. Only tests import it.
package wire
