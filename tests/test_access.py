"""Roles: each may do its part, and no more."""

from __future__ import annotations

from typing import get_args

import pytest

from medvqa.access import PERMISSIONS, Permission, may, require
from medvqa.errors import AccessError


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("reader", {"open", "ask", "review", "practise", "models"}),
        ("senior", {"open", "ask", "review", "sign", "report", "practise", "stop", "models"}),
        ("auditor", {"audit", "models"}),
        ("admin", {"stop", "audit", "models"}),
        ("local", set(get_args(Permission))),
        ("radiologist", set[str]()),
        (None, set[str]()),
    ],
)
def test_a_role_may_do_its_part_and_no_more(role: str | None, allowed: set[str]) -> None:
    assert {permission for permission in get_args(Permission) if may(role, permission)} == allowed


def test_nobody_but_the_local_user_reads_signs_and_audits() -> None:
    assert [role for role, held in PERMISSIONS.items() if {"sign", "audit"} <= held] == ["local"]


def test_the_sentence_names_the_roles_that_may() -> None:
    require("senior", "sign")
    with pytest.raises(AccessError, match="to sign takes the role senior, and yours is reader"):
        require("reader", "sign")
    with pytest.raises(AccessError, match="takes the role auditor or admin, and yours is none"):
        require(None, "audit")
