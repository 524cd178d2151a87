"""Checkpoints that somebody has changed, with or without a manifest that says so."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import random
import sys
from pathlib import Path

from velora_sb3.checkpoints.format.files import MANIFEST

DANGEROUS = ("pickle.find_class", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn")
_watching: list[str] | None = None


def _audit(event, _arguments):
    if _watching is not None and event in DANGEROUS:
        _watching.append(event)


sys.addaudithook(_audit)


class Watch:
    """Notes every pickle that is opened and every program that is started within its block."""

    def __enter__(self):
        global _watching
        _watching = self.events = []
        return self

    def __exit__(self, *_):
        global _watching
        _watching = None


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def bomb(trace: Path) -> bytes:
    return pickle.dumps(Bomb(trace))


def forge_manifest(path: Path) -> None:
    """Let the manifest say what the files are now."""
    manifest = json.loads((path / MANIFEST).read_bytes())
    for name in manifest["files"]:
        content = (path / name).read_bytes()
        manifest["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (path / MANIFEST).write_text(json.dumps(manifest))


def mutate_bytes(content: bytes, draw: random.Random) -> bytes:
    """Some bytes flipped, cut, put in, or said twice."""
    changed, at = bytearray(content), draw.randrange(len(content))
    kind = draw.choice(["flip", "cut", "drop", "insert", "repeat", "header"])
    if kind == "flip":
        for _ in range(draw.randint(1, 8)):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del changed[at:]
    elif kind == "drop":
        del changed[at : at + draw.randint(1, 64)]
    elif kind == "insert":
        changed[at:at] = draw.randbytes(draw.randint(1, 64))
    elif kind == "repeat":
        changed[at:at] = changed[at : at + 64]
    else:  # the length of a safetensors header, or the start of a JSON file
        changed[:8] = draw.choice(
            [draw.randbytes(8), b"\xff" * 8, bytes(8), draw.randrange(2**40).to_bytes(8, "little")]
        )
    return bytes(changed)


JUNK = [
    None, True, -1, 0, 1, 3, 7, 2**31, 2**63, 2**70, 1e308, -0.5, "", "../../etc/passwd", "/", "\x00",
    "torch.nn.Linear", "os.system", "builtins.eval", "numpy.float64", "stable_baselines3.sac.sac.SAC",
    [], {}, [[]], [1, 2, 3], {"$type": 1},
    {"$type": "class", "name": "os.system"}, {"$type": "class", "name": "torch.nn.modules.activation.ReLU"},
    {"$type": "array", "array": "nowhere"}, {"$type": "tuple", "items": 3}, {"$type": "float", "value": "nan"},
    {"$type": "object", "class": {"$type": "class", "name": "subprocess.Popen"}, "attributes": {"args": "true"}},
    {"$type": "object", "class": {"$type": "class", "name": "stable_baselines3.sac.sac.SAC"}, "attributes": {}},
    {"$type": "enum", "class": {"$type": "class", "name": "builtins.eval"}, "name": "x"},
    {"$type": "dtype", "library": "torch", "name": "load"},
    {"$type": "named_tuple", "class": {"$type": "class", "name": "numpy.void"}, "items": [7]},
    {"$type": "scalar", "class": {"$type": "class", "name": "os.system"}, "value": "true"},
]  # fmt: skip


def _places(data, found):
    if isinstance(data, dict | list):
        for key in list(data) if isinstance(data, dict) else range(len(data)):
            found.append((data, key))
            _places(data[key], found)
    return found


def mutate_json(data, draw: random.Random):
    """A value replaced, removed, exchanged with another, or a name changed."""
    changed = copy.deepcopy(data)
    places = _places(changed, [])
    for _ in range(draw.randint(1, 3)):
        holder, key = draw.choice(places)
        kind = draw.choice(["junk", "remove", "exchange", "rename", "number"])
        try:
            if kind == "remove":
                del holder[key]
            elif kind == "exchange":
                other, place = draw.choice(places)
                holder[key], other[place] = other[place], holder[key]
            elif kind == "rename" and isinstance(holder, dict):
                holder[draw.choice(["predict", "__class__", "env", "../x", key + "x"])] = holder.pop(key)
            elif kind == "number" and isinstance(holder[key], int):
                holder[key] = draw.choice([-holder[key], holder[key] * 10**6, holder[key] + 1, 2**40])
            else:
                holder[key] = copy.deepcopy(draw.choice(JUNK))
            json.dumps(changed)
        except (KeyError, IndexError, TypeError, ValueError):
            return mutate_json(data, draw)  # the place is gone, or the exchange made a circle
    return changed


def mutate_safetensors(content: bytes, draw: random.Random) -> bytes:
    """A header that says something else about the same data."""
    size = int.from_bytes(content[:8], "little")
    header = mutate_json(json.loads(content[8 : 8 + size]), draw)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + size :]
