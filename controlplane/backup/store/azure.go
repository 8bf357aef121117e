// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
)

func openAzure(ctx context.Context, l Location, a address, transport *http.Transport) (*blob.Bucket, error) {
	client, err := azureClient(l, a, &container.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: &http.Client{Transport: transport}}})
	if err != nil {
		return nil, err
	}
	return azureblob.OpenBucket(ctx, client, nil)
}

func azureClient(l Location, a address, options *container.ClientOptions) (*container.Client, error) {
	account := cmp.Or(l.text(AccountName), a.query["account"])
	if account == "" {
		return nil, fmt.Errorf("no account is named: the credentials need %s, or the URL ?account=", AccountName)
	}
	if strings.ContainsAny(account, "/.:@?#") {
		return nil, errors.New("the name of the account is none")
	}
	where := strings.TrimSuffix(cmp.Or(a.query["endpoint"], "https://"+account+".blob.core.windows.net"), "/") + "/" + a.bucket
	key, token := l.text(AccountKey), strings.TrimPrefix(l.text(SASToken), "?")
	switch {
	case l.Credentials == nil:
		identity, err := azidentity.NewDefaultAzureCredential(nil)
		if err != nil {
			return nil, err
		}
		return container.NewClient(where, identity, options)
	case key != "" && token != "", key == "" && token == "":
		return nil, fmt.Errorf("the credentials must hold %s or %s, and not both", AccountKey, SASToken)
	case token != "":
		return container.NewClientWithNoCredential(where+"?"+token, options)
	default:
		shared, err := container.NewSharedKeyCredential(account, key)
		if err != nil {
			return nil, fmt.Errorf("the credentials' %s is none: %w", AccountKey, err)
		}
		return container.NewClientWithSharedKeyCredential(where, shared, options)
	}
}
