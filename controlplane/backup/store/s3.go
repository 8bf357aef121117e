// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"context"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
)

// defaultRegion is what servers that know no regions take for theirs.
const defaultRegion = "us-east-1"

func openS3(ctx context.Context, l Location, a address, transport *http.Transport) (*blob.Bucket, error) {
	configuration, err := s3Config(ctx, l, a)
	if err != nil {
		return nil, err
	}
	configuration.HTTPClient = &http.Client{Transport: transport}
	client := s3.NewFromConfig(configuration, func(o *s3.Options) {
		o.UsePathStyle = a.query["pathStyle"] == "true"
		if endpoint := a.query["endpoint"]; endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
			o.APIOptions = append(o.APIOptions, withoutTrailers)
		}
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	return s3blob.OpenBucket(ctx, client, a.bucket, nil)
}

// withoutTrailers sends bodies as they are. S3 takes a checksum behind the body, in an encoding that many servers which are
// compatible with it do not know; some store the encoding as if it were the file. Bodies are signed, and manifests have sums.
func withoutTrailers(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("IngotWithoutTrailers",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			switch request := in.Parameters.(type) {
			case *s3.PutObjectInput:
				request.ChecksumAlgorithm = ""
			case *s3.CreateMultipartUploadInput:
				request.ChecksumAlgorithm, request.ChecksumType = "", ""
			case *s3.UploadPartInput:
				request.ChecksumAlgorithm = ""
			case *s3.CompleteMultipartUploadInput:
				request.ChecksumType = ""
			}
			return next.HandleInitialize(ctx, in)
		}), middleware.Before)
}

// s3Config holds the credentials of the Location, or those of this process.
func s3Config(ctx context.Context, l Location, a address) (aws.Config, error) {
	if l.Credentials == nil {
		var options []func(*config.LoadOptions) error
		if region := a.query["region"]; region != "" {
			options = append(options, config.WithRegion(region))
		}
		c, err := config.LoadDefaultConfig(ctx, options...)
		c.Region = cmp.Or(c.Region, defaultRegion)
		return c, err
	}
	if err := l.needs(AccessKeyID, SecretAccessKey); err != nil {
		return aws.Config{}, err
	}
	return aws.Config{
		Region:      cmp.Or(a.query["region"], defaultRegion),
		Credentials: credentials.NewStaticCredentialsProvider(l.text(AccessKeyID), l.text(SecretAccessKey), l.text(SessionToken)),
	}, nil
}
