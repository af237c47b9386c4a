"""Exports: complete, checkable against the tree, harmless in a spreadsheet, archived rows marked."""

import csv
import hashlib
import io
import json
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fhir.resources.auditevent import AuditEvent as AuditEventR5
from fhir.resources.provenance import Provenance as ProvenanceR5
from fhir.resources.R4B.auditevent import AuditEvent as AuditEventR4
from fhir.resources.R4B.provenance import Provenance as ProvenanceR4
from hypothesis import given
from hypothesis import strategies as st

import audit
from audit.export import COLUMNS, Exported, Form, export
from audit.schema import ARCHIVE, EVENT

FORMS: list[Form] = ["ndjson", "csv", "fhir-r4", "fhir-r5"]
PLAIN = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(str.isprintable)
ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
ENTITIES = st.dictionaries(
    ANY_TEXT, ANY_TEXT | st.integers(0, 9) | st.lists(ANY_TEXT, max_size=2), max_size=3
)
LABELS = PLAIN | st.tuples(st.sampled_from("=+-@'＝,\";"), PLAIN).map("".join)


TEXTS = ("agent", "role", "action", "subject", "patient", "study", "model", "verdict")


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[audit.Log]:
    """One trail for all examples of a property: each looks at the row that it wrote."""
    with audit.Log(f"sqlite:///{tmp_path_factory.mktemp('trail') / 'audit.sqlite'}") as log:
        yield log


@pytest.fixture
def log(trail_url: str) -> Iterator[audit.Log]:
    with audit.Log(trail_url) as log:
        yield log


def note(log: audit.Log, **changes: Any) -> audit.Event:
    fields: dict[str, Any] = {
        "agent": "dr-17",
        "action": "answer",
        "subject": "answer-1",
        "entity": {"text": "no\n✓"},
    }
    return log.append(audit.Entry(**{**fields, **changes}))


def exported(log: audit.Log, form: Form, **matching: Any) -> tuple[str, Exported]:
    out = io.StringIO(newline="")
    told = export(log, out, form=form, matching=audit.Filter(**matching))
    return out.getvalue(), told


def lines(log: audit.Log, form: Form) -> list[dict[str, Any]]:
    return [json.loads(line) for line in exported(log, form)[0].split("\n")[:-1]]


def table(text: str) -> list[dict[str, str]]:
    """A CSV read back, each text without the apostrophe that guards it."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return [{name: cell.removeprefix("'") for name, cell in row.items()} for row in rows]


def archive(log: audit.Log, last: int) -> None:
    """Empty the first bodies as an archive does: the table's guards allow it once one accounts for them."""
    with log.writing() as connection:
        connection.execute(ARCHIVE.insert().values(number=1, first=1, last=last, sha256="", note=""))
        connection.execute(EVENT.update().where(EVENT.c.sequence <= last).values(body=sa.null()))


@pytest.mark.parametrize("form", FORMS)
def test_it_tells_what_it_wrote(log: audit.Log, form: Form) -> None:
    for number in range(5):
        note(log, agent="dr-17" if number % 2 else "dr-18")
    text, told = exported(log, form, agent="dr-17")
    assert (told.events, told.archived, told.first, told.last) == (2, 0, 2, 4)
    assert told.sha256 == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("form", FORMS)
def test_nothing_matching_is_a_complete_export(log: audit.Log, form: Form) -> None:
    text, told = exported(log, form)
    assert text == (",".join(COLUMNS) + "\r\n" if form == "csv" else "")
    assert (told.events, told.first, told.last) == (0, None, None)


@given(entity=ENTITIES, agent=LABELS)
def test_a_line_of_ndjson_gives_its_leaf_hash(trail: audit.Log, entity: dict[str, Any], agent: str) -> None:
    event = note(trail, entity=entity, agent=agent)
    line = json.loads(exported(trail, "ndjson", sequence=event.sequence)[0])
    assert hashlib.sha256(b"\0" + line["body"].encode()).hexdigest() == line["hash"] == event.hash
    assert json.loads(line["body"])["agent"] == agent
    assert line["sequence"] == event.sequence


@given(st.fixed_dictionaries(dict.fromkeys(TEXTS, LABELS)), ENTITIES)
def test_csv_brings_every_text_back_and_computes_none(
    trail: audit.Log, texts: dict[str, str], entity: dict[str, Any]
) -> None:
    event = note(trail, **texts, entity=entity, confidence=0.5)
    text, _ = exported(trail, "csv", sequence=event.sequence)
    cells = next(csv.DictReader(io.StringIO(text, newline="")))
    assert not [cell for cell in cells.values() if cell.startswith(tuple("=+-@\t\r＝＋－＠"))]
    (row,) = table(text)
    assert {name: row[name] for name in TEXTS} == texts
    assert json.loads(row["entity"]) == entity
    assert (row["sequence"], row["hash"], row["archived"]) == (str(event.sequence), event.hash, "no")
    assert (row["recorded"], row["confidence"]) == (event.recorded.isoformat(), "0.5")


def test_the_documentation_shows_how_to_check_a_leaf(log: audit.Log, tmp_path: Path) -> None:
    documentation = (Path(audit.__file__).parents[1] / "docs" / "audit.md").read_text(encoding="utf-8")
    snippet = textwrap.dedent(documentation.partition("```python\n")[2].partition("```")[0])
    for number in range(2):
        note(log, subject=f"answer-{number}")
    archive(log, 1)
    text, _ = exported(log, "ndjson")

    def checks(events: str) -> bool:
        (tmp_path / "events.ndjson").write_text(events, encoding="utf-8", newline="")
        return (
            subprocess.run([sys.executable, "-I", "-c", snippet], cwd=tmp_path, check=False).returncode == 0
        )

    assert checks(text)
    assert not checks(text.replace("answer-1", "answer-2"))


def test_csv_is_of_rfc_4180(log: audit.Log) -> None:
    note(log, subject='say "no", twice')
    text, _ = exported(log, "csv")
    assert text.count("\r\n") == 2
    assert '"say ""no"", twice"' in text


@pytest.mark.parametrize("form", ["fhir-r4", "fhir-r5"])
def test_fhir_is_a_resource_a_line(log: audit.Log, form: Form) -> None:
    event = note(log)
    note(log, action="ask")
    models: dict[str, Any] = (
        {"AuditEvent": AuditEventR4, "Provenance": ProvenanceR4}
        if form == "fhir-r4"
        else {"AuditEvent": AuditEventR5, "Provenance": ProvenanceR5}
    )
    found = lines(log, form)
    assert [line["resourceType"] for line in found] == ["AuditEvent", "Provenance", "AuditEvent"]
    # Documented as what a file is split by.
    assert exported(log, form)[0].count('\n{"resourceType":"Provenance"') == 1
    assert [line["id"] for line in found[:2]] == [event.hash] * 2
    for line in found:
        models[line["resourceType"]].model_validate_json(json.dumps(line))


def test_archived_rows_are_marked_and_not_dropped(log: audit.Log) -> None:
    events = [note(log, subject=f"answer-{number}", confidence=0.5) for number in range(3)]
    archive(log, 2)
    for form in FORMS:
        _, told = exported(log, form)
        assert (told.events, told.archived) == (3, 2)
    first, _, last = lines(log, "ndjson")
    assert first["body"] is None
    assert (first["hash"], first["archived"]["subject"]) == (events[0].hash, "answer-0")
    assert "archived" not in last
    rows = table(exported(log, "csv")[0])
    assert [row["archived"] for row in rows] == ["yes", "yes", "no"]
    assert (rows[0]["subject"], rows[0]["confidence"], rows[0]["entity"]) == ("answer-0", "0.5", "")
    for form in ("fhir-r4", "fhir-r5"):
        found = lines(log, form)
        assert [line["resourceType"] for line in found] == ["AuditEvent"] * 3 + ["Provenance"]
        assert ["archived" in json.dumps(line) for line in found] == [True, True, False, False]


@pytest.mark.parametrize("form", FORMS)
def test_a_row_that_was_tampered_with_stops_the_export(log: audit.Log, form: Form) -> None:
    note(log)
    with log.writing() as connection:
        table = " ON event" if connection.dialect.name == "postgresql" else ""
        connection.exec_driver_sql("DROP TRIGGER event_never_updated" + table)
        connection.execute(EVENT.update().values(body="{}"))
    with pytest.raises(audit.ReadError, match=r"row 1 .* malformed; verify the trail"):
        exported(log, form)


@pytest.mark.slow
def test_a_long_trail_is_not_held_in_memory(log: audit.Log) -> None:
    text = "x" * 5000
    log.append_all([audit.Entry(agent="a", action="ask", subject="b", entity={"text": text})] * 6000)
    with Path("/dev/null").open("w", newline="", encoding="utf-8") as out:
        tracemalloc.start()
        told = export(log, out, form="ndjson")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert told.events == 6000
    assert peak < 12e6  # bytes; the bodies are 30 MB
