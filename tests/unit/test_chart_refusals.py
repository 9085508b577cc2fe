"""Values that the chart refuses, and what it says."""

from typing import Any

import pytest
from rendered_chart import LONG_SECRET, PUBLIC_KEY, template

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a short secret": ({"auth": {"jwt": {"secret": "short"}}}, "minLength: got 5, want 32"),
    "two secrets": (
        {"auth": {"jwt": {"secret": LONG_SECRET, "existingSecret": "a"}}},
        "secret or existingSecret, not both",
    ),
    "two storages": (
        {"api": {"rateLimit": {"storageUrl": "memory://", "storageUrlSecret": {"name": "a"}}}},
        "storageUrl or storageUrlSecret, not both",
    ),
    "an unknown value": ({"replicas": 3}, "'replicas' not allowed"),
    "an unknown value further down": ({"api": {"replica": 3}}, "'replica' not allowed"),
    "an unknown algorithm": ({"auth": {"jwt": {"algorithms": ["none"]}}}, "must be one of 'HS256'"),
    "a target without a Secret": ({"exportTargets": [{"projectId": "a"}]}, "'secretRef'"),
    "a project id with a slash": (
        {"exportTargets": [{"projectId": "a/b", "secretRef": {"name": "s"}}]},
        "does not match pattern",
    ),
    "a project id with a newline": (
        {"exportTargets": [{"projectId": "a\n", "secretRef": {"name": "s"}}]},
        "does not match pattern",
    ),
    "a digest that is none": ({"image": {"digest": "latest"}}, "does not match pattern"),
    "keys twice": (
        {
            "auth": {
                "jwt": {"algorithms": ["RS256"], "publicKey": PUBLIC_KEY, "jwksUrl": "https://i"}
            }
        },
        "publicKey or jwksUrl, not both",
    ),
    "no keys": ({"auth": {"jwt": {"algorithms": ["HS256", "RS256"]}}}, "RS256 needs publicKey"),
    "keys for nothing": ({"auth": {"jwt": {"publicKey": PUBLIC_KEY}}}, "need an algorithm such as"),
    "a private key": (
        {"auth": {"jwt": {"publicKey": "-----BEGIN PRIVATE KEY-----"}}},
        "does not match pattern",
    ),
    "a storage of another kind": (
        {"api": {"rateLimit": {"storageUrl": "mongodb://h"}}},
        "does not match pattern",
    ),
    "a storage beside valkey": (
        {"valkey": {"enabled": True}, "api": {"rateLimit": {"storageUrl": "redis://h"}}},
        "names another storage already",
    ),
    "two passwords": (
        {"valkey": {"password": LONG_SECRET, "existingSecret": "a"}},
        "password or existingSecret, not both",
    ),
    "a password that can't stand in a URL": (
        {"valkey": {"password": LONG_SECRET + "@"}},
        "does not match pattern",
    ),
    "no time to drain": ({"api": {"drainSeconds": 16}}, "must be at least 31"),
    "fewer than the fewest": (
        {"api": {"autoscaling": {"enabled": True, "minReplicas": 7}}},
        "minReplicas is more than maxReplicas",
    ),
    "an Ingress to nowhere": (
        {"ingress": {"enabled": True, "hosts": ["h"]}, "api": {"service": {"enabled": False}}},
        "needs api.service.enabled",
    ),
    "an Ingress for nobody": ({"ingress": {"enabled": True}}, "name at least one host"),
    "a host with a path": (
        {"ingress": {"enabled": True, "hosts": ["h/x"]}},
        "does not match pattern",
    ),
    "a leader too late to stop": (
        {"operator": {"lease": {"seconds": 10, "renewDeadlineSeconds": 9.5}}},
        "at least 1 less than seconds",
    ),
    "no second attempt": (
        {"operator": {"lease": {"retrySeconds": 4}}},
        "at most half of renewDeadlineSeconds",
    ),
    "no time to hand over": ({"operator": {"terminationGracePeriodSeconds": 29}}, "want 30"),
    "no pod for a drain": ({"api": {"podDisruptionBudget": {"maxUnavailable": 0}}}, "want 1"),
    "an unknown kind of delivery": (
        {"deliveries": {"emial": {}}},
        "deliveries.emial: there is no such field, but email, telegram",
    ),
    "an unknown field of a delivery": (
        {"deliveries": {"email": {"hots": "x"}}},
        "deliveries.email.hots: there is no such field",
    ),
    "an unknown field below one": (
        {"deliveries": {"email": {"secretRef": {"nmae": "x"}}}},
        "deliveries.email.secretRef.nmae: there is no such field, but name",
    ),
    "an unknown field of a target's delivery": (
        {
            "exportTargets": [
                {
                    "projectId": "p",
                    "secretRef": {"name": "s"},
                    "deliveries": {"telegram": {"prtBytes": 3}},
                }
            ]
        },
        "exportTargets of p: deliveries.telegram.prtBytes: there is no such field",
    ),
    "no time at all": ({"runner": {"activeDeadlineSeconds": 0}}, "want 1"),
}


@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(values: dict[str, Any], message: str) -> None:
    done = template(values)
    assert done.returncode != 0
    assert message in done.stderr
