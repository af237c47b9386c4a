"""What `medvqa ui` starts: the pages, and the route by which the viewer fetches pixels."""

import streamlit as st
from starlette.middleware import Middleware

from ui.stacks import ROUTES, NameBrowser

app = st.App("app.py", routes=ROUTES, middleware=[Middleware(NameBrowser)])
