"""Checkpoints answer repeatably, are identified to the byte, and are refused in one sentence."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_models import noise, write_llava
from transformers import AutoModelForImageTextToText, LlamaConfig

from medvqa.errors import ModelError, QuestionError
from medvqa.heatmaps import HEATMAPS
from medvqa.models import checkpoints
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.prompts import clean_question
from medvqa.types import Image

WEIGHTS = Path(checkpoints.__file__).parent / "weights"
QUESTIONS = (
    "Is there a tumor?",
    "What modality is this?",
    "In which quadrant of this image is the simulated nodule?",
)


@pytest.fixture(scope="module")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture
def broken(llava_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llava_folder, tmp_path / "broken"))


@pytest.fixture(scope="module", params=["default", "llava"])
def model(
    request: pytest.FixtureRequest, default_model: HuggingFaceModel, llava_folder: Path
) -> HuggingFaceModel:
    return default_model if request.param == "default" else load_model(llava_folder, max_new_tokens=9)


def write_adapter(base: Path, folder: Path, *, rank: int = 4) -> Path:
    torch.manual_seed(1)
    plain = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=rank, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(plain, config).save_pretrained(folder)
    return folder


def refusal(call: Callable[[], object], error: type[Exception] = ModelError) -> str:
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def test_greedy_answers_repeat(model: HuggingFaceModel) -> None:
    for question in QUESTIONS:
        assert model.generate(noise(), question) == model.generate(noise(), question)


def test_token_probabilities_sum_to_the_teacher_forced_likelihood(model: HuggingFaceModel) -> None:
    for seed, question in enumerate(QUESTIONS):
        image = noise(seed=seed)
        said = model.generate(image, question)
        assert said.log_likelihood == pytest.approx(
            model.log_likelihood(image, question, said.token_ids), abs=1e-4
        )
        assert all(token.log_probability <= 0 for token in said.tokens)


def test_an_encoded_image_answers_as_an_image_read_anew(model: HuggingFaceModel) -> None:
    image = noise(seed=5)
    alone = [plain_generate(model, image, question) for question in QUESTIONS]
    model.encode(image)
    for question, (token_ids, log_probabilities) in zip(QUESTIONS, alone, strict=True):
        said = model.generate(image, question)
        assert list(said.token_ids) == token_ids
        found = [token.log_probability for token in said.tokens]
        assert found == pytest.approx(log_probabilities, abs=1e-5)


def plain_generate(model: HuggingFaceModel, image: Image, question: str) -> tuple[list[int], list[float]]:
    """What transformers alone answers: nothing is kept, and nothing shared."""
    inputs = model._prompting.process([image], [question])
    output = model.module.generate(
        **inputs, **model._decoding, return_dict_in_generate=True, output_logits=True
    )
    token_ids = output.sequences[0, inputs["input_ids"].shape[1] :]
    log_probabilities = torch.stack(output.logits)[:, 0].log_softmax(-1)
    return token_ids.tolist(), log_probabilities.gather(1, token_ids[:, None])[:, 0].tolist()


def test_likelihoods_in_one_batch_are_those_one_by_one(model: HuggingFaceModel) -> None:
    asked = [(noise(seed=seed), question) for seed in range(2) for question in QUESTIONS]
    together = model.log_likelihoods(asked, (5, 6, 7))
    alone = [model.log_likelihood(image, question, (5, 6, 7)) for image, question in asked]
    prompts = [model.prompt(image, question) for image, question in asked]
    plain = [
        model.answer_log_probabilities(prompt, (5, 6, 7), prompt.image.features).sum().item()
        for prompt in prompts
    ]
    assert together == pytest.approx(alone, abs=1e-4)
    assert together == pytest.approx(plain, abs=1e-4)


def test_the_greedy_token_is_the_likeliest_of_a_distribution(llava_folder: Path) -> None:
    model = load_model(llava_folder, max_new_tokens=1)
    config = model.module.config
    said = model.generate(noise(), QUESTIONS[0])
    words = {*range(0, config.text_config.vocab_size, 9), *said.token_ids} - {config.image_token_id}
    likelihoods = {token: model.log_likelihood(noise(), QUESTIONS[0], (token,)) for token in words}
    assert max(likelihoods, key=likelihoods.__getitem__) == said.token_ids[0]
    assert sum(math.exp(value) for value in likelihoods.values()) <= 1 + 1e-4


def test_an_image_is_never_an_answer(llava_folder: Path) -> None:
    model = load_model(llava_folder, max_new_tokens=1)
    image_token = model.module.config.image_token_id
    likeliest = model.generate(noise(), QUESTIONS[0]).token_ids[0]
    weight = model.module.get_output_embeddings().weight
    weight[image_token] = 2 * weight[likeliest]
    assert model.generate(noise(), QUESTIONS[0]).token_ids != (image_token,)


def test_a_batch_answers_as_one_by_one(model: HuggingFaceModel) -> None:
    images = [noise(40 + 9 * seed, 70, seed=seed) for seed in range(3)]
    alone = [model.generate(image, question).text for image, question in zip(images, QUESTIONS, strict=True)]
    assert model.answer_many(images, QUESTIONS) == alone


@pytest.mark.slow
@pytest.mark.parametrize("method", HEATMAPS)
def test_both_families_give_both_heatmaps(model: HuggingFaceModel, method: str) -> None:
    image = noise(31, 45)
    heatmap = HEATMAPS[method](model, image, QUESTIONS[0], model.generate(image, QUESTIONS[0]))
    assert heatmap.values.shape == (31, 45)
    assert heatmap.grid[0] == heatmap.grid[1] >= 4
    if method == "integrated_gradients":
        assert heatmap.convergence_delta is not None
        assert math.isfinite(heatmap.convergence_delta)


def test_attention_rows_are_at_most_one_and_the_kernel_is_put_back(model: HuggingFaceModel) -> None:
    prompt = model.prompt(noise(), QUESTIONS[0])
    before = model.module.get_decoder().config._attn_implementation
    log_probabilities, layers = model.attentions(prompt, (5, 6, 7), prompt.image.features)
    tokens = prompt.input_ids.shape[1] + 3
    assert log_probabilities.shape == (1, 3)
    weights = [layer.weights for layer in layers]
    assert all(layer.shape[2:] == (tokens, tokens) for layer in weights)
    assert all(layer[0, :, -4:-1, model.image_positions(prompt)].min() >= 0 for layer in weights)
    assert all(torch.allclose(layer.sum(-1), torch.ones(()), atol=1e-5) for layer in weights)
    assert model.module.get_decoder().config._attn_implementation == before


def test_the_default_model_is_small_and_names_what_it_was_made_for(default_model: HuggingFaceModel) -> None:
    assert sum(parameter.numel() for parameter in default_model.module.parameters()) <= 40e6
    assert (WEIGHTS / "model.safetensors").stat().st_size <= 48e6
    assert default_model.modalities == {"CR", "DX", "MR", "US"}
    assert default_model.identity.name == "default"
    assert default_model.identity.adapter_sha256 is None
    json.dumps({"parameters": dict(default_model.identity.parameters)})


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "generation_config.json"])
def test_one_byte_of_the_weights_changes_their_digest(llava_folder: Path, broken: Path, name: str) -> None:
    assert checkpoints.weights_sha256(broken) == checkpoints.weights_sha256(llava_folder)
    flip(broken / name)
    assert checkpoints.weights_sha256(broken) != checkpoints.weights_sha256(llava_folder)
    assert checkpoints.tokenizer_sha256(broken) == checkpoints.tokenizer_sha256(llava_folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "processor_config.json", "chat_template.jinja"])
def test_one_byte_of_the_processor_changes_its_digest(llava_folder: Path, broken: Path, name: str) -> None:
    flip(broken / name)
    assert checkpoints.tokenizer_sha256(broken) != checkpoints.tokenizer_sha256(llava_folder)
    assert checkpoints.weights_sha256(broken) == checkpoints.weights_sha256(llava_folder)


def test_an_image_processor_of_the_older_layout_is_in_the_digest(broken: Path) -> None:
    before = checkpoints.tokenizer_sha256(broken)
    (broken / "preprocessor_config.json").write_text('{"image_mean": [0, 0, 0]}')
    assert checkpoints.tokenizer_sha256(broken) != before


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("base", ["default", "llava"])
def test_an_adapter_changes_the_answer_and_the_identity(
    base: str, default_model: HuggingFaceModel, llava_folder: Path, tmp_path: Path
) -> None:
    folder = WEIGHTS if base == "default" else llava_folder
    plain = default_model if base == "default" else load_model(llava_folder)
    adapter = write_adapter(folder, tmp_path / "adapter")
    adapted = load_model(folder, adapter=adapter)
    assert adapted.log_likelihood(noise(), QUESTIONS[0], (5, 6)) != pytest.approx(
        plain.log_likelihood(noise(), QUESTIONS[0], (5, 6)), abs=1e-3
    )
    assert adapted.identity.weights_sha256 == plain.identity.weights_sha256
    assert adapted.identity.adapter == str(adapter)
    assert adapted.identity.adapter_sha256 == checkpoints.adapter_sha256(adapter)
    flip(adapter / "adapter_model.safetensors")
    assert adapted.identity.adapter_sha256 != checkpoints.adapter_sha256(adapter)


def test_an_adapter_of_another_model_is_refused(llava_folder: Path, tmp_path: Path) -> None:
    other = write_llava(tmp_path / "wide", hidden_size=64)
    adapter = write_adapter(other, tmp_path / "adapter")
    assert "does not fit this model" in refusal(lambda: load_model(llava_folder, adapter=adapter))


def test_an_adapter_that_lacks_or_adds_matrices_is_refused(llava_folder: Path, tmp_path: Path) -> None:
    adapter = write_adapter(llava_folder, tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    first = min(tensors)
    save_file({name: tensor for name, tensor in tensors.items() if name != first}, file)
    assert "1 matrices do not match" in refusal(lambda: load_model(llava_folder, adapter=adapter))
    save_file({**tensors, first.replace("layers.0", "layers.9"): tensors[first].clone()}, file)
    assert "1 matrices do not match" in refusal(lambda: load_model(llava_folder, adapter=adapter))


def test_a_broken_or_missing_adapter_is_refused(llava_folder: Path, tmp_path: Path) -> None:
    adapter = write_adapter(llava_folder, tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").write_bytes(b"\xff" * 64)
    refusal(lambda: load_model(llava_folder, adapter=adapter))
    (adapter / "adapter_config.json").write_text("[]")
    refusal(lambda: load_model(llava_folder, adapter=adapter))
    refusal(lambda: load_model(llava_folder, adapter=llava_folder))
    refusal(lambda: load_model(llava_folder, adapter=tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["no/such-model", "/nowhere/at/all", "a b:c", ""])
def test_an_unknown_name_is_refused(name: str) -> None:
    assert "config.json" in refusal(lambda: load_model(name))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    assert "cannot be loaded" in refusal(lambda: load_model(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x08\0\0\0\0\0\0\0{}      "])
def test_broken_weights_are_refused(broken: Path, content: bytes) -> None:
    (broken / "model.safetensors").write_bytes(content)
    refusal(lambda: load_model(broken))


def test_truncated_weights_are_refused(broken: Path) -> None:
    file = broken / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    assert "cannot be loaded" in refusal(lambda: load_model(broken))


def test_weights_that_lack_a_tensor_are_refused_and_not_made_up(broken: Path) -> None:
    file = broken / "model.safetensors"
    tensors = load_file(file)
    save_file({name: tensors[name] for name in sorted(tensors)[1:]}, file)
    assert "lack 1 of" in refusal(lambda: load_model(broken))


def test_pickled_weights_are_not_read_since_no_digest_covers_them(broken: Path) -> None:
    torch.save(load_file(broken / "model.safetensors"), broken / "pytorch_model.bin")
    (broken / "model.safetensors").unlink()
    refusal(lambda: load_model(broken))


@pytest.mark.parametrize("config", ["", "{", "[]", "{}", '{"model_type": "zork"}', '{"model_type": "llama"}'])
def test_a_broken_configuration_is_refused(broken: Path, config: str) -> None:
    (broken / "config.json").write_text(config)
    refusal(lambda: load_model(broken))


def test_a_family_without_a_record_is_refused_before_its_weights_are_read(broken: Path) -> None:
    (broken / "config.json").write_text('{"model_type": "kosmos-2"}')
    text = refusal(lambda: load_model(broken))
    assert "kosmos-2" in text
    assert "llava" in text


@pytest.mark.parametrize("name", ["processor_config.json", "tokenizer.json", "chat_template.jinja"])
def test_a_folder_without_all_of_the_processor_is_refused(broken: Path, name: str) -> None:
    (broken / name).unlink()
    refusal(lambda: load_model(broken))


def test_a_language_model_alone_is_refused(tmp_path: Path) -> None:
    LlamaConfig().save_pretrained(tmp_path)
    refusal(lambda: load_model(tmp_path))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps", "abacus"])
def test_a_device_that_is_not_there_is_refused(llava_folder: Path, device: str) -> None:
    assert device in refusal(lambda: load_model(llava_folder, device=device))


def test_a_question_too_long_for_the_model_is_refused(model: HuggingFaceModel) -> None:
    text = refusal(lambda: model.generate(noise(), "\u263a" * 400), QuestionError)
    assert "shorten the question" in text
    assert "shorten it to 500" in refusal(lambda: clean_question("why " * 200), QuestionError)


@pytest.mark.parametrize("token", ["<image>", "</s>", "<assistant>"])
def test_a_question_cannot_hold_special_tokens(model: HuggingFaceModel, token: str) -> None:
    assert token in refusal(lambda: model.generate(noise(), f"what{token}yes"), QuestionError)


@pytest.mark.parametrize("question", ["", " \n\t ", "is it \udcff?"])
def test_a_question_must_be_text(question: str) -> None:
    refusal(lambda: clean_question(question), QuestionError)


@pytest.mark.parametrize("question", ["?", "IST DA EIN TUMOR?", "有肿瘤吗", "\0", "a" * 120])
def test_any_words_get_an_answer(default_model: HuggingFaceModel, question: str) -> None:
    said = default_model.generate(noise(), question)
    assert math.isfinite(said.log_likelihood)
