#!/bin/bash
# Builds the images that the tests run, from Debian's packages, for an engine that can reach no registry.
#
#   build-images.sh [CACHE]
#
# runbook-test/base:bookworm   Debian with PostgreSQL 15 and Redis 7, made by debootstrap (needs root)
# runbook-test/postgres:15     behaves like the well-known postgres image where a restore can tell
# runbook-test/redis:7         the same for Redis
#
# CACHE keeps the base as one tar file, named by the hash of its recipe, so that only the first run is slow.
# It speaks to the engine that DOCKER_HOST names. Images that are there already and current are left alone.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/runbook-ci}
suite=bookworm
packages=postgresql-15,redis-server,procps,busybox,ca-certificates
mirror=${RUNBOOK_DEBIAN_MIRROR:-$(awk '/^URIs:/ {print $2; exit} /^deb / {print $2; exit}' \
  /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true)}

recipe=$(sed -n '/^make_base()/,/^}/p' "$0"; echo "$suite $packages")
base_hash=$(printf %s "$recipe" | sha256sum | cut -c1-16)
tar_file=$cache/base-$base_hash.tar

make_base() {  # -> the base's root file system as a tar file
  local work root
  work=$(mktemp -d "$cache/debootstrap.XXXXXX")
  trap 'rm -rf "$work"' RETURN
  root=$work/root
  if ! debootstrap --variant=minbase --include="$packages" "$suite" "$root" "$mirror" > "$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    return 1
  fi
  # The package makes a cluster of its own; the image makes one on its volume.
  rm -rf "$root"/var/lib/postgresql/15 "$root"/etc/postgresql/15 "$root"/var/log/postgresql/*
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale,info}/*
  tar --numeric-owner -C "$root" -cf "$work/base.tar" .
  sync "$work/base.tar"
  mv "$work/base.tar" "$tar_file"
}

label() {  # IMAGE -> the recipe's hash that the image was made from, or nothing
  docker image inspect --format '{{index .Config.Labels "runbook-test.recipe"}}' "$1" 2>/dev/null || true
}

build() {  # NAME TAG FOLDER
  local image=runbook-test/$1:$2 hash
  hash=$(cat "$here/$3"/* <(echo "$base_hash") | sha256sum | cut -c1-16)
  if [ "$(label "$image")" = "$hash" ]; then
    echo "$image is current"
    return
  fi
  if ! DOCKER_BUILDKIT=0 docker build --label "runbook-test.recipe=$hash" --tag "$image" "$here/$3" > "$cache/build.log" 2>&1
  then
    tail -n 20 "$cache/build.log" >&2
    exit 1
  fi
  echo "$image built"
}

mkdir -p "$cache"
if [ "$(label runbook-test/base:$suite)" != "$base_hash" ]; then
  if [ ! -s "$tar_file" ]; then
    rm -f "$cache"/base-*.tar
    rm -rf "$cache"/debootstrap.*
    [ "$(id -u)" = 0 ] || { echo "debootstrap needs root: run this once as root" >&2; exit 1; }
    make_base
  fi
  docker import --change "LABEL runbook-test.recipe=$base_hash" --change 'ENV LANG=C.UTF-8' \
    --change 'CMD ["/bin/bash"]' "$tar_file" "runbook-test/base:$suite" > /dev/null
  echo "runbook-test/base:$suite imported"
fi
build postgres 15 postgres
build redis 7 redis
