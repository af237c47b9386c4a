"""The viewer: moves through stacks, windows and measures in the browser, without asking the server."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamlit.components import v2

from medvqa.imaging import CT_WINDOWS
from ui.stack_viewer.packets import frame_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamlit.components.v2.types import ComponentRenderer

    from medvqa.types import ImageRef

_SCRIPTS = ("stack.js", "marks.js", "pane.js", "leaving.js", "viewer.js")
"""Joined into one: a component's script cannot import its neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Images to move through, as `ui.stacks` serves them."""

    name: str
    """Another name is another stack: the viewer begins anew."""
    label: str
    source: str
    first: int
    """Place of its first image, from 0."""
    count: int
    start: int
    """Which image is shown first, from 0 in this stack."""
    modality: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """A map to lay over its image, as `ui.stacks` serves it."""

    answer: str
    """Id: the map of another answer is hidden until the reader asks for it."""
    source: str
    ref: ImageRef
    shape: tuple[int, ...]
    """Rows and columns, those of the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the reader looks at, as far as the browser has told."""

    image: int
    """From 1, in the first stack."""
    seen: frozenset[int]


def show_stacks(
    stacks: Sequence[Stack],
    *,
    banner: str,
    height: int,
    heatmap: Overlay | None = None,
    on_view: Callable[[], None] = lambda: None,
) -> View:
    """Draw one or two stacks side by side.

    Args:
        stacks: One or two.
        banner: Who the patient is, by pseudonym.
        height: In pixels, at least; a display that is larger gets a larger one.
        heatmap: Laid over its image, in the first stack, once the reader asks for it.
        on_view: Called when the reader turns from the viewer to the page having looked at something new.
    """
    data: dict[str, Any] = {
        "banner": banner,
        "height": height,
        "stacks": [asdict(stack) for stack in stacks],
        "presets": _presets(stacks[0].modality),
        "heatmap": None,
    }
    if heatmap is not None:
        rows, columns = heatmap.shape
        data["heatmap"] = {
            "answer": heatmap.answer,
            "source": heatmap.source,
            "ref": frame_key(heatmap.ref),
            "rows": rows,
            "columns": columns,
        }
    told = _component()(key="viewer", data=data, height="content", on_view_change=on_view).view
    if not told or told["stack"] != stacks[0].name:
        return View(image=stacks[0].start + 1, seen=frozenset({stacks[0].start + 1}))
    return View(image=told["image"], seen=frozenset(told["seen"]))


def _presets(modality: str) -> list[dict[str, Any]]:
    """Windows by name: those that the engine applies itself, and for CT those in Hounsfield units."""
    windows = CT_WINDOWS if modality == "CT" else {}
    return [
        {"name": "automatic", "label": "Auto", "key": "a", "window": None},
        {"name": "file", "label": "File", "key": "f", "window": None},
        *(
            {
                "name": name,
                "label": name.replace("_", " ").capitalize(),
                "key": str(number),
                "window": {"center": center, "width": width},
            }
            for number, (name, (center, width)) in enumerate(windows.items(), start=1)
        ),
    ]


@cache
def _component() -> ComponentRenderer:
    folder = Path(__file__).parent
    return v2.component(
        "medvqa.stack_viewer",
        html=(folder / "viewer.html").read_text(encoding="utf-8"),
        css=(folder / "viewer.css").read_text(encoding="utf-8"),
        js="\n".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS),
    )
