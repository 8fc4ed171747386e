#!/bin/sh
# python.sh COMMAND... runs a command of the Python client's environment in
# clients/python. The environment is made once for each lock file and Python in
# a cache folder, outside the checkout, since PyTorch alone fetches about 2 GB;
# clients/python/.venv links to it.
set -eu

cd "$(dirname "$0")/../clients/python"
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
	echo "    Python 3.10 or later is needed; PYTHON=... names another" >&2
	exit 1
}
key=$({ cat requirements.lock; "$python" -c 'import sys; print(sys.version, sys.base_prefix)'; } | cksum | tr -d ' ')
home=${XDG_CACHE_HOME:-$HOME/.cache}/multirate/python-$key
if [ ! -e "$home/complete" ]; then
	echo "    making the Python environment, once (about 2 GB to fetch)" >&2
	rm -rf "$home"
	"$python" -m venv "$home"
	"$home/bin/pip" install --quiet --disable-pip-version-check -r requirements.lock
	touch "$home/complete"
fi
[ "$(readlink .venv || true)" = "$home" ] || { rm -rf .venv; ln -s "$home" .venv; }
PATH=$home/bin:$PATH exec "$@"
