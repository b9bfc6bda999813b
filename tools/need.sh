#!/bin/sh
# need.sh COMMAND=PACKAGE ...: installs, by apt-get, the packages whose command is absent.
set -eu
absent=
for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || absent="$absent ${pair#*=}"
done
test -n "$absent" || exit 0
command -v apt-get >/dev/null || { echo "please install:$absent" >&2; exit 1; }
test "$(id -u)" = 0 && root= || root=sudo
echo "installing$absent"
command -v flock >/dev/null && exec 9<"$0" && flock 9 # another target may be installing, too
$root apt-get update -qq
# shellcheck disable=SC2086 # several words are meant
DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends $absent >/dev/null
