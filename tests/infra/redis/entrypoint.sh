#!/bin/bash
# Starts Redis the way the well-known container image does: data in /data, reachable from other containers,
# as the user redis, with extra arguments (or a configuration file) after the command.
set -euo pipefail

case "${1:-}" in
  -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "${1:-}" != redis-server ]; then
  exec "$@"
fi
shift
case "${1:-}" in
  *.conf) set -- redis-server "$@" ;;
  *) set -- redis-server --bind '* -::*' --protected-mode no "$@" ;;
esac
if [ "$(id -u)" = 0 ]; then
  chown -R redis:redis /data
  exec setpriv --reuid=redis --regid=redis --init-groups --inh-caps=-all "$@"
fi
exec "$@"
