"""The adapter's card: what it was made from, how, and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medvqa.types import NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from medvqa.tuning.state import State, Validation


def write_card(
    described: Mapping[str, Any], state: State, *, rank: int, share: float, digests: Mapping[str, str]
) -> str:
    """The card as Markdown, with the front matter that the Hugging Face hub reads.

    Args:
        described: As of `describe_run`.
        state: At the end.
        rank: Of the adapter's matrices.
        share: Of all parameters, that was trained, in [0, 1].
        digests: Names of what was digested, with the SHA-256 of each.
    """
    plan, base, data = described["plan"], described["base"], described["data"]
    licence = plan["licence"]
    best = state.best
    parts = [
        "---",
        "library_name: peft",
        f"base_model: {base['name']}",
        *([f"license: {licence}"] if licence else []),
        "tags: [lora, medvqa]",
        "---",
        "",
        f"# LoRA adapter for {base['name']}",
        "",
        f"{NOT_FOR_DIAGNOSIS} Made by `medvqa tune`.",
        "",
        f"Licence: {licence or 'not stated'}. The licences of the base model and of the data hold as well.",
        "",
        "## Data",
        "",
        f"`{data['name']}`, SHA-256 of the file `{data['sha256']}`, which does not cover the images.",
        "",
        *_counts(data),
        "",
        "## Figures",
        "",
        f"On the {data['val']['cases']} validation cases, which also chose the step ({best.step} of "
        f"{state.step} taken), so they flatter: measure the adapter on a test set with `medvqa evaluate`.",
        "Exact match is the share of answers that greedy decoding writes token for token.",
        "",
        *_figures(state.validations[0], best),
        "",
        "## Settings",
        "",
        f"Rank {rank}, alpha {2 * rank}, dropout 0.05; {share:.2%} of all parameters trained, on the loss of "
        "the answers' tokens alone.",
        "",
        *[f"- {name}: {value}" for name, value in plan.items() if name not in ("licence", "rank")],
        f"- processes: {described['processes']}",
        "",
        "## Identity",
        "",
        *[f"- {name}: `{digest}`" for name, digest in digests.items()],
    ]
    return "\n".join(parts) + "\n"


def _counts(data: Mapping[str, Any]) -> list[str]:
    rows = ["| | train | val |", "|---|---|---|"]
    names = dict.fromkeys([*data["train"], *data["val"]])
    return [
        *rows,
        *[f"| {name} | {data['train'].get(name, 0)} | {data['val'].get(name, 0)} |" for name in names],
    ]


def _figures(before: Validation, after: Validation) -> list[str]:
    rows = ["| kind | cases | exact match before | after |", "|---|---|---|---|"]
    for kind, (right, count) in after.right.items():
        rows.append(f"| {kind} | {count} | {before.right[kind][0] / count:.3f} | {right / count:.3f} |")
    count = sum(count for _, count in after.right.values())
    rows.append(f"| all | {count} | {before.exact_match:.3f} | {after.exact_match:.3f} |")
    return [*rows, "", f"Loss {before.loss:.3f} before, {after.loss:.3f} after (nats a token)."]
