"""`helm test`: the api serves, and asks for a token."""

import json
import sys
import urllib.error
import urllib.request

url = sys.argv[1]

with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:
    print(f"GET /readyz: {answer.status}")

request = urllib.request.Request(
    f"{url}/api/backup/export",
    data=json.dumps({"project_id": "helm-test"}).encode(),
    headers={"Content-Type": "application/json"},
)
try:
    with urllib.request.urlopen(request, timeout=10) as answer:
        status = answer.status
except urllib.error.HTTPError as error:
    status = error.code
print(f"POST /api/backup/export without a token: {status}")
if status != 401:
    sys.exit("expected 401")
