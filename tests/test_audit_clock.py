"""A clock that stands before the last event stops the trail until it is set right."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from trails import clock_at, entry, python, works_again

import audit


def test_a_clock_that_went_backwards(trail_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with audit.Log(trail_url) as log:
        log.append(entry())
        for module in ("audit.appending", "audit.log"):
            monkeypatch.setattr(f"{module}.datetime", clock_at(datetime.now(UTC) - timedelta(hours=1)))
        with pytest.raises(
            audit.ClockError, match=r"the clock says .* UTC, before the last event .*; set the"
        ):
            log.append(entry())
        monkeypatch.undo()
        works_again(log, rows=1)


def test_a_clock_may_stand_a_little_before_another_machines(
    trail_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with audit.Log(trail_url) as log:
        first = log.append(entry())
        monkeypatch.setattr("audit.appending.datetime", clock_at(first.recorded - timedelta(seconds=4)))
        assert log.append(entry()).recorded < first.recorded
        monkeypatch.setattr("audit.appending.datetime", clock_at(first.recorded - timedelta(seconds=10)))
        with pytest.raises(audit.ClockError):
            log.append(entry())


@pytest.mark.skipif(not shutil.which("faketime"), reason="faketime is not installed; .ci/run installs it")
def test_a_row_from_the_future_stops_clocks_that_are_right(trail_url: str) -> None:
    code = (
        "import audit, sys\n"
        "with audit.Log(sys.argv[1]) as log:\n"
        "    print(log.append(audit.Entry(agent='a', action='b', subject='c', entity={})).sequence)\n"
    )

    def append_ahead(by: str) -> str:
        return python(code, trail_url, before=("faketime", "-f", by)).communicate()[0].strip()

    with audit.Log(trail_url) as log:
        assert append_ahead("+1h") == "1"
        with pytest.raises(audit.ClockError, match="set the clock right"):
            log.append(entry())
        assert append_ahead("+2h") == "2"
        assert log.verify().intact
