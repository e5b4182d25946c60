# One image for every Airflow process and for the command line, in two builds of torch:
#   docker build --target cpu  .     every service but the GPU worker
#   docker build --target cuda .     the GPU worker
FROM python:3.11.11-slim-bookworm AS base
# An environment of its own is copied whole into the last stage: no pip cache, no lock, no build tools there.
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

FROM base AS source
WORKDIR /build
COPY requirements.txt pyproject.toml README.md LICENSE ./
COPY bwpredict bwpredict

# requirements.txt pins; what is installed is what the product and Airflow need, without the tools of development.
FROM source AS build-cuda
RUN pip install --constraint requirements.txt ".[all]"

# The index of CPU builds of torch: a tenth of the size of those with CUDA.
FROM source AS build-cpu
ARG TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
RUN torch="$(grep '^torch==' requirements.txt)" \
    && pip install --constraint requirements.txt --index-url "${TORCH_CPU_INDEX}" "${torch}" \
    && pip install --constraint requirements.txt ".[all]"

FROM python:3.11.11-slim-bookworm AS runtime
RUN useradd --uid 50000 --create-home airflow \
    && install -d -o airflow -g airflow /opt/airflow /opt/airflow/work
WORKDIR /opt/bwpredict
COPY dags dags
COPY plugins plugins
COPY deploy deploy
# The image has no Git checkout: the commit that it was built from is recorded with every run.
ARG BWPREDICT_CODE_VERSION
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
