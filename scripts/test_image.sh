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
mkdir -p "$scratch/volumes/shared"
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

# Run a command in the built image as compose runs a service: read-only but for the service's tmpfs and volumes.
run_as() { # service target command...
    local service="$1" target="$2" container root
    shift 2
    container="$("${buildah[@]}" from --pull=never "bwpredict-$target")"
    root="$("${buildah[@]}" mount "$container")"
    unshare --mount --pid --fork --kill-child .venv/bin/python scripts/as_service.py "$service" "$root" \
        "$scratch/$target.json" "$scratch/volumes" "$@"
    "${buildah[@]}" umount "$container" >/dev/null
    "${buildah[@]}" rm "$container" >/dev/null
}

# /var/tmp is anyone's, but for the read-only root.
sealed='
    mount_of() { awk -v at="$1" "\$2 == at { options = \$4 } END { print options }" /proc/mounts; }
    [[ "$(mount_of /)" == ro,* ]]
    ! touch /var/tmp/x 2>/dev/null || exit 1
    grep --quiet "^CapBnd:[[:space:]]*0*$" /proc/self/status
    grep --quiet CycloneDX /opt/venv/sbom.cdx.json
'

# Pull a model and serve forecasts of a day.
serve() {
    PYTHONPATH=tests/helpers:. .venv/bin/python tests/helpers/image_data.py "$scratch/volumes/shared"
    chmod --recursive a+rX "$scratch"
    run_as models serving bash -euc "$sealed"'
        ! command -v pip gcc strip || exit 1
        bwpredict pull --registry /shared/registry --dest /models'
    run_as exporter serving bash -euc "$sealed"'
        [[ "$(mount_of /models)" == ro,* ]]
        bwpredict exporter --models /models --source /shared/telemetry --replay --listen 127.0.0.1:9108 \
            --state /state/state.npz --record /state/record &
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
        wait $!
        ls /state/record'
}

# A dry retraining, which ends with 1 as the gate rejects so short a training.
retrain() { # target
    local service=worker
    [ "$1" = cpu ] || service=gpu-worker
    run_as "$service" "$1" bash -euc "$sealed"'
        airflow version
        bwpredict generate --links 3 --days 8 --start 2026-10-24 --output /tmp/telemetry
        status=0
        bwpredict retrain --telemetry /tmp/telemetry --month 2026-10 --registry /tmp/registry --work /opt/airflow/work \
            --dry-run --epochs 1 --windows-per-epoch 64 --validation-windows 64 || status=$?
        [ "$status" -le 1 ]
        ls /opt/airflow/work/*/decision.json
        [ ! -e /tmp/registry/production.json ]'
}

targets=("$@")
[ $# -gt 0 ] || targets=(serving)
make_base
adopt_network
for target in "${targets[@]}"; do
    build "$target"
    if [ "$target" = serving ]; then serve; else retrain "$target"; fi
done
