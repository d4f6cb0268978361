"""What schemathesis cannot know of the document: the revision that runs now, and what a configuration may say."""

import collections
import json
import os
import urllib.request

import schemathesis

BODIES = {
    "PUT /v1/services/{service}/backends/{backend}": {"address": "127.0.0.1:1", "weight": 2},
    "PATCH /v1/services/{service}/backends/{backend}": {"weight": 3},
    "PUT /v1/services/{service}/policy": "round_robin",
    "PUT /v1/rules/{rule}": {"priority": 1, "when": {"path": "/first"}, "deny": True},
    "PUT /v1/rule-order": {"rules": ["first", "rest"]},
}

asked = collections.Counter()


def revision():
    with urllib.request.urlopen(os.environ["KEEL"] + "/v1/version") as answer:
        return json.load(answer)["configuration"]["revision"]


@schemathesis.hook
def before_call(context, case, kwargs):
    headers = case.headers or {}
    if headers.get("If-Match") != "*":
        return
    label = f"{case.operation.method.upper()} {case.operation.path}"
    asked[label] += 1
    # Every other one: `*` and what it makes up are answers too.
    if asked[label] % 2:
        headers["If-Match"] = f'"{revision()}"'
        headers["X-Evenkeel"] = "1"
        case.body = BODIES.get(label, case.body)
