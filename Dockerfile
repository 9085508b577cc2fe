# Two images from one file: `--target controller` (api and operator) and `--target runner`.
# Builds alike with docker and with buildah; what only the build needs (pip, an index's address,
# a machine's own certificate authorities) stays out of both images.

ARG BASE_IMAGE=docker.io/library/debian:trixie-slim@sha256:a29215f6a35e51e22adffa17f89e9d2ef06214e64a2bad10d765c46aea49f11f


FROM ${BASE_IMAGE} AS debian
# A moment such as 20261127T000000Z: all packages are then what the archive had at that time. A
# release names one; without it they are today's.
ARG DEBIAN_SNAPSHOT
RUN [ -z "$DEBIAN_SNAPSHOT" ] || { \
        sed -i -E "s#deb\.debian\.org/(debian(-security)?)#snapshot.debian.org/archive/\1/$DEBIAN_SNAPSHOT#" \
            /etc/apt/sources.list.d/debian.sources; \
        echo 'Acquire::Check-Valid-Until "false";' > /etc/apt/apt.conf.d/80snapshot; \
    }


# Unpacked, not installed: ca-certificates can't be where a machine mounts its own bundle, and
# pip would bring it along.
FROM debian AS unpacked
RUN apt-get update \
    && cd /tmp \
    && apt-get download ca-certificates python3-pip-whl \
    && for package in *.deb; do dpkg-deb --extract "$package" /unpacked; done \
    && cat /unpacked/usr/share/ca-certificates/mozilla/*.crt > /ca-certificates.crt


FROM debian AS python
RUN export DEBIAN_FRONTEND=noninteractive \
    && apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && groupadd --gid 65532 backupexport \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /tmp \
        --shell /usr/sbin/nologin backupexport \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*
COPY --from=unpacked /ca-certificates.crt /etc/ssl/certs/ca-certificates.crt


FROM python AS build
WORKDIR /build
COPY --from=unpacked /unpacked/usr/share/python-wheels /pip-wheel
RUN python3 -m zipfile --extract /pip-wheel/pip-*.whl /pip

ARG PIP_CERT
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ENV PYTHONPATH=/pip \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore

COPY requirements/api-operator.txt requirements/runner.txt requirements/build.txt ./
# Not compiled: the Kubernetes client's class for each API group, 55 MB of generated source that is
# loaded only where it is named. No program here names one.
RUN set -e; \
    install() { \
        python3 -m venv --without-pip "/opt/$1"; \
        "/opt/$1/bin/python" -m pip install --quiet --no-warn-script-location --no-compile \
            --only-binary :all: --require-hashes --requirement "$2"; \
        "/opt/$1/bin/python" -m compileall -q -j 0 --invalidation-mode unchecked-hash \
            -x 'kubernetes/(aio/)?client/api/\w+_v[0-9]' "/opt/$1/lib"; \
    }; \
    install controller api-operator.txt; \
    install runner runner.txt; \
    install wheel build.txt

COPY pyproject.toml LICENSE ./
COPY crds/backupexport_contract crds/backupexport_contract
COPY crds/backupexport_runtime crds/backupexport_runtime
COPY api/backupexport_api api/backupexport_api
COPY operator/backupexport_operator operator/backupexport_operator
COPY runner/backupexport_runner runner/backupexport_runner
# README.md is the package's long description only: left out, so that it changes no image.
RUN set -e; \
    : > README.md; \
    /opt/wheel/bin/python -m pip wheel --quiet --no-deps --no-index --no-build-isolation .; \
    stage() { \
        "/opt/$1/bin/python" -m pip install --quiet --no-warn-script-location --no-compile \
            --no-deps --no-index --root /staged ./*.whl; \
        top=/staged/opt/$1; shift; \
        for part in "$@"; do \
            rm -r $top/lib/*/site-packages/backupexport_$part $top/bin/backupexport-$part; \
        done; \
        python3 -m compileall -q -s /staged --invalidation-mode unchecked-hash $top/lib; \
    }; \
    stage controller runner; \
    stage runner api operator; \
    rm /staged/opt/runner/bin/backupexport-token


FROM python AS controller
COPY --from=build /opt/controller /opt/controller
COPY --from=build /staged/opt/controller /opt/controller
ENV PATH=/opt/controller/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="backupexport" \
    org.opencontainers.image.description="Self-service PostgreSQL exports on Kubernetes: api and operator" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}"
USER 65532:65532
# Fails the build where a module is missing.
RUN ["python3", "-c", "import backupexport_api.__main__, backupexport_operator.__main__"]
EXPOSE 8080
STOPSIGNAL SIGTERM
CMD ["backupexport-api"]


FROM python AS runner
# 15, 17 and 18 are three Debians' own: the previous one's, this one's and the next one's, of which
# nothing else is taken but 18's libpq, because a client needs one that is no older. Any other major
# comes from the PostgreSQL project's archive, and libpq with it, by the script that Debian ships
# for it. The clients are unpacked, not installed: their wrapper scripts would bring all of Perl.
# What they are stands in dpkg's status.d, where scanners look for it.
ARG PG_MAJORS="15 17 18"
# `false` for a mirror that stands still: the next Debian's lists are good for a week. They are
# signed all the same, but nobody notices where someone holds newer ones back.
ARG DEBIAN_CHECK_VALID_UNTIL
RUN set -e; \
    export DEBIAN_FRONTEND=noninteractive; \
    mkdir /tmp/packages; cd /tmp/packages; \
    apt-get update; \
    others=$(echo $PG_MAJORS | tr ' ' '\n' | grep -vx -e 15 -e 17 -e 18 || true); \
    if [ -n "$others" ]; then \
        apt-get download postgresql-client-common; \
        dpkg-deb --fsys-tarfile postgresql-client-common_*.deb \
            | tar --extract --directory / ./usr/share/postgresql-common/pgdg; \
        rm postgresql-client-common_*.deb; \
        /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y; \
    else \
        for suite in bookworm forky; do \
            for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do \
                [ ! -f "$file" ] || sed "s/trixie/$suite/g" "$file" \
                    > "/etc/apt/sources.list.d/$suite.${file##*.}"; \
            done; \
        done; \
        from_forky() { \
            printf 'Package: %s\nPin: release n=forky*\nPin-Priority: %s\n\n' "$1" "$2" \
                >> /etc/apt/preferences.d/forky; \
        }; \
        from_forky '*' 1; \
        case " $PG_MAJORS " in *" 18 "*) from_forky libpq5 990 ;; esac; \
        apt-get ${DEBIAN_CHECK_VALID_UNTIL:+-o Acquire::Check-Valid-Until=$DEBIAN_CHECK_VALID_UNTIL} \
            update; \
    fi; \
    apt-get install --yes --no-install-recommends \
        libpq5 liblz4-1 libreadline8t64 libzstd1 zlib1g; \
    mkdir -p /var/lib/dpkg/status.d; \
    for major in $PG_MAJORS; do \
        client=postgresql-client-$major; \
        apt-get download $client; \
        dpkg-deb --fsys-tarfile ${client}_*.deb | tar --extract --directory / \
            ./usr/lib/postgresql ./usr/share/doc/$client/copyright; \
        { dpkg-deb --field ${client}_*.deb; echo "Status: install ok installed"; } \
            > /var/lib/dpkg/status.d/$client; \
        for program in pg_dump pg_restore psql; do \
            /usr/lib/postgresql/$major/bin/$program --version; \
        done; \
    done; \
    apt-get clean; \
    rm -rf /tmp/packages /usr/share/postgresql-common /etc/apt/sources.list.d/pgdg.* \
        /etc/apt/sources.list.d/bookworm.* /etc/apt/sources.list.d/forky.* \
        /etc/apt/preferences.d/forky /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*
COPY --from=build /opt/runner /opt/runner
COPY --from=build /staged/opt/runner /opt/runner
ENV PATH=/opt/runner/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="backupexport-runner" \
    org.opencontainers.image.description="Self-service PostgreSQL exports on Kubernetes: the Jobs' program" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}"
USER 65532:65532
RUN ["python3", "-c", "import backupexport_runner.__main__"]
# Fails the build where a pg_dump lacks the fixes of CVE-2025-8714 and CVE-2025-8715.
RUN ["python3", "-m", "backupexport_runner.postgres.clients"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["backupexport-runner"]
