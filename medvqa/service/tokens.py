"""Bearer tokens of an OpenID Connect issuer, checked against the keys that it publishes."""

from __future__ import annotations

import json
import urllib.request
from threading import Lock
from typing import Any, cast
from urllib.error import URLError

import jwt

from medvqa.errors import ServiceError
from medvqa.service.problems import RequestError, too_busy

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures alone: a token that is keyed by a shared secret, or by nothing, is none."""
_CLAIMS = ("aud", "exp", "iat", "iss", "sub")
_LEEWAY_S = 30
"""By which two clocks may differ."""
_TIMEOUT_S = 10


class Issuer:
    """Who signs tokens; asked for its keys when the first token comes, and again when they change.

    Args:
        address: As the tokens name it in `iss`; its discovery document lies below.
        audience: Whom tokens must be meant for, `aud`.

    Reference: OpenID Connect Discovery 1.0, section 4; RFC 7519; RFC 8725, section 3.
    """

    def __init__(self, address: str, *, audience: str) -> None:
        self._address = address
        self._audience = audience
        self._keys: jwt.PyJWKClient | None = None
        self._finding = Lock()

    def read(self, token: str) -> str:
        """Whose token this is: the address of mail, where the issuer does not call it unverified, or `sub`.

        Raises:
            RequestError: If the token is not valid, or the issuer cannot be asked for its keys.
        """
        try:
            key = _key_for(token, self._find_keys())
            claims = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=self._audience,
                issuer=self._address,
                leeway=_LEEWAY_S,
                options={"require": list(_CLAIMS)},
            )
        except jwt.PyJWKClientConnectionError as error:
            raise too_busy("the issuer of tokens cannot be reached; ask again", retry_after_s=10) from error
        except jwt.PyJWTError as error:
            message = f"the token does not hold ({type(error).__name__}); get a new one from the issuer"
            raise RequestError(status=401, kind="Unauthorized", message=message, challenge=True) from error
        return _name_in(claims)

    def _find_keys(self) -> jwt.PyJWKClient:
        """Where the issuer publishes its keys.

        Raises:
            RequestError: If it does not say so.
        """
        with self._finding:
            if self._keys is None:
                try:
                    self._keys = jwt.PyJWKClient(discover_keys(self._address), timeout=_TIMEOUT_S)
                except ServiceError as error:
                    raise too_busy(f"{error}", retry_after_s=10) from error
            return self._keys


def _key_for(token: str, keys: jwt.PyJWKClient) -> jwt.PyJWK:
    """The key that a token names; one that names none is signed by the issuer's only key.

    Raises:
        PyJWTError: If there is no such key, or several where none is named.
    """
    if jwt.get_unverified_header(token).get("kid") is not None:
        return keys.get_signing_key_from_jwt(token)
    published = keys.get_signing_keys()
    if len(published) != 1:
        raise jwt.InvalidTokenError("the token names no key, and the issuer has several")
    return published[0]


def discover_keys(address: str) -> str:
    """Address of an issuer's keys, from its discovery document.

    Raises:
        ServiceError: If there is no such document, or it is another issuer's.
    """
    place = address.rstrip("/") + "/.well-known/openid-configuration"
    try:
        # The address is one of the settings, which take https alone, but for this machine.
        with urllib.request.urlopen(place, timeout=_TIMEOUT_S) as response:  # noqa: S310
            told = cast("dict[str, Any]", json.load(response))
    except (URLError, TimeoutError, ValueError, OSError) as error:
        raise ServiceError(f"{place} cannot be read; correct oidc_issuer, or ask again") from error
    if told.get("issuer") != address or not str(told.get("jwks_uri")).startswith(("https://", "http://")):
        raise ServiceError(f"{place} is not that of {address}; write oidc_issuer as the issuer does")
    return str(told["jwks_uri"])


def _name_in(claims: dict[str, Any]) -> str:
    mail = claims.get("email")
    if isinstance(mail, str) and mail and claims.get("email_verified") is not False:
        return mail
    return str(claims["sub"])
