"""The least that kopf needs to make a Job of each BackupExport: `bare_operator.py NAMESPACE JOB`.

JOB is a file with a Job that the operator has made, as JSON in a string, and the export that it
made it for; this one makes the same for each export.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import kopf
from backupexport_contract import names
from kubernetes.aio import client, config


def job_for(template: dict[str, Any], name: str, uid: str) -> dict[str, Any]:
    """The template's Job for an export of another name and uid."""
    export = template["export"]
    text = template["job"].replace(export["name"], name).replace(export["uid"], uid)
    job: dict[str, Any] = json.loads(text)
    return job


class _Bare:
    def __init__(self, namespace: str, template: dict[str, Any]) -> None:
        self._namespace = namespace
        self._template = template

    async def start(self, **_: Any) -> None:
        configuration = client.Configuration()
        await config.load_kube_config(client_configuration=configuration)
        configuration.connection_pool_maxsize = 100
        configuration.client_session_kwargs = {"trust_env": False}
        self._api_client = client.ApiClient(configuration)
        self._batch = client.BatchV1Api(self._api_client)

    async def stop(self, **_: Any) -> None:
        await self._api_client.close()

    async def create(self, name: str, uid: str, **_: Any) -> None:
        job = client.V1Job.model_validate(job_for(self._template, name, uid))
        await self._batch.create_namespaced_job(self._namespace, job)


def main() -> None:
    """Serve until the end."""
    namespace, template = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    bare = _Bare(namespace, template)
    registry = kopf.OperatorRegistry()
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)
    kopf.on.startup(registry=registry)(bare.start)
    kopf.on.cleanup(registry=registry)(bare.stop)
    kind = names.GROUP, names.VERSION, names.EXPORT_PLURAL
    # Unless told otherwise kopf waits a minute after an error.
    kopf.on.create(*kind, registry=registry, backoff=1)(bare.create)
    asyncio.run(
        kopf.operator(registry=registry, settings=settings, namespaces=[namespace], standalone=True)
    )


if __name__ == "__main__":
    main()
