#!/bin/sh
# libp2p depends on fastecdsa, which has no wheel: building it needs a C compiler, Python's headers and GMP's.
# Installs them where that can be done without asking (root on a Debian system), says what is missing otherwise.
set -eu
missing=""
command -v cc >/dev/null 2>&1 || missing="$missing gcc"
[ -n "$(find /usr/include /usr/local/include -name gmp.h 2>/dev/null | head -n 1)" ] || missing="$missing libgmp-dev"
"${PYTHON:-python3}" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || missing="$missing python3-dev"
"${PYTHON:-python3}" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y $missing
else
    echo "Please install first:$missing   (Debian, Ubuntu: sudo apt-get install$missing)" >&2
    exit 1
fi
