# One image for every role: web, beat, worker, consumers and the one-shot jobs. docker-compose.yml names the commands.

FROM python:3.13-slim AS dependencies
# Without pip in it: nothing in the image can install anything.
RUN python -m venv --without-pip /venv
WORKDIR /build
# Only these: the layer below is built again when the pins change, and not when the code does.
COPY pyproject.toml constraints.txt README.md ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip --disable-pip-version-check --python /venv/bin/python install --compile -c constraints.txt '.[demo]'

FROM python:3.13-slim
# /run/credentials is a volume's mount point: a new volume takes its owner from here.
RUN groupadd --gid 10001 app \
 && useradd --uid 10001 --gid app --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app \
 && install --directory --owner app --group app --mode 0755 /run/credentials
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=config.settings
COPY --from=dependencies /venv /venv
WORKDIR /app
COPY . .
# Compiled now: the root file system is read-only later. The files are root's: the application cannot change its code.
RUN python -m compileall -q /app
USER 10001:10001
EXPOSE 8000
CMD ["gunicorn", "config.wsgi"]
