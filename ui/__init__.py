"""The screens: they show what `medvqa` and `audit` return, and decide nothing themselves.

`medvqa ui` starts Streamlit on `app.py`. Streamlit puts this folder first on the path: no file here may bear
the name of an installed package.
"""
