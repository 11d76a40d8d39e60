"""Registries of drills that go wrong in other ways than the yard's own."""

import json
from pathlib import Path


def registry(folder: Path, name: str = "drills", **models: dict[str, object]) -> str:
    """A registry file of drill models: each key's `stall_seconds`, and the rest as limits."""
    lines = []
    for key, given in models.items():
        limits = dict(given)
        stall = limits.pop("stall_seconds", 300.0)
        lines += [f"[models.{key}]", 'kind = "drill"', 'engine = "drill"', "slots = 32"]
        lines += [f"stall_seconds = {stall}", f"[models.{key}.limits]"]
        lines += [f"{limit} = {json.dumps(value)}" for limit, value in limits.items()]
    path = folder / f"{name}.toml"
    path.write_text("\n".join(lines))
    return str(path)
