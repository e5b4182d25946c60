# One image for every Airflow process and for the command line.
FROM python:3.11.11-slim-bookworm

RUN useradd --uid 50000 --create-home airflow \
    && install -d -o airflow -g airflow /opt/bwpredict /opt/airflow /opt/airflow/logs /opt/airflow/work
WORKDIR /opt/bwpredict

COPY requirements.txt ./
RUN pip install --no-cache-dir --requirement requirements.txt

COPY --chown=airflow:airflow pyproject.toml README.md LICENSE ./
COPY --chown=airflow:airflow bwpredict bwpredict
RUN pip install --no-cache-dir --no-deps .
COPY --chown=airflow:airflow dags dags
COPY --chown=airflow:airflow plugins plugins

# The image has no Git checkout: the commit that it was built from is recorded with every run.
ARG BWPREDICT_CODE_VERSION
ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/bwpredict/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/bwpredict/plugins \
    BWPREDICT_CODE_VERSION=${BWPREDICT_CODE_VERSION}
USER airflow
