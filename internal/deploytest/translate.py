"""Reads a SAM template on stdin; prints it as JSON: as the SAM transform makes it, and as written.

Of the parameters the transform works out two itself (Canary, CanaryShift): their values are in a JSON object, the first
argument. It runs offline. Members of the answer: "source", "translated", and "order" (the logical ids in the order in
which they stand in the file, which JSON objects do not keep).
"""

import copy
import json
import os
import sys

# The translator asks its (never used) AWS session for a Region.
os.environ["AWS_DEFAULT_REGION"] = "eu-central-1"

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


class NoManagedPolicies:
    """Stands in for the list of AWS's managed policies: every role is written out, and none is looked up by name."""

    def load(self):
        return {}


def main():
    source = yaml_parse(sys.stdin.read())
    packaged = copy.deepcopy(source)
    # What `sam package` does to the folder of the code: the transform wants an address in S3.
    shared = packaged.get("Globals", {}).get("Function", {})
    if "CodeUri" in shared:
        shared["CodeUri"] = "s3://bucket/code"
    translated = transform(packaged, json.loads(sys.argv[1]), NoManagedPolicies())
    json.dump({"source": source, "translated": translated, "order": list(source["Resources"])}, sys.stdout)


main()
