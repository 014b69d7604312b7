#!/bin/bash
# Makes pairs of root filesystems of other kinds than the app of script/bench-delta's own, so that
# delta sizes are seen to come from general mechanisms. From Debian's and npm's registries only.
#   debian     a point release: packages of a minimal system, libraries and git, python, samba
#   arm64      libraries, node and mariadb of another architecture
#   python     a Django app, its dependencies patched, byte code compiled again at every build
#   java       a runtime of 190 MB with its jars and module image, patched
#   go         containerd, rebuilt with another compiler
#   rust       one statically linked program of 40 MB, next minor version
#   pnpm       node_modules whose folders have versions in their names
#   data       SQLite, JSON, CSV, gzip, zip: some rows of each changed
# Usage: delta-pairs.sh FOLDER [PAIR...]   Result: FOLDER/pairs/PAIR/{old,new}.tar
# Needs: apt-get, dpkg-deb, npm, python3, tar. Nothing is installed.
set -euo pipefail
HERE=$(dirname "$(readlink -f "$0")")
WORK=$(realpath -m "${1:?usage: delta-pairs.sh FOLDER [PAIR...]}"); shift
mkdir -p "$WORK"/{pairs,trees,debs,npm}; cd "$WORK"

# --- Debian packages, by apt with state of its own ---------------------------
apt_for() { # architecture, command...
  local dir=$WORK/apt-$1; local keys=/usr/share/keyrings/debian-archive-keyring.gpg
  local site=${MIRROR:-http://deb.debian.org}
  if [ ! -d "$dir" ]; then
    mkdir -p "$dir"/{state/lists/partial,cache/archives/partial}; : >"$dir/status"
    for suite in 'debian bookworm' 'debian bookworm-updates' 'debian-security bookworm-security'; do
      echo "deb [signed-by=$keys] $site/${suite% *} ${suite#* } main"
    done >"$dir/sources.list"
    apt_for "$1" apt-get update >/dev/null
  fi
  local options=(-o Dir::State="$dir/state" -o Dir::State::status="$dir/status"
    -o Dir::Cache="$dir/cache" -o Dir::Etc::sourcelist="$dir/sources.list"
    -o Dir::Etc::sourceparts=/dev/null -o APT::Architecture="$1" -o APT::Architectures="$1"
    -o APT::Sandbox::User=root -o quiet=2)
  "$2" "${options[@]}" "${@:3}"
}
versions() { # architecture package: lowest first
  apt_for "$1" apt-cache madison "$2" | awk -F'|' '{ gsub(/ /, "", $2); print $2 }' | sort -uV
}
unpack() { # architecture package version folder
  mkdir -p "debs/$1" "$4"
  local file; file=debs/$1/$2_${3//:/%3a}_$1.deb
  if [ ! -f "$file" ]; then
    (cd "debs/$1" && apt_for "$1" apt-get download "$2=$3" >/dev/null)
    [ -f "$file" ] || mv "debs/$1/$2_${3//:/%3a}_all.deb" "$file"
  fi
  dpkg-deb -x "$file" "$4"
}
packages() { # pair architecture package...: oldest and newest
  local pair=$1 arch=$2; shift 2
  for p in "$@"; do
    unpack "$arch" "$p" "$(versions "$arch" "$p" | head -n 1)" "trees/$pair/old"
    unpack "$arch" "$p" "$(versions "$arch" "$p" | tail -n 1)" "trees/$pair/new"
  done
}
npm_package() { # name version folder
  local at; at=npm/$(echo "$1@$2" | tr '/@' '__')
  if [ ! -d "$at" ]; then
    mkdir -p "$at.new"
    tar -xzf "$(cd npm && npm pack --silent "$1@$2" | sed "s#^#npm/#")" -C "$at.new"
    mv "$at.new" "$at"
  fi
  mkdir -p "$3"; cp -a "$at/package/." "$3"
}

make_debian() {
  packages debian amd64 libc6 libc-bin perl-base systemd util-linux tzdata ca-certificates curl bash \
    coreutils dpkg apt git openssl libcurl4 libgnutls30 libssl3 libpython3.11-minimal libpython3.11-stdlib \
    python3.11-minimal samba-libs libsystemd0
}
make_arm64() {
  packages arm64 arm64 libc6 libssl3 openssl libcurl4 systemd libnode108 mariadb-server-core
}
make_python() {
  packages python amd64 python3-django python3-cryptography libpython3.11-stdlib \
    libpython3.11-minimal python3.11-minimal
  for side in old new; do # a build compiles, and the time of each source goes into its code
    local lib=trees/python/$side/usr/lib
    find "$lib" -name '*.py' -exec touch {} +
    python3 -m compileall -q "$lib/python3" "$lib/python3.11" >/dev/null || true
    sleep 1
  done
}
make_java() { packages java amd64 openjdk-17-jre-headless; }
make_go() { packages go amd64 containerd; }
make_rust() {
  npm_package @biomejs/cli-linux-x64 2.2.0 trees/rust/old/usr/bin
  npm_package @biomejs/cli-linux-x64 2.2.4 trees/rust/new/usr/bin
}
make_pnpm() {
  local at=srv/app/node_modules/.pnpm p name old new
  add() { npm_package "$2" "$3" "trees/pnpm/$1/$at/${2//\//+}@$3/node_modules/$2"; }
  for p in typescript:5.8.2:5.8.3 webpack:5.98.0:5.99.0 next:15.2.0:15.2.4 react-dom:19.0.0:19.1.0 \
    @aws-sdk/client-s3:3.750.0:3.758.0 rxjs:7.8.1:7.8.2 date-fns:4.0.0:4.1.0 lodash:4.17.21:4.17.21 \
    zod:3.24.1:3.24.2 esbuild-wasm:0.25.0:0.25.1; do
    IFS=: read -r name old new <<<"$p"
    add old "$name" "$old"; add new "$name" "$new"
  done
}
make_data() { mkdir -p trees/data/{old,new}; python3 "$HERE/delta-data.py" trees/data; }

for pair in "${@:-debian arm64 python java go rust pnpm data}"; do for name in $pair; do
  [ -f "pairs/$name/new.tar" ] && continue
  rm -rf "trees/$name"; "make_$name"; mkdir -p "pairs/$name"
  for side in old new; do
    tar --sort=name --numeric-owner --owner=0 --group=0 --format=gnu -C "trees/$name/$side" \
      -cf "pairs/$name/$side.part" .
  done
  for side in old new; do mv "pairs/$name/$side.part" "pairs/$name/$side.tar"; done
  rm -rf "trees/$name"
  ls -l "pairs/$name/new.tar"
done; done
