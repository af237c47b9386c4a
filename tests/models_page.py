"""The tables of docs/models.md, from the catalogue and the records of families.

    PYTHONPATH=.:tests python tests/models_page.py

writes them into the page, between their marks; `test_models.py` compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from medvqa.models.catalogue import ACCESS, ROUTES, TASKS, Checkpoint, read_catalogue
from medvqa.models.families import FAMILIES
from medvqa.models.memory import WEIGHT_BYTES, estimate_gb

PAGE = Path(__file__).parents[1] / "docs" / "models.md"


def table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(titles)]
    lines += [["---"] * len(lines[0]), *map(list, rows)]
    assert len({len(line) for line in lines}) == 1
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def linked(text: str, address: str) -> str:
    return f"[{text}]({address})" if address else text


def memory(checkpoint: Checkpoint) -> str:
    if checkpoint.parameters is None:
        return "" if checkpoint.access == "hosted" else "?"
    return " / ".join(
        f"{estimate_gb(checkpoint.parameters, width, kept=checkpoint.kept):.1f}" for width in WEIGHT_BYTES
    )


def way(checkpoint: Checkpoint) -> str:
    page = {"similar": "similar.md", "compose": "compose.md", "remote": "remote.md"}
    if checkpoint.route in page and checkpoint.served:
        return f"[{page[checkpoint.route].removesuffix('.md')}]({page[checkpoint.route]})"
    if checkpoint.served:
        return "`--model`"
    return ROUTES["none"] if checkpoint.route == "none" else "no record of its family"


def checkpoints() -> str:
    titles = ("`--model`", "family", "made for", "parameters", "memory, GB", "licence", "use", "loads by")
    return table(
        titles,
        (
            (
                f"`{one.name}`" + (" (medical)" if one.medical else ""),
                f"`{one.family}`",
                ", ".join(task for task in TASKS if task in one.tasks),
                "?" if one.parameters is None else linked(f"{one.parameters:g} B", one.parameters_source),
                memory(one),
                linked(one.licence, one.licence_source),
                ACCESS[one.access],
                way(one),
            )
            for one in read_catalogue()
        ),
    )


def families() -> str:
    def of(family: str) -> str:
        names = [one.name for one in read_catalogue() if one.family == family and one.route == "ask"]
        return ", ".join(f"`{name}`" for name in names) or "none in the catalogue"

    return table(
        (
            "family",
            "an image is read once for all questions",
            "several questions as one batch",
            "chat template",
            "checkpoints",
        ),
        (
            (
                f"`{name}`",
                "yes" if record.shares_prefix else "no: each question reads it again",
                "yes" if record.shares_prefix and record.remembered is None else "one after the other",
                "the checkpoint's" if record.template is None else "the checkpoint's, or else the family's",
                of(name),
            )
            for name, record in sorted(FAMILIES.items())
        ),
    )


def figures() -> str:
    return table(
        ("model", "benchmark", "metric", "per cent", "measured by"),
        (
            (
                f"`{one.name}`",
                figure.benchmark,
                figure.metric,
                f"{figure.value:g}",
                linked(figure.by, figure.source),
            )
            for one in read_catalogue()
            for figure in one.figures
        ),
    )


def notes() -> str:
    return "\n".join(f"- `{one.name}`: {' '.join(one.note.split())}" for one in read_catalogue() if one.note)


PARTS: dict[str, Callable[[], str]] = {
    "checkpoints": checkpoints,
    "families": families,
    "figures": figures,
    "notes": notes,
}


def marked(name: str, text: str) -> str:
    return f"<!-- {name}: written by tests/models_page.py -->\n{text}\n<!-- end of {name} -->"


def written_anew(page: str) -> str:
    """The page with its tables as they should be."""
    for name, make in PARTS.items():
        mark = re.compile(rf"<!-- {name}: .*?<!-- end of {name} -->", re.DOTALL)
        text = marked(name, make())
        page, count = mark.subn(lambda _, text=text: text, page)
        assert count == 1, f"docs/models.md has no place for {name}"
    return page


if __name__ == "__main__":
    PAGE.write_text(written_anew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
