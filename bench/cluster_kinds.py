"""The kinds that every benchmark needs in the cluster."""

from playground.tools import ROOT, ToolError, kubectl


def ensure_crds() -> None:
    """Create the CRDs where there are none; those that are there belong to somebody."""
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        try:
            kubectl("get", "-f", str(file))
        except ToolError:
            kubectl("create", "-f", str(file))
            kubectl("wait", "--for=condition=Established", "-f", str(file), "--timeout=30s")
