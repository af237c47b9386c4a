"""The service: questions over HTTP, from callers who are known by a key or a token."""

from importlib.util import find_spec

from medvqa.errors import ServiceError

for _package in ("fastapi", "jwt", "prometheus_client", "python_multipart", "uvicorn"):
    if find_spec(_package) is None:
        raise ServiceError(
            f"the service needs the package {_package}; install it with pip install 'medvqa[serve]'"
        )
