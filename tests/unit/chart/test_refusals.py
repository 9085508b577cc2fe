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
    "public keys without an audience": (
        {"auth": {"jwt": {"algorithms": ["RS256"], "publicKey": PUBLIC_KEY}}},
        "auth.jwt.audience: is required with RS256",
    ),
    "published keys without an audience": (
        {"auth": {"jwt": {"algorithms": ["HS256", "ES256"], "jwksUrl": "https://i"}}},
        "auth.jwt.audience: is required with ES256",
    ),
    "an audience that any is": (
        {"auth": {"jwt": {"audience": "exports", "anyAudience": True}}},
        "auth.jwt: give audience or anyAudience, not both",
    ),
    "a proxy that is no network": (
        {"api": {"trustedProxies": ["*"]}},
        "at '/api/trustedProxies/0'",
    ),
    "a type that is none": ({"auth": {"jwt": {"type": "at jwt"}}}, "at '/auth/jwt/type'"),
    "a login without a client": (
        {"auth": {"login": {"issuer": "https://issuer.example"}}},
        "auth.login.clientId: is required with issuer or audience",
    ),
    "an audience without a client": (
        {"auth": {"login": {"audience": "exports"}}},
        "auth.login.clientId: is required with issuer or audience",
    ),
    "a login without an issuer": (
        {"auth": {"login": {"clientId": "cli"}}},
        "auth.login.issuer: is required with clientId",
    ),
    "a login at an issuer that is no URL": (
        {"auth": {"jwt": {"issuer": "us"}, "login": {"clientId": "cli"}}},
        "auth.login.issuer: is required with clientId where auth.jwt.issuer is no URL",
    ),
    **{
        f"a login at {issuer}": (
            {"auth": {"login": {"clientId": "cli", "issuer": issuer}}},
            "at '/auth/login/issuer'",
        )
        for issuer in ("issuer.example", "https://", "https://a?b", "https://a#b", "https://a:b@c")
    },
    "a client with a line break": (
        {"auth": {"login": {"clientId": "c\nli", "issuer": "https://i"}}},
        "at '/auth/login/clientId'",
    ),
    "two scopes in one": (
        {"auth": {"login": {"scopes": ["openid email"]}}},
        "at '/auth/login/scopes/0'",
    ),
    "no scopes": ({"auth": {"login": {"scopes": []}}}, "at '/auth/login/scopes'"),
    "clocks too far apart": (
        {"auth": {"jwt": {"leewaySeconds": 301}}},
        "at '/auth/jwt/leewaySeconds'",
    ),
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
    "an Ingress in the clear": (
        {"ingress": {"enabled": True, "hosts": ["h"]}},
        "ingress.tls: has nothing for h, so tokens would travel in the clear",
    ),
    "an Ingress with TLS for another host": (
        {"ingress": {"enabled": True, "hosts": ["a.h", "b.h"], "tls": [{"hosts": ["a.h", "h"]}]}},
        "ingress.tls: has nothing for b.h",
    ),
    "an Ingress with a wildcard that TLS knows in part": (
        {"ingress": {"enabled": True, "hosts": ["*.h"], "tls": [{"hosts": ["a.h"]}]}},
        "ingress.tls: has nothing for *.h",
    ),
    "an Ingress for more names than a wildcard has": (
        {"ingress": {"enabled": True, "hosts": ["a.b.h"], "tls": [{"hosts": ["*.h"]}]}},
        "ingress.tls: has nothing for a.b.h",
    ),
    "an Ingress with TLS for nothing": (
        {"ingress": {"enabled": True, "hosts": ["h"], "tls": [{}]}},
        "ingress.tls: an entry names neither secretName nor hosts",
    ),
    "an Ingress with TLS for nothing beside TLS for all": (
        {"ingress": {"enabled": True, "hosts": ["h"], "tls": [{"secretName": "s"}, {"hosts": []}]}},
        "ingress.tls: an entry names neither secretName nor hosts",
    ),
    "an Ingress without a Secret, for another host": (
        {"ingress": {"enabled": True, "hosts": ["a.h", "b.h"], "tls": [{"hosts": ["a.h"]}]}},
        "ingress.tls: has nothing for b.h",
    ),
    "an Ingress with TLS for nothing, where none is needed": (
        {"ingress": {"enabled": True, "hosts": ["h"], "allowHttp": True, "tls": [{}]}},
        "ingress.tls: an entry names neither secretName nor hosts",
    ),
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
        "at '/deliveries': additional properties 'emial' not allowed",
    ),
    "an unknown field of a delivery": (
        {"deliveries": {"email": {"hots": "x"}}},
        "at '/deliveries/email': additional properties 'hots' not allowed",
    ),
    "an unknown field below one": (
        {"deliveries": {"email": {"secretRef": {"nmae": "x"}}}},
        "at '/deliveries/email/secretRef': additional properties 'nmae' not allowed",
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
        "at '/exportTargets/0/deliveries/telegram': additional properties 'prtBytes' not allowed",
    ),
    "no time at all": ({"runner": {"activeDeadlineSeconds": 0}}, "want 1"),
    "a name that no object may have": ({"fullnameOverride": "UPPER_case"}, "fullnameOverride"),
    "a name that no Service may have": ({"fullnameOverride": "1x"}, "fullnameOverride"),
    "a label that no object may have": ({"nameOverride": "x.."}, "nameOverride"),
    "a rate without a number": (
        {"api": {"rateLimit": {"exports": "ten/minute"}}},
        "at '/api/rateLimit/exports'",
    ),
    "a rate of nothing": ({"api": {"rateLimit": {"reads": "0/minute"}}}, "rateLimit/reads"),
    "a rate in no unit": ({"api": {"rateLimit": {"reads": "1/week"}}}, "rateLimit/reads"),
    "two rates": ({"api": {"rateLimit": {"reads": "1/second;9/minute"}}}, "rateLimit/reads"),
    "memory that is no quantity": (
        {"api": {"resources": {"limits": {"memory": "abc"}}}},
        "at '/api/resources/limits/memory'",
    ),
    "less than nothing": (
        {"runner": {"taskResources": {"limits": {"cpu": -1}}}},
        "at '/runner/taskResources/limits/cpu'",
    ),
    "a volume of nothing": ({"storage": {"size": "0Gi"}}, "at '/storage/size'"),
    "a volume of nothing, as a number": ({"storage": {"size": 0}}, "at '/storage/size'"),
    "a volume for one pod, and downloads": (
        {
            "storage": {"accessModes": ["ReadWriteOncePod"]},
            "api": {"downloads": {"enabled": True}},
        },
        "ReadWriteOncePod volume is for one pod at a time",
    ),
    "a runner's label that no pod may have": (
        {"runner": {"podLabels": {"team": "data base"}}},
        "at '/runner/podLabels/team'",
    ),
}


@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(values: dict[str, Any], message: str) -> None:
    done = template(values)
    assert done.returncode != 0
    assert message in done.stderr


def test_a_release_whose_name_no_service_may_have() -> None:
    done = template({}, release="1x.y")
    assert done.returncode != 0
    assert '"1x.y-backupexport", which no Service may have' in done.stderr
    assert template({"fullnameOverride": "x-y"}, release="1x.y").returncode == 0


ACCEPTED: dict[str, dict[str, Any]] = {
    "public keys for any audience": {
        "auth": {"jwt": {"algorithms": ["RS256"], "publicKey": PUBLIC_KEY, "anyAudience": True}}
    },
    "a type": {"auth": {"jwt": {"type": "application/at+jwt", "leewaySeconds": 0}}},
    "a login at the tokens' issuer": {
        "auth": {"jwt": {"issuer": "https://i/realms/a/"}, "login": {"clientId": "my cli"}}
    },
    "a login elsewhere": {
        "auth": {"jwt": {"issuer": "us"}, "login": {"clientId": "c", "issuer": "http://i:5556/dex"}}
    },
    "an Ingress with the controller's own certificate": {
        "ingress": {"enabled": True, "hosts": ["a.h"], "tls": [{"hosts": ["a.h"]}]}
    },
    "an Ingress with one certificate for all": {
        "ingress": {"enabled": True, "hosts": ["a.h", "b.h"], "tls": [{"secretName": "s"}]}
    },
    "rates in other words": {
        "api": {"rateLimit": {"exports": "10 per hour", "reads": "9/5minutes"}}
    },
    "quantities as in a Pod": {
        "api": {"resources": {"requests": {"cpu": 0.5}, "limits": {"cpu": "1.5", "memory": "1e9"}}}
    },
    "bytes": {"storage": {"size": 1000000}},
    "part of a unit": {"storage": {"size": "0.5Ti"}},
    "a volume for one pod": {"storage": {"accessModes": ["ReadWriteOncePod"]}},
    "a name of one's own": {"nameOverride": "1x", "fullnameOverride": "exports"},
    "no deliveries": {"deliveries": {"email": None}},
}


@pytest.mark.parametrize("values", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(values: dict[str, Any]) -> None:
    done = template(values)
    assert done.returncode == 0, done.stderr
