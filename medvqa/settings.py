"""Settings: one frozen record from flags, MEDVQA_* variables and medvqa.toml, in that order."""

import getpass
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

import platformdirs

from medvqa.access import PERMISSIONS, ApiKey, Role
from medvqa.errors import SettingsError
from medvqa.pacs_nodes import PacsNode, check_nodes
from medvqa.types import Precision

DEFAULT_FILE = "medvqa.toml"


def default_key_folder() -> Path:
    """The signing and pseudonym keys of this user, in the folder for application data."""
    return platformdirs.user_data_path("medvqa") / "keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command line and the screens need to know; each field is a key of medvqa.toml."""

    audit_url: str
    """SQLAlchemy URL of the audit trail. By default a file of this user, see `default_audit_url`."""
    agent: str
    """Who asks: recorded with every event. By default the login name of the operating system."""
    role: str | None = None
    """In which role the agent acts, `radiologist` or `compliance officer`, say; recorded with every event."""
    key_folder: Path = field(default_factory=default_key_folder)
    """Where the private keys are kept: signatures of the trail, pseudonyms of patients. Back it up."""
    model: str | None = None
    """Folder or name of the model, or a server's address and the model's name there, as in
    `https://host/v1#name`; None for the one that is shipped."""
    adapter: str | None = None
    """Folder of a LoRA adapter."""
    device: str | None = None
    """`cpu`, `cuda`, `cuda:0` and so on, or `mps`; `auto` for several GPUs, `vision=cuda:0,language=cuda:1`
    for the two parts apart; None for the GPU where there is one."""
    precision: Precision | None = None
    """Of the weights; None for float32 on a CPU, and for what the checkpoint has elsewhere."""
    threads: int | None = None
    """Processor threads of the model, from 1; None leaves it to the library."""
    own_code: bool = False
    """Whether Python code that comes with `model` is run, with all your rights; see docs/models.md."""
    remote: bool = False
    """Whether `model` may be on a server, to which images and questions are then sent."""
    remote_identified: bool = False
    """Whether images may be sent there too that may tell who the patient is."""
    unfamiliar: Literal["refuse", "warn"] = "refuse"
    """What happens to a question about an image unlike anything the model was trained on."""
    studies: Path | None = None
    """Folder of the screens' worklist: each file, archive or folder right in it may hold one study."""
    blind_first: bool = False
    """Whether the screens hold an answer back until the reader committed to one, or skipped that."""
    double_reading: bool = False
    """Whether an answer is signed only once two people reviewed it, and a third where they differ."""
    practice: Path | None = None
    """Cases to practise on, a .jsonl file or its folder: the screens plant wrong answers in some of them."""
    similar_index: Path | None = None
    """Folder of the index of earlier cases, which `medvqa similar index` makes."""
    similar_model: str | None = None
    """Folder or name of the contrastive model that the index was made by."""
    report_template: Path | None = None
    """A hospital's own layout of HTML reports, see docs/reports.md; None for the one that is shipped."""
    session_minutes: int = 30
    """Minutes without a click after which the screens ask who is there; from 1."""
    proxy_header: str | None = None
    """HTTP header in which a proxy names who is logged in. Set it only where nobody reaches the screens but
    through that proxy: whoever else could send it would be anybody."""
    people: Mapping[str, Role] = field(default_factory=dict[str, "Role"])
    """Role of everybody who logs in, by the name that the proxy or the login service gives; a table of the
    file. Who is not in it may do nothing."""
    pacs: Mapping[str, PacsNode] = field(default_factory=dict[str, "PacsNode"])
    """PACS nodes by name, each a table `[pacs.NAME]` of the file; see docs/pacs.md."""
    api_keys: Mapping[str, ApiKey] = field(default_factory=dict[str, "ApiKey"])
    """Keys by which programs call the service, by the name under which they are recorded; a table of the
    file. `medvqa serve key` makes one."""
    oidc_issuer: str | None = None
    """OpenID Connect issuer whose bearer tokens the service takes; roles are those of `people`."""
    oidc_audience: str | None = None
    """Whom those tokens must be meant for: `aud`, the client id of the service there."""
    jobs: Path | None = None
    """Folder of the service's jobs and of what was sent for them; by default one beside the trail of this
    user."""
    requests_per_minute: int = 120
    """Of one caller of the service, from 1."""
    upload_mib: int = 512
    """Largest request that the service takes, in MiB, from 1."""
    waiting_questions: int = 64
    """Questions that may wait for the model before the service takes no more, from 1."""


_KEYS = tuple(known.name for known in fields(Settings))
_DEVICE = r"(?:cpu|mps|cuda(?::\d+)?)"
_DEVICES = re.compile(rf"auto|{_DEVICE}|vision=(?:disk|{_DEVICE}),language=(?:disk|{_DEVICE})")
_NUMBERS = ("threads", "session_minutes", "requests_per_minute", "upload_mib", "waiting_questions")
_SWITCHES = ("blind_first", "double_reading", "own_code", "remote", "remote_identified")
_ROLES = tuple(role for role in PERMISSIONS if role != "local")


def load_settings(**flags: str | int | None) -> Settings:
    """Read the settings: a flag wins over the environment, the environment over the file.

    The file is medvqa.toml in the working directory, or the one that MEDVQA_CONFIG names. The environment
    holds MEDVQA_AUDIT_URL, MEDVQA_AGENT and so on; an empty variable counts as not set.

    Args:
        flags: Values given on the command line, by key; None counts as not given. `audit_url` may also be
            the path of an SQLite file, here as in the file and the environment.

    Raises:
        SettingsError: If the file cannot be read, or a key is unknown or holds a bad value.
    """
    given: dict[str, Any] = {}
    for key, value, place in (*_from_file(), *_from_environment(), *_from_flags(flags)):
        given[key] = _check(key, value, place)
    given.setdefault("audit_url", default_audit_url())
    if "agent" not in given:
        given["agent"] = _login_name()
    return Settings(**given)


def default_audit_url() -> str:
    """The audit trail of this user, in the folder where the operating system keeps application data."""
    return _sqlite_url(platformdirs.user_data_path("medvqa") / "audit.sqlite")


def default_jobs() -> Path:
    """The folder of the service's jobs of this user."""
    return platformdirs.user_data_path("medvqa") / "jobs"


def _from_file() -> Iterator[tuple[str, Any, str]]:
    named = os.environ.get("MEDVQA_CONFIG")
    file = Path(named or DEFAULT_FILE)
    if not named and not file.exists():
        return
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"settings file {file} cannot be read: {error.strerror}; correct MEDVQA_CONFIG or the file"
        ) from error
    except ValueError as error:  # tomllib's and the decoder's
        raise SettingsError(f"settings file {file} is not valid TOML: {error}; correct it") from error
    for key, value in values.items():
        yield key, value, f"key {key!r} in {file}"


def _from_environment() -> Iterator[tuple[str, Any, str]]:
    for key in _KEYS:
        name = f"MEDVQA_{key.upper()}"
        if value := os.environ.get(name):
            yield key, _parsed(key, value), f"environment variable {name}"


def _from_flags(flags: dict[str, str | int | None]) -> Iterator[tuple[str, Any, str]]:
    for key, value in flags.items():
        if value is not None:
            yield key, value, f"option {key!r}"


def _check(key: str, value: Any, place: str) -> Any:
    if key not in _KEYS:
        raise SettingsError(f"{place} is unknown; the keys are {', '.join(_KEYS)}")
    if key in _NUMBERS:
        if type(value) is not int or value < 1:
            raise SettingsError(f"{place} must be a whole number from 1, got {value!r}")
        return value
    if key in _SWITCHES:
        if not isinstance(value, bool):
            raise SettingsError(f"{place} must be true or false, got {value!r}")
        return value
    if key == "people":
        return _check_people(value, place)
    if key == "pacs":
        return check_nodes(value, place)
    if key == "api_keys":
        return _check_api_keys(value, place)
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"{place} must be text and not empty, got {value!r}")
    if key == "device" and not _DEVICES.fullmatch(value):
        raise SettingsError(
            f"{place} must be cpu, cuda, cuda:0 and so on, mps, auto, or vision=cuda:0,language=cuda:1, "
            f"got {value!r}"
        )
    if key == "precision" and value not in get_args(Precision):
        raise SettingsError(f"{place} must be one of {', '.join(get_args(Precision))}, got {value!r}")
    if key == "model" and re.match(r"https?://([^/?#]*@|[^#]*\?)", value):
        # Settings are recorded before a model is opened, and would be with what stands in the address.
        raise SettingsError(
            f"{place} is an address with a user, a password or a query; leave them out and set MEDVQA_API_KEY"
        )
    if key == "oidc_issuer" and not re.match(r"https://|http://(localhost|127\.0\.0\.1|\[::1\])[:/]", value):
        raise SettingsError(f"{place} must begin with https://, got {value!r}; tokens are checked against it")
    if key == "unfamiliar" and value not in ("refuse", "warn"):
        raise SettingsError(f"{place} must be refuse or warn, got {value!r}")
    if key == "audit_url" and "://" not in value:
        return _sqlite_url(Path(value))
    if key in ("key_folder", "studies", "practice", "similar_index", "report_template", "jobs"):
        return Path(value).expanduser().absolute()
    return value


def _check_people(value: Any, place: str) -> dict[str, Role]:
    if not isinstance(value, dict):
        raise SettingsError(f"{place} must be a table of names and roles, and can only stand in the file")
    for name, role in cast("dict[str, Any]", value).items():
        if role not in _ROLES:
            raise SettingsError(f"{place} gives {name!r} a role that is none of {', '.join(_ROLES)}")
    return cast("dict[str, Role]", value)


def _check_api_keys(value: Any, place: str) -> dict[str, ApiKey]:
    if not isinstance(value, dict):
        raise SettingsError(f"{place} must be a table of names, and can only stand in the file")
    keys: dict[str, ApiKey] = {}
    for name, known in cast("dict[str, Any]", value).items():
        told = cast("dict[str, Any]", known) if isinstance(known, dict) else {}
        digest = told.get("sha256")
        if told.keys() != {"role", "sha256"} or not re.fullmatch(r"[0-9a-f]{64}", str(digest)):
            raise SettingsError(f"{place} is wrong at {name!r}; copy the line that `medvqa serve key` prints")
        if told["role"] not in _ROLES:
            raise SettingsError(f"{place} gives {name!r} a role that is none of {', '.join(_ROLES)}")
        keys[name] = ApiKey(role=told["role"], sha256=str(digest))
    return keys


def _sqlite_url(path: Path) -> str:
    # A URL gives these two signs another meaning.
    name = str(path.expanduser().absolute()).replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///{name}"


def _parsed(key: str, text: str) -> str | int | bool:
    """A variable's text as the type of its key; as it stands where it does not fit, to be complained of."""
    if key in _NUMBERS and text.isdecimal():
        return int(text)
    if key in _SWITCHES and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise SettingsError(
            "this user has no login name to record; set MEDVQA_AGENT or the key agent"
        ) from error
