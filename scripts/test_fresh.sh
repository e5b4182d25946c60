#!/usr/bin/env bash
# Run the README's two commands on a bare Debian, without Docker: a root made by debootstrap, with only the packages
# that the README names, and a clone of this checkout in it. Run as root.
#   scripts/test_fresh.sh bookworm          make demo and make test, as root and as an ordinary user
#   scripts/test_fresh.sh bookworm-demo     make demo as root
#   scripts/test_fresh.sh trixie            as bookworm, with Python 3.13
#   scripts/test_fresh.sh trixie-tests      the tests that need no torch, as root
# Roots are kept in $FRESH_ROOTS (default: ~/.cache/bwpredict/fresh), so that later runs take minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
checkout="$PWD"
roots="${FRESH_ROOTS:-$HOME/.cache/bwpredict/fresh}"
packages=python3,python3-venv,ca-certificates,make,git
mounted=()

fail() {
    echo "$1" >&2
    exit 2
}
[ "$(id -u)" = 0 ] || fail "test-fresh makes a Debian root and enters it: run it as root."
# In a separate mount namespace: however this run ends, no mount of the machine's /dev stays behind in a root.
[ -n "${FRESH_NAMESPACE:-}" ] || FRESH_NAMESPACE=1 exec unshare --mount --propagation private bash scripts/test_fresh.sh "$@"
mkdir -p "$roots"
exec 9>"$roots/.lock"
flock --nonblock 9 || fail "Another test-fresh is using $roots; wait for it, or name another folder in FRESH_ROOTS."

unmount_all() {
    local index
    for ((index = ${#mounted[@]} - 1; index >= 0; index--)); do umount --lazy "${mounted[index]}" || true; done
    mounted=()
}
trap unmount_all EXIT

bind() {
    mkdir -p "$2"
    mount --bind "$1" "$2"
    mounted+=("$2")
}

make_roots() { # case…
    local each making=()
    for each in $(printf '%s\n' "${@%%-*}" | sort --unique); do
        [ ! -e "$roots/$each/.complete" ] || continue
        command -v debootstrap >/dev/null || bash scripts/services.sh debootstrap
        make_root "$each" 9>&- &
        making+=($!)
    done
    for each in "${making[@]}"; do wait "$each" || exit; done
}

make_root() { # suite
    local mirror
    mirror="$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)"
    echo "Making a bare Debian ($1) in $roots/$1 (once; two minutes)"
    mkdir -p "$roots"
    rm -rf "${roots:?}/$1"
    debootstrap --variant=minbase --include="$packages" "$1" "$roots/$1" "$mirror" >"$roots/$1.log" 2>&1 ||
        fail "debootstrap failed; its log is $roots/$1.log."
    chroot "$roots/$1" useradd --create-home --shell /bin/bash engineer
    touch "$roots/$1/.complete"
}

# What this machine's pip is configured for, as environment variables for the root; local wheel folders are mounted.
adopt_network() { # root
    local root="$1" name value folder
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    settings=(LANG=C.UTF-8)
    while IFS='=' read -r name value; do
        value="${value//\'/}"
        case "$name" in
            *.index-url) settings+=("PIP_INDEX_URL=$value") ;;
            *.find-links)
                settings+=("PIP_FIND_LINKS=$value")
                for folder in $value; do [ ! -d "$folder" ] || bind "$folder" "$root/$folder"; done
                ;;
            *.cert)
                settings+=("PIP_CERT=$value" "SSL_CERT_FILE=$value")
                install -D -m 644 "$value" "$root/$value"
                ;;
        esac
    done < <(python3 -m pip config list 2>/dev/null)
}

enter() { # root user command
    local home=/root
    [ "$2" = root ] || home="/home/$2"
    chroot --userspec="$2" "$1" env -i "${settings[@]}" HOME="$home" PATH=/usr/sbin:/usr/bin:/sbin:/bin CI="${CI:-}" \
        bash -c "cd /project && $3" </dev/null 9>&-
}

timed() { # label root user command
    local started=$SECONDS
    echo "== $1 ($3): $4"
    enter "$2" "$3" "$4" || fail "$1 ($3): \`$4\` failed."
    echo "== $1 ($3): \`$4\` took $((SECONDS - started)) s"
}

run_case() { # suite user [test|without-torch]
    local suite="$1" user="$2" root="$roots/$1" torch
    adopt_network "$root"
    bind /proc "$root/proc"
    bind /dev "$root/dev"
    bind /dev/shm "$root/dev/shm"
    rm -rf "$root/project"
    git clone --quiet "file://$checkout" "$root/project"
    chroot "$root" chown -R "$user:" /project
    torch="$(grep -E '^torch==' requirements.txt)"
    if [ "${3:-}" = without-torch ] || ! cpu_build_is_offered "$root" "$user" "$torch"; then
        [ "${3:-}" = without-torch ] ||
            echo "$suite: no CPU build of $torch is offered for its Python; only the tests that need no torch run"
        timed "$suite" "$root" "$user" "make setup WITHOUT_TORCH=1"
        timed "$suite" "$root" "$user" "make test-without-torch"
    else
        timed "$suite" "$root" "$user" "make setup"
        timed "$suite" "$root" "$user" "make demo"
        [ "${3:-}" != test ] || timed "$suite" "$root" "$user" "make test"
    fi
    rm -rf "$root/project"
    unmount_all
}

# A build of torch that needs CUDA's packages is gigabytes; FRESH_CUDA=1 takes it all the same.
cpu_build_is_offered() { # root user torch
    [ -z "${FRESH_CUDA:-}" ] || return 0
    enter "$1" "$2" "probe=\$(mktemp -d) && python3 -m venv \$probe && \$probe/bin/pip install --quiet --dry-run \
        --report \$probe/report $3 && ! grep --quiet '\"name\": \"nvidia' \$probe/report" >/dev/null 2>&1
}

[ $# -gt 0 ] || set -- bookworm trixie
for each in "$@"; do
    [[ $each =~ ^(bookworm(-demo)?|trixie(-tests)?)$ ]] ||
        fail "$each: unknown; choose from bookworm, bookworm-demo, trixie, trixie-tests."
done
make_roots "$@"
for each in "$@"; do
    case "$each" in
        bookworm-demo) run_case bookworm root ;;
        trixie-tests) run_case trixie root without-torch ;;
        *) for user in root engineer; do run_case "$each" "$user" test; done ;;
    esac
done
