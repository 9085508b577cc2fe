"""A gate in front of the cluster's API server, and a kubeconfig that leads through it."""

from pathlib import Path
from urllib.parse import urlsplit

from gate import Gate
from playground.tools import environment, kubectl


def api_server_address() -> tuple[str, int]:
    where = "jsonpath={.clusters[0].cluster.server}"
    server = urlsplit(kubectl("config", "view", "--minify", "-o", where))
    return str(server.hostname), server.port or 443


def kubeconfig_through(api_server: Gate, folder: Path) -> Path:
    host, port = api_server_address()
    text = Path(environment()["KUBECONFIG"]).read_text()
    assert f"https://{host}:{port}" in text
    file = folder / "kubeconfig"
    file.write_text(text.replace(f"https://{host}:{port}", f"https://127.0.0.1:{api_server.port}"))
    return file
