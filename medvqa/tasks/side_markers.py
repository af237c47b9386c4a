"""Which burned-in words say what side of the patient is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

Side: TypeAlias = Literal["left", "right"]

SIDE_MARKERS: Mapping[str, Side] = MappingProxyType(
    {
        **dict.fromkeys(
            ("L", "LT", "LEFT", "LI", "LINKS", "GAUCHE", "IZQ", "IZQUIERDA", "SIN", "左"), "left"
        ),
        **dict.fromkeys(
            ("R", "RT", "RIGHT", "RE", "RECHTS", "DROITE", "DER", "DERECHA", "DEX", "右"), "right"
        ),
    }
)
"""Words that stand on side markers, in capitals. `D` is left out: right in French and Italian, but a dose or
a date elsewhere."""


def kind_of(text: str) -> tuple[Literal["text", "side marker"], Side | None]:
    """What a line of text is: a side marker where it is nothing but one, in any case, in brackets or not."""
    side = SIDE_MARKERS.get(re.sub(r"[^\w]", "", text).upper())
    return ("text", None) if side is None else ("side marker", side)
