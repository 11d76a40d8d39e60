"""The parameters of a picture as one text, as the programs of the field write and read it.

    a prompt, of any number of lines
    Negative prompt: what it shall not show
    Steps: 20, Sampler: Euler a, CFG scale: 7.0, Seed: 1, Size: 512x512, ..., Model: sd15

The format is AUTOMATIC1111's "infotext"; nothing in it is escaped, so a prompt that is written
like one of its lines misleads its readers. What is signed stands elsewhere (`provenance.py`).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

#: Our names of schedulers to those that people know from that program.
SAMPLERS = {
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "pndm": "PNDM",
    "euler": "Euler",
    "euler-a": "Euler a",
    "heun": "Heun",
    "dpm++2m": "DPM++ 2M",
    "dpm++2m-karras": "DPM++ 2M Karras",
    "dpm++2m-sde": "DPM++ 2M SDE",
    "unipc": "UniPC",
}


def write_infotext(facts: Mapping[str, Any], output: Mapping[str, Any]) -> str:
    """The text of one picture: `facts` of its file, `output` of its task."""
    params = facts["params"]
    prompt, negative = str(params.get("prompt") or ""), str(params.get("negative_prompt") or "")
    lines = [prompt, f"Negative prompt: {negative}"] if negative else [prompt]
    named = ", ".join(f"{name}: {_quoted(value)}" for name, value in _named(facts, output))
    return "\n".join([*lines, named]).replace("\x00", "")


def _named(facts: Mapping[str, Any], output: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    scheduler = output.get("scheduler")
    found = {
        "Steps": output.get("steps"),
        "Sampler": SAMPLERS.get(str(scheduler), scheduler),
        "CFG scale": output.get("guidance_scale"),
        "Seed": facts["file_seed"],
        "Size": "x".join(map(str, output.get("size") or ())) or None,
        "Model hash": facts["model_sha256"][:10] or None,
        "Model": facts["model"],
        "Version": f"genfarm {facts['versions']['genfarm']}",
    }
    return ((name, value) for name, value in found.items() if value is not None)


def _quoted(value: object) -> str:
    """A value that would end the field before its time stands in quotes."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(',:"\n') else text
