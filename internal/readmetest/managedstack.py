"""Makes the stack in which `sam deploy` keeps its bucket, as the SAM CLI itself would.

moto does not keep the tags and outputs of a stack that is made by a change set, as the SAM CLI makes this one, so the
SAM CLI would not know it again.
"""

import json

import boto3

boto3.client("cloudformation").create_stack(
    StackName="aws-sam-cli-managed-default",
    Tags=[{"Key": "ManagedStackSource", "Value": "AwsSamCli"}],
    TemplateBody=json.dumps(
        {
            "Resources": {"SamCliSourceBucket": {"Type": "AWS::S3::Bucket"}},
            "Outputs": {"SourceBucket": {"Value": {"Ref": "SamCliSourceBucket"}}},
        }
    ),
)
