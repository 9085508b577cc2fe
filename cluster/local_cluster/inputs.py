"""Content hashes: the same inputs build nothing again, changed ones get another name."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

NOISE = {"__pycache__", "node_modules"}


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found: list[Path] = []
    for entry in sorted(path.iterdir()) if path.is_dir() else []:
        # Hidden entries are caches, environments and the repository itself, never our sources.
        if entry.name in NOISE or entry.name.startswith(".") or entry.suffix == ".pyc":
            continue
        found.extend(_files(entry))
    return found


def content_hash(root: Path, paths: Iterable[Path], *extra: str) -> str:
    """Twelve digits over names, executable bits and contents of files and folders, and texts."""
    digest = hashlib.sha256()
    for text in extra:
        digest.update(f"{len(text)}:{text}".encode())
    for file in sorted({file for path in paths for file in _files(path)}):
        data = file.read_bytes()
        mode = "x" if file.stat().st_mode & 0o100 else "-"
        digest.update(f"{file.relative_to(root)}:{mode}:{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()[:12]


def copied_sources(dockerfile: str) -> list[str]:
    """What a Dockerfile takes from its build context: the sources of COPY, ADD and bind mounts."""
    sources: list[str] = []
    text = re.sub(r"^\s*#.*\n", "", dockerfile, flags=re.MULTILINE)
    for line in re.sub(r"\\\s*\n", " ", text).splitlines():
        words = line.split()
        if not words:
            continue
        if words[0].upper() in ("COPY", "ADD"):
            flags = [word for word in words[1:] if word.startswith("--")]
            operands = [word.strip('[],"') for word in words[1:] if not word.startswith("--")]
            if not any(flag.startswith("--from=") for flag in flags):
                sources.extend(operands[:-1])
        for mount in re.findall(r"--mount=(\S+)", line):
            options = dict(part.partition("=")[::2] for part in mount.split(","))
            if options.get("type", "bind") == "bind" and "from" not in options:
                sources.append(options.get("source") or options.get("src") or ".")
    return sources


def context_hash(context: Path, dockerfile: Path, *extra: str) -> str:
    """The hash of everything that can change what a Dockerfile builds."""
    paths = {dockerfile}
    if (context / ".dockerignore").is_file():
        paths.add(context / ".dockerignore")
    for source in copied_sources(dockerfile.read_text()):
        relative = source.strip("/") or "."
        paths.update(
            context.glob(relative) if any(c in relative for c in "*?[") else [context / relative]
        )
    return content_hash(context, paths, *extra)
