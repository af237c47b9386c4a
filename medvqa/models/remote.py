"""A model that answers over a network: what can be learned of it by asking alone.

A chat API cannot be made to say a given answer, so how likely an answer would have been to another image is
measured by asking about that image, and comparing. See `bound_log_likelihood` and `estimate_agreement`.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeAlias

from medvqa.errors import ModelError
from medvqa.long_work import go_on
from medvqa.models.base import Generation
from medvqa.models.encoding import content_digest
from medvqa.models.replies import LEAST, Position, Reply
from medvqa.types import Notice, Token

if TYPE_CHECKING:
    from medvqa.types import Image, ModelIdentity

    Asked: TypeAlias = tuple[Image, str, int]
    """Image, question and draw; see `Ask`."""

_EVEN = math.log(0.5)
_AT_ONCE = 4
"""Requests on their way together."""
_KEPT = 2000
"""Replies that are kept, texts and numbers alone, so that nothing is sent twice."""


class Ask(Protocol):
    """Puts a question to a server."""

    def __call__(self, image: Image, question: str, draw: int) -> Reply:
        """Ask for the likeliest answer where `draw` is 0, and for one at random where it is 1, 2, ...

        Raises:
            ModelError: If no answer came.
        """
        ...


class RemoteModel:
    """A model behind a server; make one with `medvqa.connect`.

    Args:
        ask: Puts questions to it.
        identity: What is known of it.
        draws: Answers at random by which a likelihood is estimated; 0 where the server tells logprobs.
        identified: Whether it may be sent images that may tell who the patient is.
    """

    def __init__(self, ask: Ask, identity: ModelIdentity, *, draws: int, identified: bool = False) -> None:
        self._ask = ask
        self._replies: OrderedDict[tuple[str, str, int], Reply] = OrderedDict()
        self._spelled: dict[int, bytes] = {}
        self.identity = identity
        self.draws = draws
        self.identified = identified
        self.modalities: frozenset[str] = frozenset()
        self.calibration = None
        """Nothing was measured on it: its confidence is not calibrated."""

    @property
    def notice(self) -> Notice:
        """What a reader of its answers has to know."""
        if self.draws:
            by = self.identity.parameters["likelihood"]
            told = f"it tells no logprobs, so all likelihoods are estimates by {by}"
        else:
            told = "image reliance and the effects of image and wording are at least as large as measured"
        message = f"image and question were sent to a server; {told}, and confidence is not calibrated"
        return Notice(code="remote_model", message=message)

    def generate(self, image: Image, question: str) -> Generation:
        """Answer; the same again to what was asked before.

        The numbers in `token_ids` are `number_of` the tokens. Without logprobs the whole answer is one token.

        Raises:
            ModelError: If no answer came.
        """
        reply = self._reply_all([(image, question, 0)])[0]
        if not self.draws:
            tokens = tuple(
                Token(text=position.text, log_probability=position.log_probability)
                for position in self._positions(reply)
            )
            spelled = [position.spelled for position in reply.positions]
        else:
            spelled = [_plain(reply.text)]
            agreement = self._agree([(image, question)], spelled[0])[0]
            tokens = (Token(text=reply.text, log_probability=agreement),)
        token_ids = tuple(number_of(one) for one in spelled)
        self._spelled.update(zip(token_ids, spelled, strict=True))
        return Generation(text=reply.text, tokens=tokens, token_ids=token_ids)

    def log_likelihood(self, image: Image, question: str, token_ids: tuple[int, ...]) -> float:
        """As `log_likelihoods`, of one image with a question about it."""
        return self.log_likelihoods([(image, question)], token_ids)[0]

    def log_likelihoods(self, asked: Sequence[tuple[Image, str]], token_ids: tuple[int, ...]) -> list[float]:
        """How likely the same answer is to each of several questions, in nats: a bound, or an estimate.

        Args:
            asked: Images with questions about them.
            token_ids: Of an answer that this model gave.

        Raises:
            ModelError: If no answer came, or `token_ids` are not of one that it gave.
        """
        try:
            spelled = [self._spelled[token_id] for token_id in token_ids]
        except KeyError:
            raise ModelError(
                "a server's model tells the likelihood of its own answers alone; ask it first"
            ) from None
        if self.draws:
            return self._agree(asked, spelled[0])
        replies = self._reply_all([(image, question, 0) for image, question in asked])
        return [bound_log_likelihood(self._positions(reply), spelled) for reply in replies]

    def _agree(self, asked: Sequence[tuple[Image, str]], answer: bytes) -> list[float]:
        draws = range(1, self.draws + 1)
        replies = self._reply_all([(image, question, draw) for image, question in asked for draw in draws])
        texts = [_plain(reply.text) for reply in replies]
        drawn = [texts[start : start + self.draws] for start in range(0, len(texts), self.draws)]
        return [estimate_agreement(one, answer) for one in drawn]

    def _positions(self, reply: Reply) -> tuple[Position, ...]:
        if not reply.positions:
            raise ModelError(
                f"{self.identity.name} left out the logprobs of an answer, which it gave before; ask again"
            )
        return reply.positions

    def _reply_all(self, asked: Sequence[Asked]) -> list[Reply]:
        """Replies in order; those of before, and those of the server to what is new."""
        go_on()
        keys = [(content_digest(image), question, draw) for image, question, draw in asked]
        new = {key: one for key, one in zip(keys, asked, strict=True) if key not in self._replies}
        pool = ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="remote")
        try:
            for key, reply in zip(new, pool.map(lambda one: self._ask(*one), new.values()), strict=True):
                self._replies[key] = reply
                go_on()
        finally:
            pool.shutdown(cancel_futures=True)
        found = [self._replies[key] for key in keys]
        while len(self._replies) > _KEPT:
            self._replies.popitem(last=False)
        return found


def bound_log_likelihood(positions: Sequence[Position], answer: Sequence[bytes]) -> float:
    """At most how likely it was that a reply would begin with these tokens, in nats.

    As long as the reply has the same tokens, their probabilities count. At the first that differs, the
    answer's token has the probability that is listed for it; one that is not listed is no likelier than any
    that is, nor than what they leave. There the walk ends: nobody knows what would have followed, so it
    counts as certain. This is an upper bound, exact for the answer itself, and its fall from there is a lower
    bound.

    Args:
        positions: Of the reply that is likeliest to the server, token by token.
        answer: Tokens as `Position.spelled`.
    """
    total = 0.0
    for place, token in enumerate(answer):
        if place == len(positions):
            return total + _EVEN  # the reply's end was likelier here than the answer's token
        if positions[place].spelled != token:
            return total + _bound(positions[place], token)
        total += positions[place].log_probability
    return total


def _bound(position: Position, token: bytes) -> float:
    """At most how likely a token was that was not chosen."""
    if token in position.listed:
        return position.listed[token]
    left = 1 - sum(map(math.exp, position.listed.values()))
    return max(min(*position.listed.values(), _EVEN, math.log(max(left, math.exp(LEAST)))), LEAST)


def estimate_agreement(drawn: Sequence[bytes], answer: bytes) -> float:
    """How likely an answer is, by how many of the answers at random are the same: log (same + 1) / (n + 2).

    Reference: Laplace's rule of succession; Wang et al. 2023, "Self-consistency improves chain of thought
    reasoning in language models", for what agreement is worth.

    Args:
        drawn: Answers at random, at least one.
        answer: The one in question.
    """
    return math.log((sum(one == answer for one in drawn) + 1) / (len(drawn) + 2))


def number_of(spelled: bytes) -> int:
    """A number for a token of a server that gives none: the first 48 bits of its bytes' SHA-256."""
    return int.from_bytes(hashlib.sha256(spelled).digest()[:6], "big")


def _plain(text: str) -> bytes:
    """An answer as it is compared: case, spaces and a final stop say nothing."""
    return " ".join(text.casefold().split()).rstrip(" .!").encode()
