// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package setup

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"k8s.io/component-base/logs"
)

const (
	// mostVerbose is the highest verbosity of the log. From 8 on, client-go writes what it sends and receives.
	mostVerbose = 7
	// verbosityPath is where Cluster API's diagnostics endpoint sets the verbosity while the manager runs.
	verbosityPath = "/debug/flags/v"
)

// checkVerbosity says why a verbosity cannot be had, or nil. A log is read by more people than Secrets are.
func checkVerbosity(verbosity string) error {
	value, err := strconv.ParseUint(verbosity, 10, 31)
	if err != nil {
		return fmt.Errorf("verbosity %q is not a number between 0 and %d", verbosity, mostVerbose)
	}
	if value > mostVerbose {
		return fmt.Errorf("verbosity %d would write the bodies of requests and answers into the log, and with them Secrets: use at most %d", value, mostVerbose)
	}
	return nil
}

// setVerbosity sets the verbosity of this process.
func setVerbosity(verbosity int) error {
	value := strconv.Itoa(verbosity)
	if err := checkVerbosity(value); err != nil {
		return err
	}
	_, err := logs.GlogSetter(value)
	return err
}

// capped lets a handler that sets the verbosity set none that writes Secrets.
func capped(set http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64))
		if err == nil && r.Method == http.MethodPut {
			err = checkVerbosity(string(body))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		set.ServeHTTP(w, r)
	})
}
