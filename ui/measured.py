"""What is known about a model, as its files say it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import streamlit as st

from medvqa.models.checkpoints import find_checkpoint
from ui.messages import plain

if TYPE_CHECKING:
    from pathlib import Path

    from medvqa.models.calibration import Calibration
    from medvqa.types import ModelIdentity

ROWS = {
    "model": "With the image",
    "blank_image": "Blanked",
    "other_image": "Another image",
    "majority": "Majority",
}


def show_identity(identity: ModelIdentity) -> None:
    """Draw which model and adapter answer, by name and digest."""
    st.dataframe(
        [
            {"": "Model", "Name": identity.name, "SHA-256": identity.weights_sha256},
            {"": "Tokenizer", "Name": identity.model_type, "SHA-256": identity.tokenizer_sha256},
            {"": "Adapter", "Name": identity.adapter or "none", "SHA-256": identity.adapter_sha256 or ""},
            {
                "": "Calibration",
                "Name": "" if identity.calibration_sha256 else "none",
                "SHA-256": identity.calibration_sha256 or "",
            },
        ],
        hide_index=True,
    )
    with st.expander("Parameters and libraries"):
        st.json({"parameters": dict(identity.parameters), "libraries": dict(identity.libraries)})


def show_calibration(calibration: Calibration | None) -> None:
    """Draw what confidence is worth, where that was measured."""
    if calibration is None or calibration.confidence is None:
        st.info("Confidence is not calibrated: run medvqa calibrate on images whose answers are known.")
        return
    st.caption(f"Confidence: {calibration.measured_on}")
    if calibration.abstention is not None:
        promised, answered = calibration.abstention.alpha, calibration.abstention.answered
        st.markdown(
            f"Promised: at most {promised:.0%} of the answers given are wrong; it answers {answered:.0%}."
        )


def show_figures(name: str) -> None:
    """Draw the scoreboard that lies beside the weights, where there is one."""
    board = _read(name, "figures.json")
    if board is None:
        st.info("No scoreboard lies beside this model: run medvqa evaluate, or medvqa train.")
        return
    rows: dict[str, Any] = json.loads(board)["known"]["rows"]
    kinds = rows["model"]["by_kind"]
    st.dataframe(
        [
            {"Kind of question": kind.replace("_", " ")}
            | {title: rows[row]["by_kind"].get(kind, {}).get("exact_match") for row, title in ROWS.items()}
            for kind in kinds
        ],
        hide_index=True,
        column_config={title: st.column_config.NumberColumn(format="%.3f") for title in ROWS.values()},
    )


def show_gate(name: str) -> None:
    """Draw what the release gate found, from what `medvqa compare --json` printed beside the weights."""
    found = _read(name, "comparison.json")
    if found is None:
        st.info(
            "No result of the release gate lies beside this model. Keep one there:"
            " medvqa compare default ADAPTER CASES --json > ADAPTER/comparison.json"
        )
        return
    comparison: dict[str, Any] = json.loads(found)
    if comparison["passes"]:
        st.success(f"Passed the release gate on {comparison['cases']} cases.")
    else:
        st.error(plain(f"Refused by the release gate: {comparison['why']}"))
    st.dataframe(
        [
            {
                "Figure": title.replace("_", " "),
                "Before": figure["a"],
                "This one": figure["b"],
                "Change": figure["change"],
                "Tolerated fall": figure["tolerance"],
                "Refused": figure["refused"],
            }
            for title, figure in comparison["figures"].items()
        ],
        hide_index=True,
    )


def show_card(name: str) -> None:
    """Draw the model's own description, as it stands: it is text, and nothing in it is followed."""
    card = _read(name, "README.md")
    if card is None:
        st.info("This model has no card.")
    else:
        st.code(card, language=None, wrap_lines=True)


def _read(name: str, file: str) -> str | None:
    path: Path = find_checkpoint(name) / file
    return path.read_text(encoding="utf-8") if path.is_file() else None
