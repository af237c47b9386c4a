"""Connecting to a server with an OpenAI-compatible chat API that reads images."""

from __future__ import annotations

import base64
import io
import ipaddress
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import numpy as np
from PIL import Image as PillowImage

from medvqa.errors import ModelError
from medvqa.imaging import to_uint8
from medvqa.models.remote import RemoteModel
from medvqa.models.replies import malformed, read_reply
from medvqa.prompts import PROMPT_VERSION, chat_messages
from medvqa.simulation import phantom
from medvqa.types import NOBODY, UNKNOWN, Image, ModelIdentity

try:
    import openai
except ImportError as error:
    raise ModelError(
        "a model on a server needs the package openai; install it with pip install 'medvqa[remote]'"
    ) from error

if TYPE_CHECKING:
    from openai import APIStatusError

    from medvqa.models.replies import Reply

LONGEST_SIDE = 1024
"""Pixels: a larger image is made smaller before it is sent, as most servers do with it anyway."""
DRAWS = 5
"""Answers at random by which a likelihood is estimated."""
_RETRIES = 3
_LISTED, _LISTED_BY_SOME = 20, 5
"""Likeliest tokens that are asked for; some servers list no more than the second."""
_REFUSABLE = ("top_logprobs", "logprobs", "max_tokens", "seed", "temperature")
"""Options that not all servers take; a name that holds another comes first."""
_PROBE = "Describe the image."
_LIBRARIES = ("openai", "numpy", "pillow", "monai", "pydicom")


def connect(
    address: str, *, identified: bool = False, timeout_s: float = 120, max_new_tokens: int = 32
) -> RemoteModel:
    """Connect to a model behind a server, and find out by simulated images what it can tell.

    Images go as PNG of 8 bits without metadata, in requests that are tried four times. The key comes from the
    environment alone: `OPENAI_API_KEY` for api.openai.com, `MEDVQA_API_KEY` for any other host.

    Args:
        address: Of the API, and behind a `#` the model's name: `http://localhost:8000/v1#name`.
        identified: Whether images may be sent that may tell who the patient is.
        timeout_s: Seconds to wait for one answer.
        max_new_tokens: Longest answer.

    Raises:
        ModelError: If the address is of no use, or the server does not answer as it should.
    """
    url, name = _split(address)
    chat = _Chat(url, name, key=_find_key(url, identified), timeout_s=timeout_s, longest=max_new_tokens)
    body = chat.settle()
    # Where each token is certain, the probabilities are those after the choice of the likeliest.
    told = any(one.log_probability < 0 for one in read_reply(body, chat.name).positions)
    draws = 0 if told and "temperature" in chat.options else _count_draws(chat)
    if draws:
        chat.options = {one: value for one, value in chat.options.items() if "logprobs" not in one}
    estimate = f"agreement of {draws} answer{'s' if draws > 1 else ''}"
    identity = ModelIdentity(
        name=address,
        model_type="chat_api",
        weights_sha256=UNKNOWN,
        tokenizer_sha256=UNKNOWN,
        adapter=None,
        adapter_sha256=None,
        prompt_version=PROMPT_VERSION,
        parameters={
            "served_model": str(body.get("model")),
            "system_fingerprint": body.get("system_fingerprint"),
            "decoding": "greedy" if "temperature" in chat.options else "as the server decides",
            "max_new_tokens": max_new_tokens,
            "likelihood": estimate if draws else "logprobs",
            "image": f"PNG, 8 bits, at most {LONGEST_SIDE} x {LONGEST_SIDE} pixels",
        },
        libraries={"python": platform.python_version(), **{one: version(one) for one in _LIBRARIES}},
    )
    return RemoteModel(chat.ask, identity, draws=draws, identified=identified)


class _Chat:
    """One model of one server."""

    def __init__(self, url: str, name: str, *, key: str | None, timeout_s: float, longest: int) -> None:
        # A redirection would send the image to a host that nobody named.
        self._client = openai.OpenAI(
            base_url=url,
            api_key=key or "none",
            timeout=timeout_s,
            max_retries=_RETRIES,
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )
        self._model = name
        self._timeout_s = timeout_s
        self.name = f"the server {urlsplit(url).netloc}"
        self.options: dict[str, Any] = {
            "temperature": 0,
            "seed": 0,
            "max_tokens": longest,
            "logprobs": True,
            "top_logprobs": _LISTED,
        }
        """What each request asks for; `settle` takes out what the server refuses."""

    def ask(self, image: Image, question: str, draw: int) -> Reply:
        """As `medvqa.models.remote.Ask`."""
        return read_reply(self.post(image, question, draw, temperature=1 if draw else 0), self.name)

    def settle(self) -> Mapping[str, Any]:
        """Ask about a simulated image, and again without each option that is refused; what came back."""
        while True:
            try:
                return self._post(_simulated_image(), _PROBE, self.options)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                adapted = _without_refused(self.options, error)
                if adapted is None:
                    raise self._explain(error) from None
                self.options = adapted
            except openai.OpenAIError as error:
                raise self._explain(error) from None

    def post(self, image: Image, question: str, seed: int, *, temperature: float) -> Mapping[str, Any]:
        """The body of one reply.

        Raises:
            ModelError: If none came. Its cause is left out, for a server's message may quote the question.
        """
        wanted = {"temperature": temperature, "seed": seed}
        changed = {name: wanted[name] for name in wanted if name in self.options}
        try:
            return self._post(image, question, self.options | changed)
        except openai.OpenAIError as error:
            raise self._explain(error) from None

    def _post(self, image: Image, question: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
        create: Any = self._client.chat.completions.with_raw_response.create
        response = create(model=self._model, messages=_compose(image, question), **options)
        try:
            body = response.http_response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise malformed(self.name)
        return cast("Mapping[str, Any]", body)

    def _explain(self, error: openai.OpenAIError) -> ModelError:
        """One sentence, of what we know ourselves: a server's own words may quote the question."""
        name, model, tries = self.name, self._model, _RETRIES + 1
        match error:
            case openai.APITimeoutError():
                why = f"did not answer within {self._timeout_s:g} s, {tries} times; see what it is busy with"
            case openai.APIConnectionError():
                why = "cannot be reached; check the address, and that it runs"
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                why = "refused the key, or wants one; set MEDVQA_API_KEY (OPENAI_API_KEY for api.openai.com)"
            case openai.NotFoundError():
                why = f"has no chat API at this address, or no model {model!r}; check both"
            case openai.RateLimitError():
                why = f"turned the question away as one too many, {tries} times; wait, or raise its limit"
            case openai.BadRequestError() | openai.UnprocessableEntityError():
                why = f"did not take the request; check that {model!r} is its name and that it reads images"
            case openai.APIStatusError(status_code=status) if status >= 500:
                why = f"failed {tries} times (HTTP {status}); read its log"
            case openai.APIStatusError(status_code=status):
                why = f"did not take the request (HTTP {status}); check the address"
            case _:
                why = "cannot be asked; check the address"
        return ModelError(f"{name} {why}")


def _split(address: str) -> tuple[str, str]:
    """URL of the API and name of the model."""
    parts = urlsplit(address)
    if not (parts.scheme in ("http", "https") and parts.hostname and parts.fragment):
        raise ModelError(
            "a server's model is named by its address and, behind a #, its name there, as in"
            " http://localhost:8000/v1#name"
        )
    if parts.username or parts.password or parts.query:
        raise ModelError(
            "a server's address holds a user, a password or a query, which would be recorded; leave them out"
            " and set MEDVQA_API_KEY"
        )
    return parts._replace(fragment="").geturl(), parts.fragment


def _find_key(url: str, identified: bool) -> str | None:
    """The key for a host; neither it nor a patient's image goes unencrypted to another machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    variable = "OPENAI_API_KEY" if host == "api.openai.com" else "MEDVQA_API_KEY"
    key = os.environ.get(variable)
    if parts.scheme == "http" and not _is_here(host) and (key or identified):
        raise ModelError(
            f"{variable if key else 'identified images'} would go to {host} unencrypted; use https, or a"
            " server on this machine"
        )
    return key


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _count_draws(chat: _Chat) -> int:
    """`DRAWS`, or 1 from a server that answers the same however often it is asked for another at random.

    There many answers would agree without being any surer than one.
    """
    image = _simulated_image()
    bodies = [chat.post(image, _PROBE, seed, temperature=2) for seed in range(1, DRAWS + 1)]
    return DRAWS if len({read_reply(body, chat.name).text for body in bodies}) > 1 else 1


def _compose(image: Image, question: str) -> list[dict[str, Any]]:
    """The messages of `medvqa.prompts`, with the image in its place."""
    shown = {"type": "image_url", "image_url": {"url": _encode(image)}}
    return [
        {**message, "content": [shown if part["type"] == "image" else part for part in message["content"]]}
        for message in chat_messages(question)
    ]


def _encode(image: Image) -> str:
    """The image as PNG of 8 bits in a data URL: pixels, and nothing else of its file."""
    picture = PillowImage.fromarray(to_uint8(image))
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _simulated_image() -> Image:
    pixels = phantom("chest", np.random.default_rng(0), shape=(192, 192))
    return Image(ref=NOBODY, pixels=pixels, modality="DX")


def _without_refused(options: Mapping[str, Any], error: APIStatusError) -> dict[str, Any] | None:
    """The options without the one that an error names, or with what stands for it; None if it names none."""
    said = str(error.param or json.dumps(error.body))
    refused = next((name for name in _REFUSABLE if name in said and name in options), None)
    if refused is None:
        return None
    if refused == "top_logprobs" and options[refused] > _LISTED_BY_SOME:
        return {**options, refused: _LISTED_BY_SOME}
    dropped = ("logprobs", "top_logprobs") if "logprobs" in refused else (refused,)
    kept = {name: value for name, value in options.items() if name not in dropped}
    return kept | ({"max_completion_tokens": options[refused]} if refused == "max_tokens" else {})
