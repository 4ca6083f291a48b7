# The program and what it needs, in an image of its own. docs/packaging.md says how it is run, compose.yml shows it.
FROM python:3.11-slim-bookworm AS build

WORKDIR /source
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY mta mta
COPY twisted twisted
RUN python -m venv /opt/mta \
 && /opt/mta/bin/pip install --no-cache-dir --no-compile --only-binary=:all: --no-binary=mta . \
 && /opt/mta/bin/pip uninstall --yes pip setuptools \
 && python -m compileall -q -j 0 /opt/mta/lib \
 # Twisted's list of plugins, which the user below could not write.
 && /opt/mta/bin/python -I -c 'from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))'

FROM python:3.11-slim-bookworm

RUN useradd --system --uid 2525 --no-create-home --home-dir /var/lib/mta --shell /usr/sbin/nologin mta \
 && install -d -o mta -g mta -m 0711 /var/lib/mta /var/lib/mta/spool \
 && ln -s /opt/mta/bin/mta /usr/local/bin/mta
COPY --from=build /opt/mta /opt/mta
COPY etc/container.yml /etc/mta/mta.yml

USER 2525:2525
VOLUME /var/lib/mta
EXPOSE 2525
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
 CMD ["/opt/mta/bin/python", "-I", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8025/healthz', timeout=4)"]
CMD ["/opt/mta/bin/mta", "start", "--config", "/etc/mta/mta.yml"]
