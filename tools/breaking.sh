#!/bin/sh
# breaking.sh compares the wire contract with the one on main and fails on a
# breaking change. The base is the point where this branch left main; on main
# itself it is the parent commit. BREAKING_BASE names another base.
set -eu

skip() {
	echo "    $1: nothing to compare with"
	exit 0
}

git rev-parse --quiet --verify HEAD >/dev/null || skip "no commit yet"

main=
for ref in ${BREAKING_BASE:-origin/main main}; do
	if git rev-parse --quiet --verify "$ref^{commit}" >/dev/null; then
		main=$ref
		break
	fi
done
if [ -z "$main" ] && [ -n "${BREAKING_BASE:-}" ]; then
	echo "    BREAKING_BASE=$BREAKING_BASE is not a commit here" >&2
	exit 1
fi
[ -n "$main" ] || echo "    no main in this clone: comparing with the parent commit alone"

# A shallow clone may lack the merge base; the tip of main is then the best
# base at hand. On a clean main the tip is HEAD itself, hence its parent.
base=$(git merge-base HEAD "${main:-HEAD}" || git rev-parse "$main^{commit}")
if [ "$base" = "$(git rev-parse HEAD)" ] && [ -z "$(git status --porcelain -- proto)" ]; then
	base=$(git rev-parse --quiet --verify 'HEAD^') || skip "first commit"
fi

[ -n "$(git ls-tree -r --name-only "$base" -- buf.yaml proto | grep '\.proto$')" ] ||
	skip "no proto at $(git rev-parse --short "$base")"

# An archive on standard input, and not buf's own git input, because that one
# needs a full clone and does not know worktrees.
git archive --format=tar "$base" -- buf.yaml proto |
	"$@" breaking --against '-#format=tar'
echo "    compatible with $(git rev-parse --short "$base")"
