"""Writes `.cluster/`: what a clone uses the cluster by."""

import shutil
from pathlib import Path

from .decide import Mode
from .errors import ClusterError
from .layout import Handle


def _write(path: Path, content: str, mode: int) -> None:
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=mode)
    draft.write_text(content)
    draft.chmod(mode)
    draft.replace(path)


def write(handle: Handle, mode: Mode, kubeconfig: str, tools: dict[str, str]) -> None:
    """`tools` maps kubectl and helm to the shell words that run them."""
    handle.bin.mkdir(parents=True, exist_ok=True)
    _write(handle.kubeconfig, kubeconfig, 0o600)
    for name, words in tools.items():
        script = (
            "#!/bin/sh\n"
            f': "${{KUBECONFIG:={handle.kubeconfig}}}"\n'
            "export KUBECONFIG\n"
            f'exec {words} "$@"\n'
        )
        _write(handle.bin / name, script, 0o755)
    env = f"KUBECONFIG={handle.kubeconfig}\nCLUSTER={mode.value}\n"
    _write(handle.root / "cluster.env", env, 0o644)


def tools_on_path(handle: Handle) -> dict[str, str]:
    """The user's own kubectl and helm."""
    found = {}
    for name in ("kubectl", "helm"):
        path = shutil.which(name)
        if path is None or Path(path).parent == handle.bin:
            raise ClusterError(f"{name} is not on PATH. Install it, or use CLUSTER=native.")
        found[name] = f"'{path}'"
    return found


def native_tools(node_directory: Path) -> dict[str, str]:
    """The kubectl and helm built with the cluster."""
    return {
        "kubectl": f"'{node_directory}/local-cluster-node' kubectl",
        "helm": f"'{node_directory}/helm'",
    }


def write_images(handle: Handle, references: dict[str, str]) -> None:
    """Write the references of the images, as the node knows them."""
    handle.root.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{name}={reference}\n" for name, reference in references.items())
    _write(handle.root / "images.env", lines, 0o644)


def remove(handle: Handle) -> None:
    """Take `.cluster/` away."""
    shutil.rmtree(handle.root, ignore_errors=True)
