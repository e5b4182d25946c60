# One image for every Airflow process and for the command line, in two builds of torch, and a small one:
#   docker build --target cpu     .     every service of Airflow but the GPU worker
#   docker build --target cuda    .     the GPU worker
#   docker build --target serving .     the exporter and consumers: pull, verify, predict, exporter
FROM python:3.11.11-slim-bookworm AS base
# An environment of its own is copied whole into the last stage: no pip cache, no lock, no build tools there.
# The tools stay behind: they list what was installed (CycloneDX), in /opt/venv/sbom.cdx.json.
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv && python -m venv /opt/tools && /opt/tools/bin/pip install --no-compile cyclonedx-bom==7.5.0

FROM base AS source
WORKDIR /build
COPY requirements.txt pyproject.toml README.md LICENSE ./
COPY bwpredict bwpredict

# requirements.txt pins; what is installed is what the product and Airflow need, without the tools of development.
FROM source AS build-cuda
RUN pip install --constraint requirements.txt ".[all]" \
    && /opt/tools/bin/cyclonedx-py environment --output-file /opt/venv/sbom.cdx.json /opt/venv/bin/python

# The index of CPU builds of torch: a tenth of the size of those with CUDA.
FROM source AS build-cpu
ARG TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
RUN torch="$(grep '^torch==' requirements.txt)" \
    && pip install --constraint requirements.txt --index-url "${TORCH_CPU_INDEX}" "${torch}" \
    && pip install --constraint requirements.txt ".[all]" \
    && /opt/tools/bin/cyclonedx-py environment --output-file /opt/venv/sbom.cdx.json /opt/venv/bin/python

FROM source AS build-serving
RUN apt-get update && apt-get install --yes --no-install-recommends binutils=2.40-*
COPY deploy deploy
RUN pip install --no-compile --constraint requirements.txt . \
    && pip uninstall --yes pip setuptools \
    && /opt/tools/bin/cyclonedx-py environment --output-file /opt/venv/sbom.cdx.json /opt/venv/bin/python \
    && sh deploy/image/trim.sh /opt/venv/lib/python3.11/site-packages

FROM python:3.11.11-slim-bookworm AS serving
ARG BWPREDICT_CODE_VERSION
LABEL org.opencontainers.image.title="bwpredict-serving" \
      org.opencontainers.image.description="Forecasts of network links: bwpredict pull, predict and exporter" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${BWPREDICT_CODE_VERSION}"
# The volumes of the compose file take their owner from these folders.
RUN useradd --uid 50000 --no-create-home bwpredict \
    && install -d -o bwpredict -g bwpredict /models /state
COPY --from=build-serving /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 BWPREDICT_CODE_VERSION=${BWPREDICT_CODE_VERSION}
USER 50000
EXPOSE 9108
# Of the exporter. Give another command a check of its own, or --no-healthcheck.
HEALTHCHECK --interval=30s --timeout=30s --start-period=60s --retries=5 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://localhost:9108/-/healthy')"]
CMD ["bwpredict", "--help"]

FROM python:3.11.11-slim-bookworm AS runtime
ARG BWPREDICT_CODE_VERSION
LABEL org.opencontainers.image.title="bwpredict" \
      org.opencontainers.image.description="Monthly retraining of a model that forecasts network links, by Airflow" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${BWPREDICT_CODE_VERSION}"
RUN useradd --uid 50000 --create-home airflow \
    && install -d -o airflow -g airflow /opt/airflow /opt/airflow/work
WORKDIR /opt/bwpredict
COPY dags dags
COPY plugins plugins
COPY deploy deploy
# The image has no Git checkout: the commit that it was built from is recorded with every run.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/bwpredict/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/bwpredict/plugins \
    BWPREDICT_CODE_VERSION=${BWPREDICT_CODE_VERSION}
USER 50000

FROM runtime AS cuda
COPY --from=build-cuda /opt/venv /opt/venv

FROM runtime AS cpu
COPY --from=build-cpu /opt/venv /opt/venv
