// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Command probe shows from inside a pod what the cluster's network can do. It is preloaded in Ingot OS as
// ingot.local/probe, so that tests and people need no other image for that.
//
//	probe serve            answer HTTP on :8080 with the pod's and the node's name
//	probe get URL...       exit 0 when each URL has answered 200 within the time limit, else 1 with the last error
//	probe read-only DIR... exit 0 when a file can be created in none of the folders because they are read-only
//
// The CA of the pod's service account is trusted beside the system's, so https://kubernetes.default.svc/livez works.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// serviceAccountCA is where the kubelet mounts the CA of the API server into a pod.
const serviceAccountCA = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"

func main() {
	limit := flag.Duration("for", 2*time.Minute, "how long to repeat a URL that does not answer")
	listen := flag.String("listen", ":8080", "address to serve on")
	flag.Parse()
	if err := run(flag.Args(), *listen, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string, listen string, limit time.Duration) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		return serve(listen)
	case len(args) > 1 && args[0] == "get":
		for _, url := range args[1:] {
			if err := await(url, limit); err != nil {
				return err
			}
		}
		return nil
	case len(args) > 1 && args[0] == "read-only":
		return readOnly(args[1:])
	default:
		return errors.New("say `probe serve`, `probe get URL...` or `probe read-only DIR...`")
	}
}

// serve answers until the process is ended. NODE_NAME comes from the pod's downward API.
func serve(listen string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	server := &http.Server{Addr: listen, ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, "pod %s on node %s\n", host, os.Getenv("NODE_NAME"))
		})}
	return server.ListenAndServe()
}

// readOnly tries to create a file in each folder. Only "read-only file system" is the right answer: a missing folder or
// permission proves nothing.
func readOnly(folders []string) error {
	for _, folder := range folders {
		path := filepath.Join(folder, "probe-was-here")
		file, err := os.Create(path)
		if err == nil {
			return errors.Join(fmt.Errorf("%s: a file could be created", folder), file.Close(), os.Remove(path))
		}
		if !errors.Is(err, syscall.EROFS) {
			return fmt.Errorf("%s: %w, which does not show that it is read-only", folder, err)
		}
		fmt.Printf("%s: %v\n", folder, syscall.EROFS)
	}
	return nil
}

// await asks url once a second until it answers 200 or the time is over, and prints the answer.
func await(url string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	client, err := newClient()
	if err != nil {
		return err
	}
	for {
		body, err := get(ctx, client, url)
		if err == nil {
			fmt.Printf("%s: %s\n", url, body)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer within %s: %w", limit, err)
		case <-time.After(time.Second):
		}
	}
}

func newClient() (*http.Client, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if pem, err := os.ReadFile(serviceAccountCA); err == nil && !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in " + serviceAccountCA)
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, // each try resolves the name and connects anew
	}}, nil
}

func get(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return string(body), nil
}
