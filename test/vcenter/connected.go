// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"testing"
	"time"
)

// patience is how long a session may take to log in. Where the machine has other work, seconds are nothing.
const patience = 2 * time.Minute

// Connected waits until a session answers. Whoever asks it before is refused after two seconds, which a login takes where the
// machine has other work.
func Connected(tb testing.TB, session interface {
	Check(ctx context.Context) (version string, err error)
},
) {
	tb.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		_, err := session.Check(tb.Context())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("the session does not connect: %v", err)
		}
	}
}
