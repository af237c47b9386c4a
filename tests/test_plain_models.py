"""Models asked by transformers' plain calls: with examples before the question, or with code of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_families import TINY, build_tiny, each_of
from tiny_models import IDENTITY, noise, write_llava

from medvqa.errors import ModelError, QuestionError
from medvqa.models.base import Shot
from medvqa.models.families import FAMILIES
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.models.own_code import load_with_own_code
from medvqa.models.plain import PlainModel

if TYPE_CHECKING:
    from pathlib import Path

QUESTION = "Is there a nodule?"
SHOTS = (
    Shot(image=noise(64, 64, seed=7), question=QUESTION, answer="yes"),
    Shot(image=noise(90, 70, seed=8), question="Where is it?", answer="no"),
)
SEVERAL = sorted(name for name, family in FAMILIES.items() if family.several_images)
CODE = """
from transformers import LlavaConfig, LlavaForConditionalGeneration

class ClinicConfig(LlavaConfig):
    model_type = "clinic_vl"

class ClinicModel(LlavaForConditionalGeneration):
    config_class = ClinicConfig
"""


@cache
def tiny(family: str) -> HuggingFaceModel:
    model, processor = build_tiny(family)
    identity = replace(IDENTITY, name=family, parameters={"max_new_tokens": 4})
    return HuggingFaceModel(model, processor, identity)


@pytest.mark.parametrize("family", each_of(SEVERAL))
def test_examples_are_read_and_an_answer_is_as_likely_as_it_was_said_to_be(family: str) -> None:
    model, image = tiny(family).with_shots(SHOTS), noise(90, 70)
    said = model.generate(image, QUESTION)
    forced = model.log_likelihoods([(image, QUESTION), (noise(90, 70, seed=3), QUESTION)], said.token_ids)
    assert forced[0] == pytest.approx(said.log_likelihood, abs=1e-4)
    assert forced[1] != pytest.approx(forced[0], abs=1e-4)
    others = (replace(SHOTS[0], image=noise(64, 64, seed=9)), SHOTS[1])
    seen = tiny(family).with_shots(others).log_likelihood(image, QUESTION, said.token_ids)
    assert seen != pytest.approx(forced[0], abs=1e-4)  # the example's picture
    told = tiny(family).with_shots((SHOTS[0], replace(SHOTS[1], answer="yes")))
    assert told.log_likelihood(image, QUESTION, said.token_ids) != pytest.approx(forced[0], abs=1e-4)


@pytest.mark.parametrize("family", each_of(TINY))
def test_without_examples_it_answers_as_the_generic_class(family: str) -> None:
    generic = tiny(family)
    plain = PlainModel(generic.module, generic._processor, generic.identity)
    image = noise(90, 70)
    said = generic.generate(image, QUESTION)
    assert plain.generate(image, QUESTION).token_ids == said.token_ids
    likelihood = plain.log_likelihood(image, QUESTION, said.token_ids)
    assert likelihood == pytest.approx(said.log_likelihood, abs=1e-4)


@pytest.mark.parametrize("family", sorted(TINY.keys() - set(SEVERAL)))
def test_families_that_read_one_image_take_no_examples(family: str) -> None:
    with pytest.raises(ModelError, match=rf"{family} read one image at a time.*choose another"):
        tiny(family).with_shots(SHOTS)


def test_the_identity_names_the_examples_and_special_tokens_in_them_are_refused() -> None:
    model = tiny("llava").with_shots(SHOTS)
    digests = model.identity.parameters["shots"]
    assert len(digests) == 2
    changed = (replace(SHOTS[0], answer="no"), SHOTS[1])
    assert tiny("llava").with_shots(changed).identity.parameters["shots"][1] == digests[1]
    assert tiny("llava").with_shots(changed).identity.parameters["shots"][0] != digests[0]
    bad = (replace(SHOTS[0], answer="yes<image>"), SHOTS[1])
    with pytest.raises(QuestionError, match="special token"):
        tiny("llava").with_shots(bad).generate(noise(), QUESTION)


@pytest.fixture
def own_code(tmp_path: Path) -> Path:
    """A checkpoint of a class that transformers does not know."""
    folder = write_llava(tmp_path / "clinic")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "clinic_vl",
        "auto_map": {
            "AutoConfig": "modeling_clinic.ClinicConfig",
            "AutoModelForCausalLM": "modeling_clinic.ClinicModel",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_clinic.py").write_text(CODE)
    save_file(load_model(write_llava(tmp_path / "known")).module.state_dict(), folder / "model.safetensors")
    return folder


def test_code_of_a_checkpoint_s_own_is_run_only_on_request(
    own_code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(own_code)
    assert not (tmp_path / "modules").exists()
    model = load_with_own_code(own_code, device="cpu", max_new_tokens=4)
    known = load_model(tmp_path / "known", device="cpu", max_new_tokens=4)
    assert model.identity.model_type == "clinic_vl"
    assert model.generate(noise(), QUESTION).token_ids == known.generate(noise(), QUESTION).token_ids
    with pytest.raises(ModelError, match="in fp32 or bf16"):
        load_with_own_code(own_code, precision="int8")
    with pytest.raises(ModelError, match="stays on one device"):
        load_with_own_code(own_code, device="vision=cpu,language=cpu")
    (own_code / "modeling_clinic.py").write_text("raise ValueError('broken')")
    broken = json.loads((own_code / "config.json").read_text()) | {"auto_map": {}}
    (own_code / "config.json").write_text(json.dumps(broken))
    with pytest.raises(ModelError, match="with its own code"):
        load_with_own_code(own_code)


def test_parameters_are_frozen() -> None:
    model: Any = tiny("llava").with_shots(SHOTS)
    assert not any(parameter.requires_grad for parameter in model._module.parameters())
    assert torch.is_grad_enabled()
