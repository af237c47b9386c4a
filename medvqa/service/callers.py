"""Who calls: by a key, by a token, or on a machine where nobody has to say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from medvqa.access import require
from medvqa.errors import ServiceError
from medvqa.service.api_keys import PREFIX, find_name
from medvqa.service.problems import RequestError
from medvqa.service.tokens import Issuer

if TYPE_CHECKING:
    from medvqa.access import Permission
    from medvqa.settings import Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Addresses that nobody reaches from another machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A person or a program, as the trail names it."""

    name: str
    role: str | None
    """What they may do: see `medvqa.access`; None where medvqa.toml gives them no role."""
    through: Literal["key", "token", "local"]

    def require(self, permission: Permission) -> None:
        """Raise `AccessError` where this caller may not do that."""
        require(self.role, permission)


class Door:
    """Tells who calls; where neither keys nor an issuer are set, whoever is on this machine.

    Args:
        settings: With the keys, the issuer, and the roles of people.
        host: Address that the service listens on.

    Raises:
        ServiceError: If anybody could call from elsewhere, or an issuer has no audience.
    """

    def __init__(self, settings: Settings, *, host: str) -> None:
        self._settings = settings
        self._issuer = None
        if settings.oidc_issuer is not None:
            if settings.oidc_audience is None:
                raise ServiceError("oidc_issuer is set without oidc_audience; tokens for others would do")
            self._issuer = Issuer(settings.oidc_issuer, audience=settings.oidc_audience)
        self.is_open = not settings.api_keys and self._issuer is None
        """Whether nobody has to say who they are."""
        if self.is_open and host not in LOOPBACK:
            raise ServiceError(
                f"on {host} anybody could ask, for medvqa.toml has neither api_keys nor oidc_issuer; make a "
                "key with `medvqa serve key`, or listen on 127.0.0.1"
            )

    def identify(self, authorization: str | None) -> Caller:
        """Who calls, by the header `Authorization: Bearer KEY-OR-TOKEN`.

        Raises:
            RequestError: If nobody is known by it.
        """
        if self.is_open:
            # On a machine where nobody logs in, the role of the settings is words for the trail.
            return Caller(name=self._settings.agent, role="local", through="local")
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            message = "say who you are: send the header Authorization: Bearer with a key or a token"
            raise RequestError(status=401, kind="Unauthorized", message=message, challenge=True)
        secret = secret.strip()
        if secret.startswith(PREFIX) or self._issuer is None:
            name = find_name(self._settings.api_keys, secret)
            if name is None:
                message = "nobody has this key; ask whoever looks after medvqa.toml for one"
                raise RequestError(status=401, kind="Unauthorized", message=message, challenge=True)
            return Caller(name=name, role=self._settings.api_keys[name].role, through="key")
        name = self._issuer.read(secret)
        return Caller(name=name, role=self._settings.people.get(name), through="token")
