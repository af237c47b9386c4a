"""How right one answer is, under each definition that papers on medical questions use.

All are functions of text alone. docs/evaluation.md tells who uses which, and what a figure hides.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medvqa.cases import AnswerType

YesNo: TypeAlias = Literal["yes", "no"]

MARKS = (
    "exact_match",
    "normalised_match",
    "token_recall",
    "token_f1",
    "bleu_4",
    "closed_by_type",
    "closed_by_yes_no",
    "open_recall",
    "open_f1",
)
"""Names of what `mark` returns."""

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SPELLINGS = (
    *("tumour tumor", "tumours tumors", "oedema edema", "oedematous edematous", "haemorrhage hemorrhage"),
    *("haemorrhagic hemorrhagic", "haemorrhages hemorrhages", "haematoma hematoma", "haematomas hematomas"),
    *("oesophagus esophagus", "oesophageal esophageal", "anaemia anemia", "leukaemia leukemia"),
    *("ischaemia ischemia", "ischaemic ischemic", "paediatric pediatric", "foetus fetus", "foetal fetal"),
    *("grey gray", "colour color", "coloured colored", "centre center", "fibre fiber", "xray x-ray"),
)
_WORDS: Mapping[str, str] = MappingProxyType(
    {"none": "0"}
    | {word: str(number) for number, word in enumerate(_NUMBERS)}
    | {british: american for british, _, american in (pair.partition(" ") for pair in _SPELLINGS)}
)
"""Words that normalising replaces: numbers as VQA's own evaluation does, and British spellings."""
_ARTICLES = frozenset(("a", "an", "the"))
_CHINESE = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_CHINESE}]|\d+(?:\.\d+)+|x-ray|[^\W_{_CHINESE}]+")

_SEEN = r"(?:seen|visible|present|identified|evident|detected|found|noted|observed|demonstrated)\b"
_NOT_SEEN = re.compile(rf"\b(?:not|isn't|aren't|wasn't|weren't)\s+(?:\w+\s+)?{_SEEN}")
_IS_SEEN = re.compile(rf"\b(?:is|are|was|were)\s+(?:\w+\s+)?{_SEEN}")
_YES_ZH = re.compile(r"^(?:是(?!否|不)|有(?!没|无)|对|存在|可见)")
_NO_ZH = re.compile(r"^(?:否|不|没|无|未)|(?<!有)没有|未见|不存在|未发现|(?<!是)不是")
_YES = frozenset(("yes", "是", "是的", "有", "对", "存在"))
_NO = frozenset(("no", "否", "不", "不是", "没", "没有", "无", "不存在"))

_CANNOT = r"(?:can ?not|can't|cant|could not|couldn't|unable to|impossible to|not possible to|not able to)"
_TELL = (
    r"(?:tell|say|said|know|known|answer|answered|determine|determined|assess|assessed|judge|judged"
    r"|infer|inferred|establish|established|conclude|concluded|told|decide|decided)"
)
_REFUSALS = re.compile(
    rf"\b{_CANNOT}\s+(?:\w+\s+){{0,3}}?{_TELL}\b"
    r"|\b(?:do not|don't|dont) know\b|\b(?:i am|i'm|im) (?:not sure|unsure|uncertain)\b"
    r"|\b(?:not enough|insufficient|no) information\b"
    r"|\b(?:image|picture|scan|film) (?:does not|doesn't|cannot|can't) (?:tell|say)\b"
    r"|\bnot (?:determinable|answerable|discernible) from\b"
    r"|无法.{0,8}?(?:判断|确定|回答|得知|看出|辨别|知道|得出)|不能.{0,4}?(?:判断|确定)|不知道|看不出"
)
_REFUSALS_WHOLE = frozenset(
    (
        *("unknown", "unclear", "undetermined", "not known", "not sure", "unsure", "uncertain"),
        *("unanswerable", "not determinable", "n/a", "未知", "不清楚", "不确定"),
    )
)


def mark(prediction: str, answer: str, answer_type: AnswerType) -> dict[str, float | None]:
    """Every one of `MARKS`, in [0, 1]; None where it does not apply to the question.

    Args:
        prediction: What was said.
        answer: What is right.
        answer_type: As the file has it.
    """
    normalised = float(normalise(prediction) == normalise(answer))
    recall, f1 = compare_tokens(tokens_of(prediction), tokens_of(answer))
    truth = read_yes_no(answer)
    as_yes_no = None if truth is None else float(parse_yes_no(prediction) == truth)
    closed, is_open = normalised if as_yes_no is None else as_yes_no, answer_type == "open"
    return {
        "exact_match": float(matches(prediction, answer)),
        "normalised_match": normalised,
        "token_recall": recall,
        "token_f1": f1,
        "bleu_4": bleu(tokens_of(prediction), tokens_of(answer)),
        "closed_by_type": None if is_open else closed,
        "closed_by_yes_no": as_yes_no,
        "open_recall": recall if is_open else None,
        "open_f1": f1 if is_open else None,
    }


def mark_best(prediction: str, answers: Sequence[str], answer_type: AnswerType) -> dict[str, float | None]:
    """`mark`, each figure by the answer that it fits best; the first decides which figures apply."""
    first, *others = (mark(prediction, answer, answer_type) for answer in answers)
    return {
        name: None if value is None else max([value, *(other[name] or 0.0 for other in others)])
        for name, value in first.items()
    }


def matches(prediction: str, answer: str) -> bool:
    """Exact match: the same but for letter case, outer spaces and full stops."""
    one, other = (text.strip(" \t\r\n.。").casefold() for text in (prediction, answer))
    return one == other


def normalise(text: str) -> str:
    """Tokens joined by spaces: case, punctuation and articles gone, numbers as digits, American spelling."""
    return " ".join(tokens_of(text))


def tokens_of(text: str) -> tuple[str, ...]:
    """Words of the normalised text; a Chinese character is one. Articles stay where nothing else is."""
    plain = _plain(text).replace("'", "")
    plain = re.sub(r"\bx[ -]?ray", "x-ray", re.sub(r"(?<=\d),(?=\d{3}\b)", "", plain))
    words = [_WORDS.get(word, word) for word in _TOKEN.findall(plain)]
    return tuple(word for word in words if word not in _ARTICLES) or tuple(words)


def compare_tokens(prediction: Sequence[str], answer: Sequence[str]) -> tuple[float, float]:
    """Recall and F1 of the answer's tokens, each counted as often as it stands there; in [0, 1].

    Reference: Rajpurkar et al. 2016 (SQuAD) for F1.
    """
    if not prediction or not answer:
        both_empty = float(prediction == answer)
        return both_empty, both_empty
    common = (Counter(prediction) & Counter(answer)).total()
    return common / len(answer), 2 * common / (len(prediction) + len(answer))


def bleu(prediction: Sequence[str], answer: Sequence[str]) -> float:
    """BLEU of one sentence with words, pairs, triples and fours, in [0, 1].

    Precisions of pairs and longer have one added above and below (Lin and Och 2004; method 2 of Chen and
    Cherry 2014): without it every answer of fewer than four words has 0.

    Reference: Papineni et al. 2002.
    """
    if not prediction or not answer:
        return float(prediction == answer)
    logarithms: list[float] = []
    for size in range(1, 5):
        said, right = (
            Counter(tuple(words[at : at + size]) for at in range(len(words) - size + 1))
            for words in (prediction, answer)
        )
        added = int(size > 1)
        precision = ((said & right).total() + added) / (said.total() + added)
        if precision == 0:
            return 0.0
        logarithms.append(math.log(precision))
    brevity = min(0.0, 1 - len(answer) / len(prediction))
    return math.exp(sum(logarithms) / 4 + brevity)


def read_yes_no(answer: str) -> YesNo | None:
    """The right answer as yes or no; None where it is anything else, or more."""
    text = answer.strip(" \t\r\n.。!！").casefold()
    if text in _YES:
        return "yes"
    return "no" if text in _NO else None


def parse_yes_no(prediction: str) -> YesNo | None:
    """What free text says to a question for yes or no; None for neither, for both, and for a refusal.

    Whole words count: "unknown", "nodule" and "no-contrast" hold no "no". Without such a word, "is seen" and
    "not seen" (visible, present, ...) decide.
    """
    text = _plain(prediction)
    if is_refusal(text):
        return None
    words = _whole_words(text)
    yes = bool(words & {"yes", "yeah", "yep"}) or bool(_YES_ZH.search(text))
    no = bool(words & {"no", "nope"}) or bool(_NO_ZH.search(text))
    if not yes and not no:
        no = bool(_NOT_SEEN.search(text))
        yes = not no and bool(_IS_SEEN.search(text))
    if yes == no:
        return None
    return "yes" if yes else "no"


def is_refusal(prediction: str) -> bool:
    """Whether the text says that it cannot be told; not where it begins with yes or no."""
    text = _plain(prediction)
    first = re.split(r"[\s,.;:!]", text, maxsplit=1)[0]
    if first in ("yes", "no"):
        return False
    return text.strip(" .!。！") in _REFUSALS_WHOLE or bool(_REFUSALS.search(text))


def _plain(text: str) -> str:
    """One form of each letter, whatever its width, its case and the apostrophe's kind."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return folded.replace("\u2019", "'").strip()


def _whole_words(text: str) -> frozenset[str]:
    """Words with their hyphens."""
    return frozenset(word.strip("-") for word in re.findall(r"[\w'-]+", text))
