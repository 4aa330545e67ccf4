package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"github.com/latchkey-auth/latchkey/internal/awserr"
)

// stackResources are what the template calls the things that the doctor's flags name.
var stackResources = map[string]string{
	"AccessKeysSecret":  "access-secret",
	"RefreshKeysSecret": "refresh-secret",
	"ClientsTable":      "clients-table",
	"UsersTable":        "users-table",
	"SignInsTable":      "signins-table",
	"IssuersTable":      "issuers-table",
	"AssertionsTable":   "assertions-table",
	"GrantsTable":       "grants-table",
	"KeysTable":         "keys-table",
	"RevocationsTable":  "revocations-table",
}

// stackOutputs are the same of its outputs.
var stackOutputs = map[string]string{"Issuer": "issuer", "WhoamiUrl": "api", "Audience": "audience"}

// readStack fills in what was not named by what the stack has. It takes cloudformation:DescribeStacks and ListStackResources.
func (f *doctorFlags) readStack(ctx context.Context, cfg aws.Config) error {
	cfn := cloudformation.NewFromConfig(cfg)
	out, err := cfn.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &f.stack})
	if err != nil {
		return f.stackError(awserr.Translate("CloudFormation DescribeStacks", err))
	}
	if len(out.Stacks) == 0 {
		return f.stackError(errors.New("there is none of that name in this account and Region"))
	}
	for _, o := range out.Stacks[0].Outputs {
		if name := stackOutputs[aws.ToString(o.OutputKey)]; name != "" {
			f.named[name] = cmp.Or(f.named[name], aws.ToString(o.OutputValue))
		}
	}
	f.named["audience"], _, _ = strings.Cut(f.named["audience"], ",") // of several, the first
	for _, p := range out.Stacks[0].Parameters {
		if aws.ToString(p.ParameterKey) == "KeyRotationPeriod" {
			if f.period, err = parseLifetime(aws.ToString(p.ParameterValue)); err != nil {
				return f.stackError(fmt.Errorf("its parameter KeyRotationPeriod: %w", err))
			}
		}
	}
	if f.named["issuer"] == "" {
		f.withoutIssuer = "the stack has no output Issuer: is it Latchkey's?"
	}
	pages := cloudformation.NewListStackResourcesPaginator(cfn, &cloudformation.ListStackResourcesInput{StackName: &f.stack})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return f.stackError(awserr.Translate("CloudFormation ListStackResources", err))
		}
		for _, r := range page.StackResourceSummaries {
			if name := stackResources[aws.ToString(r.LogicalResourceId)]; name != "" {
				f.named[name] = cmp.Or(f.named[name], aws.ToString(r.PhysicalResourceId))
			}
		}
	}
	return nil
}

func (f *doctorFlags) stackError(err error) error {
	return fmt.Errorf("the stack %s: %w", plain(f.stack), err)
}
