// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"net/http"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/option"
)

func openGS(ctx context.Context, l Location, a address, transport *http.Transport) (*blob.Bucket, error) {
	// Tokens are asked for in the background of a Store, longer than it takes to open it.
	ctx = context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, &http.Client{Transport: transport})
	identity, err := gsIdentity(ctx, l)
	if err != nil {
		return nil, err
	}
	options := []option.ClientOption{option.WithHTTPClient(&http.Client{Transport: &oauth2.Transport{Source: identity.TokenSource, Base: transport}})}
	if endpoint := a.query["endpoint"]; endpoint != "" {
		options = append(options, option.WithEndpoint(endpoint+"/storage/v1/"), storage.WithJSONReads())
	}
	client, err := storage.NewClient(ctx, options...)
	if err != nil {
		return nil, err
	}
	return gcsblob.OpenBucket(ctx, nil, a.bucket, &gcsblob.Options{Client: client})
}

// gsIdentity is the service account of the Location, or that of this process. Nothing but a key of a service account is
// taken: other kinds name addresses and programs to get their tokens from.
func gsIdentity(ctx context.Context, l Location) (*google.Credentials, error) {
	if l.Credentials == nil {
		return google.FindDefaultCredentials(ctx, storage.ScopeReadWrite)
	}
	if err := l.needs(ServiceAccountJSON); err != nil {
		return nil, err
	}
	identity, err := google.CredentialsFromJSONWithType(ctx, l.Credentials[ServiceAccountJSON], google.ServiceAccount, storage.ScopeReadWrite)
	if err != nil {
		return nil, fmt.Errorf("the credentials' %s is no key of a service account: %w", ServiceAccountJSON, err)
	}
	return identity, nil
}
