#!/bin/sh
# generated.sh fails unless the checked-in generated Go is exactly what the
# proto and the pinned plugins produce. It leaves the tree alone, and the hand-written
# package wire.
set -eu

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"$@" generate --output "$fresh"
if ! diff -r -q --exclude='*.proto' --exclude='*_test.go' --exclude=testdata --exclude=wire proto "$fresh/proto"; then
	echo "    generated Go is out of date: run make generate" >&2
	exit 1
fi
