// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Kind is the type of a message.
type Kind uint32

// The types of messages. Clients send calls and, while a stream is open, parts of it.
const (
	Call   Kind = 0
	Reply  Kind = 1
	Stream Kind = 3
)

const (
	// HeaderLen is the length of a message without payload.
	HeaderLen = 28
	// statusOK is the status of the last part of a stream.
	statusOK = 0
	// longest is more than any message of libvirt has.
	longest = 64 << 20
)

// Message is one message from the client.
type Message struct {
	Kind      Kind
	Procedure Procedure
	// Ends is whether it is the last part of a stream, which libvirtd answers.
	Ends bool
	// Bytes is the whole message.
	Bytes []byte

	serial uint32
}

// String says what the message asks for.
func (m Message) String() string {
	switch {
	case m.Kind == Call:
		return m.Procedure.String()
	case m.Ends:
		return m.Procedure.String() + " (end of data)"
	default:
		return m.Procedure.String() + " (data)"
	}
}

// answered is whether libvirtd answers the message.
func (m Message) answered() bool { return m.Kind == Call || m.Ends }

func parse(message []byte) Message {
	field := func(i int) uint32 { return binary.BigEndian.Uint32(message[4*i:]) }
	m := Message{Procedure: Procedure(field(3)), Kind: Kind(field(4)), serial: field(5), Bytes: message}
	m.Ends = m.Kind == Stream && field(6) == statusOK
	return m
}

// readMessage reads one message with its length.
func readMessage(from io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size < HeaderLen || size > longest {
		return nil, fmt.Errorf("a message of %d bytes is none of libvirt's", size)
	}
	message := make([]byte, size)
	copy(message, length[:])
	_, err := io.ReadFull(from, message[4:])
	return message, err
}
