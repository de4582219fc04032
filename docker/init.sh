#!/bin/sh
# Makes a consortium once, and gives to each volume what its owner needs and nothing else.
#
#   init.sh [OPTIONS OF foedus local init]      such as --task heart --rounds 25
#
# The genesis document is written last: where it is, everything is. Keys on their way touch no disk but their owner's
# volume, since /tmp is in memory. VOLUMES names another place than /volumes.
set -eu
umask 077
volumes=${VOLUMES:-/volumes}
made=$(mktemp -d)/made
trap 'rm -rf "${made%/made}"' EXIT

fail() {
  echo "init: $*" >&2
  exit 1
}

if [ -e "$volumes/consortium/genesis.json" ]; then
  echo "The consortium is there already: nothing to make."
  exit 0
fi
for chain in "$volumes"/nodes/*/data; do
  [ ! -e "$chain" ] || fail "$chain holds a chain whose genesis document is gone: restore it from a backup," \
    "or begin anew after 'docker compose down --volumes'"
done

foedus local init "$made" --containers "$@"
for node in "$made"/nodes/*; do
  name=${node##*/}
  [ -d "$volumes/nodes/$name" ] || fail "no volume for node $name: the nodes here and in docker-compose.yml differ"
  cp -R "$node/." "$volumes/nodes/$name/"
done
for key in "$made"/participants/*.key; do
  name=$(basename "$key" .key)
  case $name in
    *-officer) cp "$key" "$volumes/officers/" ;;
    *)
      [ -d "$volumes/trainers/$name" ] || fail "no volume for trainer $name: see docker-compose.yml"
      cp "$key" "$volumes/trainers/$name/"
      ;;
  esac
done
sync

cp "$made/api-ca.pem" "$volumes/consortium/api-ca.pem"
cp "$made/genesis.json" "$volumes/consortium/genesis.json.new"
chmod 644 "$volumes"/consortium/*
sync
mv "$volumes/consortium/genesis.json.new" "$volumes/consortium/genesis.json"
sync
