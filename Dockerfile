FROM python:3.11-slim AS build
WORKDIR /src
# Without pip of its own: the image that runs needs none.
RUN python -m venv --without-pip /opt/venv
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Dependencies first: they stay in the build cache when only the code changes.
COPY requirements-dashboard.lock ./
RUN pip --python /opt/venv/bin/python install --require-hashes -r requirements-dashboard.lock
COPY pyproject.toml README.md LICENSE ./
COPY sms_pipeline ./sms_pipeline
RUN pip --python /opt/venv/bin/python install --no-deps .

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home sms
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
USER sms
WORKDIR /home/sms
CMD ["sms-pipeline", "run"]
