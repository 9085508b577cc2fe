"""Creates BackupExports through the client library and nothing else: what a POST can't undercut.

`direct_create.py NAMESPACE` reads a line of JSON for each measurement,
`{"connections": …, "manifests": […]}`, and answers with the seconds that each call took.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from backupexport_contract import names
from kubernetes import client, config


def main() -> None:
    """Serve the measurements on standard input and output."""
    namespace = sys.argv[1]
    configuration = client.Configuration()
    config.load_kube_config(client_configuration=configuration)
    configuration.keep_alive = True
    configuration.connection_pool_maxsize = 32
    custom_objects = client.CustomObjectsApi(client.ApiClient(configuration))

    def create(manifest: dict[str, Any]) -> float:
        began = time.perf_counter()
        custom_objects.create_namespaced_custom_object(
            group=names.GROUP,
            version=names.VERSION,
            namespace=namespace,
            plural=names.EXPORT_PLURAL,
            body=manifest,
        )
        return time.perf_counter() - began

    for line in sys.stdin:
        wanted = json.loads(line)
        with ThreadPoolExecutor(wanted["connections"]) as threads:
            began = time.perf_counter()
            latencies = list(threads.map(create, wanted["manifests"]))
            seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "latencies": latencies}), flush=True)


if __name__ == "__main__":
    main()
