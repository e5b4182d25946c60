#!/usr/bin/env bash
# Build targets of the Dockerfile without Docker, print their size by layer, and run them: `serving` serves forecasts, `cpu`
# and `cuda` retrain. Run as root.
#   scripts/test_image.sh                  serving
#   scripts/test_image.sh serving cuda     others too: cpu needs PyTorch's own index
# buildah builds in a chroot on a Debian that debootstrap makes, under the name of the Dockerfile's FROM: its Python is
# Debian's 3.11, not that of the Python image. Roots and images are kept in $IMAGE_ROOTS (default:
# ~/.cache/bwpredict/image), so that later runs take less.
set -euo pipefail
cd "$(dirname "$0")/.."
roots="${IMAGE_ROOTS:-$HOME/.cache/bwpredict/image}"
base="docker.io/library/$(awk '$1 == "FROM" { print $2; exit }' Dockerfile)"
packages=python3,python3-venv,python-is-python3,ca-certificates
export BUILDAH_ISOLATION=chroot
buildah=(buildah --root "$roots/storage" --runroot "$roots/run")

fail() {
    echo "$1" >&2
    exit 2
}
[ "$(id -u)" = 0 ] || fail "test-image makes a Debian root and builds in it: run it as root."
bash scripts/services.sh buildah debootstrap
mkdir -p "$roots"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

make_base() {
    "${buildah[@]}" images --quiet "$base" >/dev/null 2>&1 && return
    local mirror container
    mirror="$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)"
    echo "Making the base image $base of Debian bookworm (once; two minutes)"
    debootstrap --variant=minbase --include="$packages" bookworm "$roots/root" "$mirror" >"$roots/base.log" 2>&1 ||
        fail "debootstrap failed; its log is $roots/base.log."
    # What the slim images of Debian leave out.
    rm -rf "$roots"/root/var/cache/* "$roots"/root/var/lib/apt/lists/* "$roots"/root/var/log/* \
        "$roots"/root/usr/share/{doc,info,locale,man,lintian,perl}
    container="$("${buildah[@]}" from scratch)"
    "${buildah[@]}" add --quiet "$container" "$roots/root" / >/dev/null
    "${buildah[@]}" commit --quiet --rm "$container" "$base" >/dev/null
    rm -rf "$roots/root"
}

# What this machine's pip is configured for, mounted while the image is built: it does not become part of it.
adopt_network() {
    local name value folder
    mounts=(--volume /etc/resolv.conf:/etc/resolv.conf:ro)
    echo "[global]" >"$scratch/pip.conf"
    while IFS='=' read -r name value; do
        value="${value//\'/}"
        case "$name" in
            global.index-url | global.extra-index-url | global.find-links | global.cert)
                echo "${name#global.} = ${value//\\n/ }" >>"$scratch/pip.conf"
                ;;
        esac
        case "$name" in
            *.cert) mounts+=(--volume "$value:/etc/ssl/certs/ca-certificates.crt:ro") ;;
            *.find-links) for folder in $value; do [ ! -d "$folder" ] || mounts+=(--volume "$folder:$folder:ro"); done ;;
        esac
    done < <(python3 -m pip config list 2>/dev/null)
    mounts+=(--volume "$scratch/pip.conf:/etc/pip.conf:ro")
}

build() { # target
    echo "Building $1"
    "${buildah[@]}" build --quiet --format docker --pull=never --network host --layers "${mounts[@]}" --target "$1" \
        --build-arg "BWPREDICT_CODE_VERSION=$(git rev-parse HEAD)" --tag "bwpredict-$1" . >/dev/null
    "${buildah[@]}" inspect --type image "bwpredict-$1" >"$scratch/$1.json"
    python3 scripts/image_layers.py "$scratch/$1.json" "$roots"/storage/*-layers/layers.json
}

# Pull a model and serve forecasts of a day, as the user of the image; nothing of the image can be changed by it.
serve() {
    local container
    PYTHONPATH=tests/helpers:. .venv/bin/python tests/helpers/image_data.py "$scratch/data"
    chmod --recursive a+rX "$scratch"
    container="$("${buildah[@]}" from --pull=never bwpredict-serving)"
    "${buildah[@]}" run --user 50000 --volume "$scratch/data:/data:ro" "$container" -- sh -euc '
        ! command -v pip gcc strip || exit 1
        ! touch /opt/venv/bin/x 2>/dev/null || exit 1
        grep --quiet CycloneDX /opt/venv/sbom.cdx.json
        bwpredict pull --registry /data/registry --dest /models
        bwpredict exporter --models /models --source /data/telemetry --replay --listen 127.0.0.1:9108 --record /state/record &
        python -c "
import time, urllib.request
for _ in range(120):
    try:
        urllib.request.urlopen(\"http://127.0.0.1:9108/-/ready\")
        break
    except OSError:
        time.sleep(1)
lines = urllib.request.urlopen(\"http://127.0.0.1:9108/metrics\").read().decode().splitlines()
forecasts = [line for line in lines if line.startswith(\"bwpredict_forecast{\")]
assert len(forecasts) == 3 * 4 * 5 * 3, len(forecasts)
print(len(forecasts), \"forecasts served\")"
        kill $!
        wait $! && ls /state/record'
    "${buildah[@]}" rm "$container" >/dev/null
}

# A dry retraining as in compose: nothing is written but to /tmp and to Airflow's folder, which are in memory there.
retrain() { # target
    local container
    container="$("${buildah[@]}" from --pull=never "bwpredict-$1")"
    "${buildah[@]}" run --user 50000 "$container" -- bash -euc '
        ! touch /opt/bwpredict/x /opt/venv/bin/x 2>/dev/null || exit 1
        grep --quiet CycloneDX /opt/venv/sbom.cdx.json
        touch /tmp/began
        airflow version
        bwpredict generate --links 3 --days 8 --start 2026-10-24 --output /tmp/telemetry
        status=0
        bwpredict retrain --telemetry /tmp/telemetry --month 2026-10 --registry /tmp/registry --work /opt/airflow/work \
            --dry-run --epochs 1 --windows-per-epoch 64 --validation-windows 64 || status=$?
        [ "$status" -le 1 ] # 1: the gate rejects so short a training
        ls /opt/airflow/work/*/decision.json
        [ ! -e /tmp/registry/production.json ]
        written="$(find / -xdev -newer /tmp/began -type f -not -path "/proc/*" -not -path "/sys/*" -not -path "/tmp/*" \
            -not -path "/opt/airflow/*" 2>/dev/null || true)" # find cannot enter the folders of root
        [ -z "$written" ] || { echo "Written outside the scratch folders: $written"; exit 1; }'
    "${buildah[@]}" rm "$container" >/dev/null
}

targets=("$@")
[ $# -gt 0 ] || targets=(serving)
make_base
adopt_network
for target in "${targets[@]}"; do
    build "$target"
    if [ "$target" = serving ]; then serve; else retrain "$target"; fi
done
