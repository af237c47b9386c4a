"""Flags win over the environment, the environment over medvqa.toml, and errors name the place."""

from dataclasses import fields
from pathlib import Path

import platformdirs
import pytest

import audit
from medvqa.errors import SettingsError
from medvqa.settings import Settings, default_audit_url, load_settings


@pytest.fixture(autouse=True)
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without settings, and no MEDVQA_* variables."""
    monkeypatch.chdir(tmp_path)
    for name in ("CONFIG", *(known.name.upper() for known in fields(Settings))):
        monkeypatch.delenv(f"MEDVQA_{name}", raising=False)
    monkeypatch.setenv("LOGNAME", "dr-17")
    return tmp_path


def write(text: str, path: str = "medvqa.toml") -> None:
    Path(path).write_text(text, encoding="utf-8")


def test_defaults() -> None:
    assert load_settings() == Settings(audit_url=default_audit_url(), agent="dr-17")
    assert default_audit_url().startswith("sqlite:////")
    assert default_audit_url().endswith("/medvqa/audit.sqlite")
    assert load_settings().role is None
    assert load_settings().key_folder == platformdirs.user_data_path("medvqa") / "keys"


def test_a_flag_wins_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write('model = "from-file"\nadapter = "from-file"\ndevice = "mps"\nthreads = 2\n')
    monkeypatch.setenv("MEDVQA_ADAPTER", "from-environment")
    monkeypatch.setenv("MEDVQA_DEVICE", "cuda")
    monkeypatch.setenv("MEDVQA_THREADS", "3")
    settings = load_settings(device="cuda:1", threads=4, model=None)
    assert settings.model == "from-file"
    assert settings.adapter == "from-environment"
    assert (settings.device, settings.threads) == ("cuda:1", 4)


def test_medvqa_config_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write('agent = "here"')
    write('agent = "elsewhere"', "other file.toml")
    monkeypatch.setenv("MEDVQA_CONFIG", "other file.toml")
    assert load_settings().agent == "elsewhere"


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDVQA_MODEL", "")
    monkeypatch.setenv("MEDVQA_CONFIG", "")
    assert load_settings().model is None


def test_any_path_reaches_the_same_file(empty_place: Path) -> None:
    name = "50% of what?.sqlite"
    audit.Log(load_settings(audit_url=name).audit_url).close()
    assert [path.name for path in empty_place.iterdir()] == [name]


def test_the_audit_url_may_be_a_path(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(audit_url="a b/t.sqlite").audit_url == f"sqlite:///{empty_place}/a b/t.sqlite"
    assert load_settings(audit_url="sqlite:////srv/t").audit_url == "sqlite:////srv/t"
    monkeypatch.setenv("HOME", "/home/me")
    assert load_settings(audit_url="~/t.sqlite").audit_url == "sqlite:////home/me/t.sqlite"


def test_the_key_folder_is_a_path_from_wherever_it_is_given(
    empty_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write('key_folder = "keys of the trail"\nrole = "compliance officer"')
    assert load_settings().key_folder == empty_place / "keys of the trail"
    assert load_settings().role == "compliance officer"
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("MEDVQA_KEY_FOLDER", "~/keys")
    assert load_settings().key_folder == Path("/home/me/keys")
    assert load_settings(key_folder="/srv/keys").key_folder == Path("/srv/keys")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "modle = 'x'",
            r"key 'modle' in medvqa\.toml is unknown; the keys are audit_url, agent, role, key_folder, model",
        ),
        ("threads = 'two'", r"key 'threads' in medvqa\.toml must be a whole number from 1, got 'two'"),
        ("threads = 0", "must be a whole number from 1, got 0"),
        ("threads = true", "must be a whole number from 1, got True"),
        ("unfamiliar = 'ignore'", "must be refuse or warn, got 'ignore'"),
        ("model = 3", r"key 'model' in medvqa\.toml must be text and not empty, got 3"),
        ("agent = ' '", r"key 'agent' in medvqa\.toml must be text and not empty"),
        ("device = 'gpu'", r"key 'device' in medvqa\.toml must be cpu, cuda"),
        ("[model]\nname = 'x'", r"key 'model' in medvqa\.toml must be text"),
        ("model = ", r"settings file medvqa\.toml is not valid TOML"),
    ],
)
def test_a_bad_file_is_refused_by_file_and_key(text: str, message: str) -> None:
    write(text)
    with pytest.raises(SettingsError, match=message):
        load_settings()


def test_a_file_that_is_not_text_is_refused() -> None:
    Path("medvqa.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"settings file medvqa\.toml is not valid TOML"):
        load_settings()


def test_a_named_file_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDVQA_CONFIG", "none.toml")
    with pytest.raises(SettingsError, match=r"settings file none\.toml cannot be read: No such file"):
        load_settings()


def test_a_bad_variable_and_a_bad_flag_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="option 'device' must be cpu"):
        load_settings(device="tpu")
    with pytest.raises(SettingsError, match="option 'colour' is unknown"):
        load_settings(colour="red")
    monkeypatch.setenv("MEDVQA_THREADS", "1.5")
    with pytest.raises(
        SettingsError, match=r"variable MEDVQA_THREADS must be a whole number from 1, got '1\.5'"
    ):
        load_settings()


def test_a_user_without_a_login_name_must_say_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_entry() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", no_entry)
    with pytest.raises(SettingsError, match="set MEDVQA_AGENT or the key agent"):
        load_settings()
    assert load_settings(agent="service").agent == "service"


def test_people_and_their_roles_are_a_table_of_the_file() -> None:
    write('proxy_header = "X-Forwarded-User"\n[people]\n"ada@example.org" = "senior"\nbob = "reader"\n')
    settings = load_settings()
    assert settings.people == {"ada@example.org": "senior", "bob": "reader"}
    assert settings.proxy_header == "X-Forwarded-User"


@pytest.mark.parametrize("role", ["local", "surgeon", ""])
def test_a_role_that_there_is_not_is_refused(role: str) -> None:
    write(f'[people]\nbob = "{role}"\n')
    with pytest.raises(SettingsError, match="none of reader, senior, auditor, admin"):
        load_settings()


def test_people_do_not_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDVQA_PEOPLE", "bob=admin")
    with pytest.raises(SettingsError, match="can only stand in the file"):
        load_settings()


def test_what_the_screens_need_comes_from_the_environment_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MEDVQA_STUDIES", str(tmp_path))
    monkeypatch.setenv("MEDVQA_BLIND_FIRST", "True")
    monkeypatch.setenv("MEDVQA_SESSION_MINUTES", "5")
    settings = load_settings()
    assert (settings.studies, settings.blind_first, settings.session_minutes) == (tmp_path, True, 5)


@pytest.mark.parametrize(("key", "value"), [("BLIND_FIRST", "perhaps"), ("SESSION_MINUTES", "0")])
def test_what_the_screens_cannot_use_is_refused(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    monkeypatch.setenv(f"MEDVQA_{key}", value)
    with pytest.raises(SettingsError, match=f"MEDVQA_{key}"):
        load_settings()


@pytest.mark.parametrize("address", ["https://me:SECRET@host/v1#m", "https://host/v1?key=SECRET#m"])
def test_an_address_with_a_secret_is_refused_before_it_is_recorded(address: str) -> None:
    with pytest.raises(SettingsError, match="set MEDVQA_API_KEY") as caught:
        load_settings(model=address)
    assert "SECRET" not in str(caught.value)
    assert load_settings(model="https://host/v1#a@b?c").model == "https://host/v1#a@b?c"
