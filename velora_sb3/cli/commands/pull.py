"""``velora-sb3 pull``: download a model from the Hugging Face Hub."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

from velora_sb3.cli.options import check_output

DESCRIPTION = """\
Download a model that `velora-sb3 push` or push_to_hub uploaded, and verify its files. It is a checkpoint, which holds
no pickle; nothing in it is run. A repository with SB3's zip file alone is refused.
A private repository needs a token: set HF_TOKEN, or log in with `hf auth login`.
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("pull", help="download a model from the Hugging Face Hub", description=DESCRIPTION)
    parser.add_argument("repo_id", metavar="REPO_ID", help="the repository, user/name")
    parser.add_argument("--revision", help="branch, tag or commit (default: main)")
    parser.add_argument("--dir", type=Path, help="new directory, or one of an earlier pull (default: name)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Pull."""
    from velora_sb3.checkpoints import CheckpointError
    from velora_sb3.cli.errors import UserError, reason
    from velora_sb3.hub import HubError, pull_from_hub

    if args.dir is not None:
        check_output("--dir", args.dir, directory=True)
    try:
        folder = pull_from_hub(args.repo_id, args.dir, revision=args.revision)
    except (HubError, CheckpointError, ImportError, ValueError, OSError) as error:
        raise UserError(reason(error)) from error
    shown = os.path.relpath(folder)
    print(f"{shown}: {', '.join(sorted(file.name for file in folder.iterdir()))}")
    print(f"evaluate it: velora-sb3 evaluate {shlex.quote(shown)}")
    print(f"load it in Python: velora_sb3.load_checkpoint({shown!r})")
    return 0
