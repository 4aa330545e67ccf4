"""Has a snippet's verify(token) judge tokens."""
import json
import sys

from snippet import verify

verdicts = {}
for name, token in json.load(sys.stdin).items():
    try:
        verdicts[name] = {"claims": verify(token)}
    except Exception as e:
        verdicts[name] = {"error": f"{type(e).__name__}: {e}"}
print(json.dumps(verdicts))
