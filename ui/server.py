"""What `medvqa ui` starts: the pages, and the route by which the viewer fetches pixels."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.middleware import Middleware

from ui.failing import report_failure, withhold_traces
from ui.stacks import ROUTES, NameBrowser
from ui.uploads import remove_leftovers


@asynccontextmanager
async def _run(_: st.App) -> AsyncGenerator[None]:
    withhold_traces()
    remove_leftovers()
    yield


app = st.App(
    "app.py",
    lifespan=_run,
    routes=ROUTES,
    middleware=[Middleware(NameBrowser)],
    on_script_error=report_failure,
)
