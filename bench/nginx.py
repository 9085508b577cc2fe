"""An nginx of our own that serves a folder, as an unprivileged process."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_cluster import packages
from local_cluster.errors import ClusterError
from local_cluster.layout import cache_directory
from local_cluster.progress import quiet
from measures import blamed_on
from playground.processes import wait_until_served

_DEBIAN_PACKAGE = "nginx-light"
_UNPRIVILEGED = 65532
# One process, as the API is one, with an access log, as the API has one.  sendfile with the
# chunks that are nginx's own default.
_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    default_type application/octet-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    tcp_nopush on;
    server {{
        listen 127.0.0.1:{port};
        root {root};
    }}
}}
"""


def executable() -> str | None:
    """The nginx on this machine; root's folders may not be on the path."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def install() -> str:
    """Have an nginx, from Debian's packages where there is none."""
    if (found := executable()) is not None:
        return found
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise ClusterError(
            "bench-download needs nginx. Debian's package nginx-light is installed by itself only "
            "for root: install it, or any nginx, so that it is on the PATH."
        )
    packages.install([_DEBIAN_PACKAGE], cache_directory() / "logs")
    if Path("/run/systemd/system").is_dir():
        # The service that comes along is not wanted, after a reboot neither.
        quiet(["systemctl", "disable", "nginx.service"])
    if (found := executable()) is None:
        raise ClusterError(f"Debian's {_DEBIAN_PACKAGE} brought no nginx.")
    return found


def sent(folder: Path, size: int) -> int:
    """How many bodies of `size` bytes the nginx with that folder has logged as sent."""
    lines = (folder / "access.log").read_text(encoding="utf-8").splitlines()
    return sum(f'" 200 {size} ' in line for line in lines)


@contextmanager
def serving(
    program: str, root: Path, ready: str, port: int, folder: Path
) -> Iterator[subprocess.Popen[str]]:
    """Serve `root` on 127.0.0.1 until the end of the context; `ready` is a path that is there.

    `folder` is for nginx's own files.
    """
    folder.mkdir()
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, root=root, port=port), "utf-8")
    user = _UNPRIVILEGED if os.geteuid() == 0 else None
    if user is not None:
        os.chown(folder, user, user)
    log = folder / "output.log"
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [program, "-p", folder, "-e", f"{folder}/error.log", "-c", configuration],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    try:
        with blamed_on("nginx"):
            wait_until_served(process, f"http://127.0.0.1:{port}/{ready}", log)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)
