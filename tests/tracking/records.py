"""What the trackers' packages have written to disk, read back."""

import contextlib
import json
import math
import os
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Record:
    """One run."""

    name: str | None = None
    key: str | None = None
    project: str | None = None
    tags: set[str] = field(default_factory=set)
    config: dict = field(default_factory=dict)  # flat, names joined by "/"
    rows: list[tuple[int, dict]] = field(default_factory=list)  # timestep and values, as they came
    videos: list[tuple[int, bytes]] = field(default_factory=list)
    models: list[tuple[int, str, dict[str, bytes]]] = field(default_factory=list)  # timestep, name, files
    succeeded: bool | None = None

    def metric(self, name: str) -> list[tuple[int, float]]:
        return [(step, row[name]) for step, row in self.rows if name in row]


def without_accounts(patch: pytest.MonkeyPatch, directory: Path) -> None:
    """The packages write below a directory and find no keys of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "COMET_"))]:
        patch.delenv(name)
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "COMET_OFFLINE_DIRECTORY"):
        patch.setenv(name, str(directory))
    patch.setenv("COMET_CONFIG", str(directory / "comet.config"))
    patch.setenv("NETRC", str(directory / "netrc"))


def without_home(patch: pytest.MonkeyPatch, directory: Path) -> None:
    """As in a container whose user has neither a name nor a home directory, also in processes that start."""

    def getpwuid(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    patch.delenv("HOME", raising=False)
    patch.setattr("pwd.getpwuid", getpwuid)
    code = "import pwd\n\n\ndef getpwuid(uid):\n    raise KeyError(uid)\n\n\npwd.getpwuid = getpwuid\n"
    (directory / "sitecustomize.py").write_text(code)  # Python imports it when it starts
    patch.setenv("PYTHONPATH", os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")]))


@contextlib.contextmanager
def recording(directory: Path) -> Iterator[Path]:
    """``without_accounts``, for as long as the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        without_accounts(patch, directory)
        yield directory


def read(kind: str, directory: Path) -> list[Record]:
    """The runs below a directory, oldest first."""
    if kind == "comet":
        return [_comet(path) for path in sorted(directory.glob("*.zip"), key=lambda path: path.stat().st_mtime_ns)]
    return [_wandb(path) for path in sorted(directory.glob("wandb/*run-*/*.wandb"), key=lambda p: p.stat().st_mtime_ns)]


def _comet(path: Path) -> Record:
    record = Record()
    with zipfile.ZipFile(path) as archive:
        about = json.loads(archive.read("experiment.json"))
        record.key, record.project, record.tags = about["offline_id"], about["project_name"], set(about["tags"])
        for line in archive.read("messages.json").decode().splitlines():
            message = json.loads(line)
            payload = message["payload"]
            if message["type"] == "metric_msg" and payload["metric"]["metricName"] != "process duration":
                metric = payload["metric"]
                # Infinities and NaN come as text.
                record.rows.append((metric["step"], {metric["metricName"]: float(metric["metricValue"])}))
                if metric["metricName"] == "episode/return":
                    record.rows.append((metric["step"], {"episode/number": metric["epoch"]}))
            elif message["type"] == "parameter_msg":
                param = payload["param"]
                record.config[param["paramName"]] = param["paramValue"]
            elif message["type"] == "log_other" and payload["key"] == "Name":
                record.name = payload["value"]
            elif message["type"] == "file_upload":
                asset, content = payload["additional_params"], archive.read(payload["file_path"])
                if asset["type"] == "video":
                    record.videos.append((asset["step"], content))
                elif asset["type"] == "model-element":
                    group = asset["groupingName"]
                    record.models.append((asset["step"], group, {asset["fileName"].removeprefix(group + "/"): content}))
                else:
                    key = payload["metadata"].get("name") or asset["fileName"]
                    record.rows.append((asset["step"], {key: (asset["type"], content)}))
    return record


def _wandb(path: Path) -> Record:
    from wandb.proto.wandb_internal_pb2 import Record as Message

    record = Record()
    for chunk in _log_records(path.read_bytes()):
        message = Message()
        message.ParseFromString(chunk)
        kind = message.WhichOneof("record_type")
        if kind == "run":
            run = message.run
            record.name, record.key, record.project = run.display_name, run.run_id, run.project
            record.tags = set(run.tags)
        elif kind == "config":
            for item in message.config.update:
                record.config.update(_flat(json.loads(item.value_json), item.key))
        elif kind == "history":
            row: dict = {}
            for item in message.history.item:
                names, place = list(item.nested_key) or [item.key], row
                for name in names[:-1]:
                    place = place.setdefault(name, {})
                place[names[-1]] = json.loads(item.value_json)
            row = {key: value for key, value in row.items() if not key.startswith("_")}
            step = row.pop("timesteps")
            if "video" in row:
                record.videos.append((step, (path.parent / "files" / row.pop("video")["path"]).read_bytes()))
            if row:
                record.rows.append((step, row))
        elif kind == "artifact":
            files = {item.path: Path(item.local_path).read_bytes() for item in message.artifact.manifest.contents}
            name = next(alias for alias in message.artifact.aliases if alias != "latest")
            record.models.append((json.loads(message.artifact.metadata)["timesteps"], name, files))
        elif kind == "exit":
            record.succeeded = message.exit.exit_code == 0
    return record


def _flat(value: object, name: str) -> dict:
    if isinstance(value, dict) and value:
        return {key: end for part, inner in value.items() for key, end in _flat(inner, f"{name}/{part}").items()}
    return {name: json.dumps(value) if isinstance(value, dict | list) else value}


def _log_records(log: bytes) -> Iterator[bytes]:
    """The records of a LevelDB log, after W&B's own 7 bytes. Blocks of 32 KiB hold pieces of records."""
    position, pieces = 7, b""
    while position + 7 <= len(log):
        if 32768 - position % 32768 < 7:  # no room for another header
            position += 32768 - position % 32768
            continue
        _checksum, length, kind = struct.unpack_from("<IHB", log, position)
        pieces += log[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or its last piece
            yield pieces
            pieces = b""


def same_number(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9) or (math.isnan(one) and math.isnan(other))
