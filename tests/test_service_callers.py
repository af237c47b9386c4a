"""Who calls: keys, tokens of a real issuer, roles, and how often."""

from __future__ import annotations

import hmac
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from service_place import API_KEYS, KEYS, ask, dicom, events, free_port, service, settings_of, wait_for
from tiny_models import FakeModel

from medvqa.access import ApiKey
from medvqa.errors import ServiceError, SettingsError
from medvqa.service.api_keys import digest_key, find_name, make_key, write_line
from medvqa.service.callers import Door
from medvqa.service.problems import RequestError
from medvqa.service.rates import Rates
from medvqa.settings import load_settings


def model() -> FakeModel:
    return FakeModel(lambda image: float(image.pixels.mean()))


def test_each_caller_is_recorded_under_their_own_name_and_role(tmp_path: Path) -> None:
    with service(model(), settings_of(tmp_path, api_keys=API_KEYS)) as client:
        for role in ("reader", "senior"):
            answered = ask(client, dicom(), f"Asked by {role}?", authorization=f"Bearer {KEYS[role]}")
            assert answered.status_code == 200
    asked = {(row.agent, row.role, row.entity["question"]) for row in events(tmp_path, action="ask")}
    assert asked == {
        ("the reader", "reader", "Asked by reader?"),
        ("the senior", "senior", "Asked by senior?"),
    }
    trail = (tmp_path / "trail.sqlite").read_bytes()
    assert not any(key.encode() in trail for key in KEYS.values())


def test_who_is_not_known_or_may_not_is_turned_away_before_the_body_is_read(tmp_path: Path) -> None:
    def never() -> Iterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    with service(model(), settings_of(tmp_path, api_keys=API_KEYS)) as client:
        for authorization, status in (
            (None, 401),
            ("Bearer", 401),
            (f"Basic {KEYS['reader']}", 401),
            (f"Bearer {make_key()}", 401),
            ("Bearer eyJhbGciOiJub25lIn0.e30.", 401),
            (f"Bearer {API_KEYS['the reader'].sha256}", 401),
            (f"Bearer {KEYS['auditor']}", 403),
        ):
            headers = {} if authorization is None else {"Authorization": authorization}
            response = client.post(
                "/v1/ask", headers={**headers, "content-type": "application/json"}, content=b"{}"
            )
            assert response.status_code == status, authorization
            assert ("www-authenticate" in response.headers) == (status == 401)
            assert client.get("/metrics", headers=headers).status_code == (200 if status == 403 else 401)
        assert client.get("/health/ready").status_code == 200
        assert "role reader or senior" in response.json()["error"]["message"]
    assert not events(tmp_path, action="ask")


def test_a_caller_who_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, api_keys=API_KEYS, requests_per_minute=2)
    with service(model(), settings) as client:
        headers = {"Authorization": f"Bearer {KEYS['reader']}"}
        assert [client.get("/metrics", headers=headers).status_code for _ in range(3)] == [200, 200, 429]
        refused = client.get("/metrics", headers=headers)
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        other = {"Authorization": f"Bearer {KEYS['senior']}"}
        assert client.get("/metrics", headers=other).status_code == 200


@settings(max_examples=50)
@given(st.lists(st.floats(0, 40), max_size=30), st.integers(1, 20))
def test_never_more_than_the_rate_over_any_time(waits: list[float], per_minute: int) -> None:
    now, granted = 0.0, list[float]()
    rates = Rates(per_minute, clock=lambda: now)
    for wait in waits:
        now += wait
        try:
            rates.take("somebody")
        except RequestError as refusal:
            assert refusal.retry_after_s is not None
            seconds, now = refusal.retry_after_s, now + refusal.retry_after_s
            assert seconds >= 1
            rates.take("somebody")  # which is when it may
        granted.append(now)
    for first, began in enumerate(granted):
        for last in range(first, len(granted)):
            most = per_minute + (granted[last] - began) * per_minute / 60
            assert last - first + 1 <= most + 1e-6


@settings(max_examples=30)
@given(st.lists(st.text(min_size=1).filter(str.isprintable), unique=True, max_size=4))
def test_a_line_for_the_file_is_read_back_and_holds_no_key(names: list[str]) -> None:
    keys = {name: make_key() for name in names}
    lines = [write_line(name, key, role="reader") for name, key in keys.items()]
    assert not any(key in line for key in keys.values() for line in lines)
    table = tomllib.loads("\n".join(["[api_keys]", *lines]))["api_keys"]
    known = {name: ApiKey(**told) for name, told in table.items()}
    for name, key in keys.items():
        assert find_name(known, key) == name
        assert find_name(known, key[:-1]) is None
        assert find_name(known, known[name].sha256) is None


@pytest.mark.usefixtures("own_place")
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('a = { role = "local", sha256 = "%s" }' % ("0" * 64), "gives 'a' a role that is none of"),
        ('a = { role = "reader", sha256 = "SECRET" }', "wrong at 'a'"),
        ('a = { role = "reader" }', "copy the line that `medvqa serve key` prints"),
        ('a = "SECRET"', "wrong at 'a'"),
    ],
)
def test_a_key_that_is_written_wrong_is_refused(line: str, said: str) -> None:
    Path("medvqa.toml").write_text(f"[api_keys]\n{line}\n")
    with pytest.raises(SettingsError, match=said) as caught:
        load_settings()
    assert "SECRET" not in str(caught.value)


@pytest.mark.usefixtures("own_place")
def test_the_settings_of_the_service_are_read() -> None:
    Path("medvqa.toml").write_text(f"upload_mib = 3\n[api_keys]\n{write_line('gw', 'k', role='reader')}\n")
    settings = load_settings()
    assert settings.api_keys == {"gw": ApiKey(role="reader", sha256=digest_key("k"))}
    assert settings.upload_mib == 3
    with pytest.raises(SettingsError, match="must begin with https://"):
        load_settings(oidc_issuer="http://login.example.org")


def test_nobody_listens_to_a_network_without_knowing_who_calls(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.168.1.7", "::"):  # noqa: S104
        with pytest.raises(ServiceError, match="make a key with `medvqa serve key`"):
            Door(settings_of(tmp_path), host=host)
    assert not Door(settings_of(tmp_path, api_keys=API_KEYS), host="::").is_open
    with pytest.raises(ServiceError, match="oidc_audience"):
        Door(settings_of(tmp_path, oidc_issuer="https://login.example.org"), host="127.0.0.1")


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/.well-known/openid-configuration", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def token_of(provider: str, subject: str, *, client: str = "medvqa", **claims: Any) -> str:
    """An ID token by the authorization code flow, as a person's browser gets it."""
    httpx.put(f"{provider}/users/{subject}", json=claims)
    asked = {
        "client_id": client,
        "redirect_uri": "http://127.0.0.1/back",
        "response_type": "code",
        "scope": "openid email",
    }
    back = httpx.post(f"{provider}/oauth2/authorize", params=asked, data={"sub": subject})
    code = parse_qs(urlparse(back.headers["location"]).query)["code"][0]
    given = {"grant_type": "authorization_code", "code": code, "redirect_uri": asked["redirect_uri"]}
    reply = httpx.post(f"{provider}/oauth2/token", data=given, auth=(client, "secret"))
    return reply.json()["id_token"]


@pytest.mark.slow
def test_tokens_of_a_real_issuer(provider: str, tmp_path: Path) -> None:
    people = {"ada@example.org": "senior", "eve": "auditor", "bob": "reader"}
    settings = settings_of(
        tmp_path, oidc_issuer=provider, oidc_audience="medvqa", people=people, api_keys=API_KEYS
    )
    ada = token_of(provider, "u1", email="ada@example.org")
    impostor = token_of(provider, "u2", email="ada@example.org", email_verified=False)
    with service(model(), settings) as client:

        def status(token: str) -> int:
            return ask(client, dicom(), "Is there a tumor?", authorization=f"Bearer {token}").status_code

        assert status(ada) == 200
        assert status(token_of(provider, "bob")) == 200
        assert status(KEYS["reader"]) == 200
        assert status(token_of(provider, "eve")) == 403
        assert status(token_of(provider, "mallory")) == 403
        assert status(impostor) == 403
        assert status(token_of(provider, "bob", client="other")) == 401
        for forged in forgeries(ada, provider):
            assert status(forged) == 401, jwt.get_unverified_header(forged)
    rows = events(tmp_path, action="open_study")
    assert {(row.agent, row.role) for row in rows} >= {("ada@example.org", "senior"), ("bob", "reader")}
    assert ada not in json.dumps([row.entity for row in rows], default=str)


def forgeries(token: str, provider: str) -> Iterator[str]:
    """The same token, signed by somebody else, by nobody, or by the public key as if it were a secret."""
    claims = jwt.decode(token, options={"verify_signature": False})
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    yield jwt.encode(claims, own, algorithm="RS256")
    yield jwt.encode(claims, "", algorithm="none")
    published = httpx.get(f"{provider}/.well-known/openid-configuration").json()["jwks_uri"]
    (public,) = jwt.PyJWKClient(published).get_signing_keys()
    key = public.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    head, body, signature = token.split(".")
    header = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"JWT"}').decode()
    keyed = f"{header}.{body}"
    signed = jwt.utils.base64url_encode(hmac.digest(key, keyed.encode(), "sha256"))
    yield f"{keyed}.{signed.decode()}"
    changed = jwt.utils.base64url_encode(json.dumps({**claims, "email": "bob"}).encode()).decode()
    yield f"{head}.{changed}.{signature}"


@pytest.mark.parametrize(
    "change", [{"exp": -60}, {"iss": "https://other.example"}, {"sub": None}, {"exp": None}]
)
def test_a_token_that_does_not_hold(
    change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    issuer = "https://login.example.org"
    now = datetime.now(UTC)
    claims: dict[str, Any] = {"iss": issuer, "aud": "medvqa", "sub": "bob", "iat": now}
    claims["exp"] = now + timedelta(minutes=5)

    class Known:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def get_signing_keys(self) -> list[jwt.PyJWK]:
            return [jwt.PyJWK.from_json(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))]

    monkeypatch.setattr("medvqa.service.tokens.discover_keys", lambda _: f"{issuer}/keys")
    monkeypatch.setattr("medvqa.service.tokens.jwt.PyJWKClient", Known)
    settings = settings_of(tmp_path, oidc_issuer=issuer, oidc_audience="medvqa", people={"bob": "reader"})
    door = Door(settings, host="127.0.0.1")
    held = door.identify(f"Bearer {jwt.encode(claims, key, algorithm='RS256')}")
    assert (held.name, held.role, held.through) == ("bob", "reader", "token")
    for name, value in change.items():
        claims[name] = now + timedelta(seconds=value) if isinstance(value, int) else value
        if value is None:
            del claims[name]
    with pytest.raises(RequestError) as caught:
        door.identify(f"Bearer {jwt.encode(claims, key, algorithm='RS256')}")
    assert caught.value.status == 401


def test_an_issuer_that_cannot_be_asked_is_no_reason_to_let_anybody_in(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, oidc_issuer=f"http://127.0.0.1:{free_port()}", oidc_audience="medvqa")
    with pytest.raises(RequestError) as caught:
        Door(settings, host="127.0.0.1").identify("Bearer a.b.c")
    assert (caught.value.status, caught.value.kind) == (503, "Unavailable")
