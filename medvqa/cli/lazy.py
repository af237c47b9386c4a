"""Groups of commands whose modules are imported when one of them runs."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, TypeAlias

import typer
import typer.core
import typer.main

Commands: TypeAlias = Mapping[str, tuple[str, str]]
"""Name of each command: `module:attribute` where it lives, and its line in the group's help."""


def lazy_group(commands: Commands) -> type[typer.core.TyperGroup]:
    """A group that lists `commands` by name and line, and imports one only when it runs."""

    class LazyGroup(typer.core.TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            for name, (_, line) in commands.items():
                self.add_command(typer.core.TyperCommand(name, help=line))

        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            name, listed, rest = super().resolve_command(ctx, args)
            if name is not None and name in commands:
                listed = load_command(name, commands[name][0])
            return name, listed, rest

    return LazyGroup


def load_command(name: str, place: str) -> Any:
    """Import what `place` names, a function or a `typer.Typer`, and make it the command of that name."""
    exposed = load_named(place)
    if not isinstance(exposed, typer.Typer):
        command, exposed = exposed, typer.Typer(add_completion=False)
        exposed.command(name)(command)
    return typer.main.get_command(exposed)


def load_named(place: str) -> Any:
    """Import what `place` names, `module:attribute`, when it is needed."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
