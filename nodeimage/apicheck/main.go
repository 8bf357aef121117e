// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Command apicheck exits 0 when the API server on this node answers /livez, and 1 otherwise. In the node image
// keepalived runs it every few seconds to decide which control-plane node should hold the virtual IP.
//
// It trusts the cluster's CA and nothing else, and sends no credentials. It never decides anything: weights and
// thresholds belong to keepalived's configuration.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	url := flag.String("url", "https://127.0.0.1:6443/livez", "address that must answer 200")
	ca := flag.String("ca", "/etc/kubernetes/pki/ca.crt", "PEM file with the CA of the API server")
	timeout := flag.Duration("timeout", 4*time.Second, "how long an answer may take")
	flag.Parse()

	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if err := check(ctx, *url, *ca); err != nil {
		fmt.Fprintln(os.Stderr, "apicheck:", err)
		os.Exit(1)
	}
}

// serverName is in the certificate of every API server that follows the Kubernetes conventions; its loopback address
// is not.
const serverName = "kubernetes"

// check asks url once. The certificate must come from the CA in caFile and be one of an API server.
func check(ctx context.Context, url, caFile string) error {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return fmt.Errorf("no CA yet: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return errors.New("no certificate in " + caFile)
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, ServerName: serverName, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("address: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}
