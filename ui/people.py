"""Who is at the screen: named by a login service, by a proxy, or the one user of this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from medvqa.access import Permission, may, require
from medvqa.settings import Settings, load_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody whom the server knows by name."""

    name: str
    role: str | None
    """What they may do: see `medvqa.access`; None where medvqa.toml gives them no role."""
    through: Literal["login", "proxy", "local"]

    def may(self, permission: Permission) -> bool:
        """Whether this person may do that."""
        return may(self.role, permission)

    def require(self, permission: Permission) -> None:
        """Raise `AccessError` where this person may not do that."""
        require(self.role, permission)


def identify() -> Person | None:
    """Who sent this request; None where nobody is logged in yet.

    Raises:
        SettingsError: If the settings are of no use.
    """
    settings = load_settings()
    if _has_login_service():
        if not st.user.is_logged_in:
            return None
        name = str(st.user.get("email") or st.user.get("sub"))
        return Person(name=name, role=settings.people.get(name), through="login")
    if settings.proxy_header is not None:
        name = st.context.headers.get(settings.proxy_header, "").strip()
        return Person(name=name, role=settings.people.get(name), through="proxy") if name else None
    return Person(name=settings.agent, role="local", through="local")


def has_expired(settings: Settings) -> bool:
    """Whether nobody clicked for as long as a session lasts; each call counts as a click."""
    now = time.monotonic()
    before = st.session_state.get("last_click", now)
    st.session_state.last_click = now
    return now - before > settings.session_minutes * 60


def _has_login_service() -> bool:
    try:
        return "auth" in st.secrets
    except StreamlitSecretNotFoundError:
        return False
