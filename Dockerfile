# medvqa with all that a hospital needs. docker build --build-arg VARIANT=cuda for NVIDIA GPUs.
FROM docker.io/library/python:3.12-slim-bookworm AS build
ARG VARIANT=cpu
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY audit audit
COPY medvqa medvqa
COPY ui ui
COPY container/install.sh container/install.sh
RUN container/install.sh /source /opt/medvqa "$VARIANT"

FROM docker.io/library/python:3.12-slim-bookworm
# OpenCV, which RapidOCR stands on, needs these two.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 medvqa \
    && install --directory --owner=medvqa --group=medvqa --mode=700 /var/lib/medvqa /models /studies
COPY --from=build /opt/medvqa /opt/medvqa
COPY container/entrypoint.sh /usr/local/bin/entrypoint.sh
# Models come from the volume alone: nothing is fetched while patients' images are at hand.
ENV PATH=/opt/medvqa/bin:$PATH \
    HF_HOME=/models \
    HF_HUB_OFFLINE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_DATA_HOME=/var/lib/medvqa \
    XDG_CACHE_HOME=/tmp/cache \
    MPLCONFIGDIR=/tmp/matplotlib
USER medvqa
WORKDIR /var/lib/medvqa
VOLUME ["/var/lib/medvqa", "/models"]
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=5)"]
ENTRYPOINT ["entrypoint.sh"]
CMD ["ui", "--host", "0.0.0.0"]
