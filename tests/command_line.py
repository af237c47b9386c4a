"""The command line in this process, as the console script runs it."""

from __future__ import annotations

import sys

import pytest

from medvqa.cli import main


def run_medvqa(*arguments: object) -> int:
    """Run a command; return its exit code. `capsys` has what it printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["medvqa", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
            sys.exit(0)
    return int(ended.value.code or 0)
