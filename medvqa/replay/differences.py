"""What a replay found, and how the recorded is compared with what is found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from medvqa.types import ModelIdentity

LIBRARIES = "library"
"""What a difference between library versions is called, followed by the library's name."""
ROUNDING = 1e-4
"""By how much the numbers of an answer that was given together with others may differ from those of the same
answer given alone: a batch sums in another order. In nats or shares; 2e-5 is the most that was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it was recorded."""

    what: str
    """In a person's words, such as `adapter`, `library torch` or `token ids`."""
    recorded: str | None
    """As the row has it; None where the row has none."""
    found: str | None
    """As it is now; None where there is none."""
    note: str | None = None
    """By how much, or why: one sentence without patient attributes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What came of answering a recorded question again."""

    row: int
    """The answer's row in the trail."""
    answer_id: str
    differences: tuple[Difference, ...]
    """What a person would want to know first comes first: row, image, model, circumstances, output."""
    reproduced: bool | None
    """Whether the output is the recorded one, bit for bit; None where the model was not run, because the
    row, the image or a file of the model is another one."""

    @property
    def identical(self) -> bool:
        """Whether nothing differs, neither in what the row pins nor in what came out."""
        return not self.differences


def compare_files(recorded: Mapping[str, Any], found: Mapping[str, str | None]) -> Iterator[Difference]:
    """Compare the digests of a model's files, in the order weights, adapter, tokenizer.

    Args:
        recorded: `ModelIdentity` as the row has it.
        found: Digests by the names of `ModelIdentity`.
    """
    names = {
        "weights_sha256": ("weights", "weights and configuration of the model"),
        "adapter_sha256": ("adapter", "settings and weights of the adapter"),
        "tokenizer_sha256": ("tokenizer", "tokenizer, chat template and settings of the processor"),
    }
    for key, (what, meaning) in names.items():
        if recorded[key] != found[key]:
            note = f"SHA-256 over the files of {meaning}"
            yield Difference(what=what, recorded=recorded[key], found=found[key], note=note)


def compare_circumstances(recorded: Mapping[str, Any], found: ModelIdentity) -> Iterator[Difference]:
    """Compare what surrounds a model: prompt, calibration, parameters, libraries.

    What the row lacks is passed over.
    """
    if recorded["prompt_version"] != found.prompt_version:
        yield Difference(
            what="prompt version", recorded=recorded["prompt_version"], found=found.prompt_version
        )
    if "calibration_sha256" in recorded:
        calibration = {"calibration": recorded["calibration_sha256"]}
        yield from _compare_mappings("", calibration, {"calibration": found.calibration_sha256})
    yield from _compare_mappings("", _in_order(recorded["parameters"]), found.parameters)
    yield from _compare_mappings(f"{LIBRARIES} ", recorded["libraries"], found.libraries)


def compare_outputs(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Difference]:
    """Compare two answers: floats bit for bit, or within `ROUNDING` where the recorded one was given together
    with others.

    Args:
        recorded: `Recorded.output`.
        found: Of the answer given now, by the same keys.
    """
    if recorded["batch_size"] > 1:
        found = _rounded_to(recorded, found)
    if recorded["prompt"] is not None:
        yield from _compare_mappings("prompt ", recorded["prompt"], found["prompt"])
    for key, what in (("token_ids", "token ids"), ("answer", "text")):
        yield from _compare_mappings("", {what: recorded[key]}, {what: found[key]})
    if recorded["token_ids"] == found["token_ids"]:
        yield from _compare_log_probabilities(recorded["tokens"], found["tokens"])
    if recorded["checks_version"] is not None:
        version = {"checks version": recorded["checks_version"]}
        yield from _compare_mappings("", version, {"checks version": found["checks_version"]})
    checks = dict(recorded["checks"])
    verdict = {"verdict": checks.pop("verdict")} if "verdict" in checks else {}
    yield from _compare_mappings("check ", checks, found["checks"])
    yield from _compare_mappings("", verdict, found["checks"])
    yield from _compare_mappings("heatmap ", recorded["heatmaps"], found["heatmaps"])


def _rounded_to(recorded: Any, found: Any) -> Any:
    """What was found, with the recorded number in place of each that is within `ROUNDING` of it."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        known = cast("dict[str, Any]", recorded)
        return {name: _rounded_to(known.get(name), value) for name, value in found.items()}
    if isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        return [_rounded_to(*pair) for pair in zip(recorded, found, strict=True)]
    if isinstance(recorded, float) and isinstance(found, float) and abs(recorded - found) <= ROUNDING:
        return recorded
    return found


def _in_order(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Generation parameters first, then dtype, device, threads and what else a newer version records."""
    first = ("decoding", "max_new_tokens", "dtype", "device", "threads")
    names = [name for name in first if name in parameters]
    return {name: parameters[name] for name in [*names, *(parameters.keys() - {*names})]}


def _compare_mappings(
    prefix: str, recorded: Mapping[str, Any], found: Mapping[str, Any]
) -> Iterator[Difference]:
    for name, value in recorded.items():
        if value != found.get(name):
            note = _distance(value, found.get(name))
            what = prefix + name.replace("_", " ")
            yield Difference(what=what, recorded=_write(value), found=_write(found.get(name)), note=note)


def _compare_log_probabilities(
    recorded: list[Mapping[str, Any]], found: list[Mapping[str, Any]]
) -> Iterator[Difference]:
    """One difference for all tokens: the first that differs, and how far the furthest is off."""
    pairs = [
        (one["log_probability"], other["log_probability"]) for one, other in zip(recorded, found, strict=True)
    ]
    places = [place for place, (one, other) in enumerate(pairs) if one != other]
    if places:
        first, furthest = pairs[places[0]], max(abs(one - other) for one, other in pairs)
        note = (
            f"{len(places)} of {len(pairs)} tokens, the first is token {places[0] + 1}; "
            f"the largest difference is {furthest:.2g} nats"
        )
        yield Difference(
            what="log-probabilities", recorded=_write(first[0]), found=_write(first[1]), note=note
        )


def _distance(recorded: Any, found: Any) -> str | None:
    numbers = [type(value) in (int, float) for value in (recorded, found)]
    return (
        f"by {abs(recorded - found):.2g}" if all(numbers) and float in map(type, (recorded, found)) else None
    )


def _write(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
