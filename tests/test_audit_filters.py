"""Each filter finds its rows, on both databases, in both directions."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from trails import clock_at, entry, url_of

import audit

DAY = datetime(2024, 5, 1, tzinfo=UTC)
FILTERED = [
    entry(action="question", subject="s1", patient="p1", study="1.2", agent="dr-1", role="r"),
    entry(action="answer", subject="s1", patient="p1", study="1.2", model="abcdef012345", confidence=0.9),
    entry(action="review", subject="s1", verdict="amend", agent="dr-2"),
    entry(action="answer", subject="s2", patient="p2", study="1.3", model="abcdef999999", confidence=0.4),
    entry(action="review", subject="s2", verdict="agree", agent="dr-2", entity={"note": "50% of_it \\ Ü"}),
    entry(action="answer", subject="s3", outcome="refused", entity={"reason": "Too Small"}),
]


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"sequence": 4}, [4]),
        ({"sequence": 9}, []),
        ({"agent": "dr-2"}, [3, 5]),
        ({"action": "answer"}, [2, 4, 6]),
        ({"subject": "s1"}, [1, 2, 3]),
        ({"outcome": "refused"}, [6]),
        ({"patient": "p1"}, [1, 2]),
        ({"study": "1.3"}, [4]),
        ({"model": "abcdef012345"}, [2]),
        ({"verdict": "agree"}, [5]),
        ({"since": DAY + timedelta(hours=3)}, [4, 5, 6]),
        ({"since": (DAY + timedelta(hours=3)).replace(tzinfo=None)}, [4, 5, 6]),
        ({"until": DAY + timedelta(hours=3)}, [1, 2, 3]),
        ({"since": DAY + timedelta(hours=1), "until": DAY + timedelta(hours=2)}, [2]),
        ({"least_confidence": 0.9}, [2]),
        ({"most_confidence": 0.4}, [4]),
        ({"least_confidence": 0.1, "most_confidence": 1.0}, [2, 4]),
        ({"disputed": True}, [1, 2, 3]),
        ({"disputed": False}, [4, 5, 6]),
        ({"disputed": True, "action": "answer"}, [2]),
        ({"text": "too small"}, [6]),
        ({"text": "50% of_"}, [5]),
        ({"text": "5_%"}, []),
    ],
)
def test_each_filter_finds_its_rows(filtered: audit.Log, fields: dict[str, Any], rows: list[int]) -> None:
    found = [event.sequence for event in filtered.read(audit.Filter(**fields))]
    assert found == rows
    backwards = [event.sequence for event in filtered.read(audit.Filter(**fields), newest_first=True)]
    assert backwards == rows[::-1]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filtered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[audit.Log]:
    """Six events, an hour apart from DAY on."""
    url = url_of(tmp_path_factory.mktemp("filtered") / "audit.sqlite")
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql_server")
        with server.database("filtered") as url:
            yield from hourly(url)
    else:
        yield from hourly(url)


def hourly(url: str) -> Iterator[audit.Log]:
    with audit.Log(url) as log, pytest.MonkeyPatch.context() as patch:
        for hours, one in enumerate(FILTERED):
            patch.setattr("audit.appending.datetime", clock_at(DAY + timedelta(hours=hours)))
            log.append(one)
        yield log
