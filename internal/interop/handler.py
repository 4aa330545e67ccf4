"""Invokes a snippet's handler with events."""
import json
import sys

from snippet import handler

print(json.dumps([handler(event, None) for event in json.load(sys.stdin)]))
