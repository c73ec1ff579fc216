#!/bin/bash
# A Docker Engine of the tests' own, beside any other on the machine. Needs root.
#
#   engine.sh start FOLDER    starts it (or finds it running) and prints its DOCKER_HOST
#   engine.sh stop FOLDER     ends it by its process id, with its containers, and removes FOLDER
#
# Everything lies below FOLDER: images, state, socket, log. It has a bridge and address ranges of its own and manages no
# packet filter, so containers are reached at their bridge addresses (or through published ports), reach one another, and
# reach nothing outside. Where another engine on the machine drops forwarded packets, one rule admits those between the
# tests' own containers, until the engine stops.
set -euo pipefail

usage="usage: engine.sh start|stop FOLDER"
verb=${1:?$usage}
folder=${2:?$usage}
socket=$folder/docker.sock
host=unix://$socket
admit=(FORWARD -s 10.212.0.0/15 -d 10.212.0.0/15 -m comment --comment "runbook tests $folder" -j ACCEPT)

alive() {
  [ -s "$folder/pid" ] && kill -0 "$(cat "$folder/pid")" 2>/dev/null
}

make_bridge() {  # -> a bridge with a free /24, its name in FOLDER/bridge
  local n name
  if [ -s "$folder/bridge" ] && ip link show "$(cat "$folder/bridge")" > /dev/null 2>&1; then
    return
  fi
  for n in $(seq 1 250); do
    name=runbook$n
    if ! ip -4 route show | grep -q "^10\.212\.$n\." && ip link add name "$name" type bridge 2>/dev/null; then
      ip addr add "10.212.$n.1/24" dev "$name"
      ip link set "$name" up
      echo "$name" > "$folder/bridge"
      return
    fi
  done
  echo "no free bridge: remove old ones (ip link delete runbookN)" >&2
  exit 1
}

start() {
  if ! alive; then
    mkdir -p "$folder"
    make_bridge
    if iptables -S FORWARD 2>/dev/null | grep -q -- '-P FORWARD DROP'; then
      iptables -C "${admit[@]}" 2>/dev/null || iptables -I "${admit[@]}"
    fi
    echo '{}' > "$folder/daemon.json"
    rm -f "$folder/pid" "$socket"
    setsid dockerd --config-file "$folder/daemon.json" --data-root "$folder/data" --exec-root "$folder/exec" \
      --pidfile "$folder/pid" --host "$host" --bridge "$(cat "$folder/bridge")" --iptables=false --ip-masq=false \
      --default-address-pool base=10.213.0.0/16,size=26 --log-level warn > "$folder/log" 2>&1 < /dev/null &
  fi
  for _ in $(seq 1000); do
    if docker --host "$host" version > /dev/null 2>&1; then
      echo "$host"
      return
    fi
    sleep 0.1
  done
  echo "the Docker Engine didn't answer within 100 s:" >&2
  tail -n 20 "$folder/log" >&2
  exit 1
}

stop() {
  local pid mount
  if alive; then
    pid=$(cat "$folder/pid")
    kill "$pid"
    for _ in $(seq 300); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
  fi
  awk -v under="$folder/" 'index($2, under) == 1 {print $2}' /proc/mounts | sort -r | while read -r mount; do
    umount -l "$mount" || true
  done
  if [ -s "$folder/bridge" ]; then
    ip link delete "$(cat "$folder/bridge")" 2>/dev/null || true
  fi
  iptables -D "${admit[@]}" 2>/dev/null || true
  rm -rf "$folder"
}

case "$verb" in
  start | stop) "$verb" ;;
  *) echo "$usage" >&2; exit 2 ;;
esac
