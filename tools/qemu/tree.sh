#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The development tree of the lab's QEMU: "tree" makes build/qemu-tree, a git work
# tree of Debian's source with a commit for each patch of tools/qemu/series;
# "refresh" writes its commits back into tools/qemu.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../lab/lib.sh"
. "$LAB/apt.sh"
. "$HERE/source.sh"

TREE=$BUILD/qemu-tree

# Ignore the user's git configuration, except for commands that rebase the tree.
tree_git() {
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 \
		git -C "$TREE" -c user.name=vtd-lab -c user.email=vtd-lab@localhost "$@"
}

has_tree() { [ -d "$TREE/.git" ]; }

# Nothing in the tree that the series lacks
is_refreshed() {
	local head
	head=$(tree_git rev-parse -q --verify HEAD) &&
		[ "$head" = "$(tree_git rev-parse -q --verify lab-made)" ] &&
		[ -z "$(tree_git status --porcelain --untracked-files=no)" ]
}

make_base() {
	unpack_source "$1"
	git -C "$1" init -q -b lab
	# the same names of blobs everywhere
	git -C "$1" config core.abbrev 8
	git -C "$1" config gc.auto 0
	# build.sh brings it; here it keeps the tree ready to be configured
	cp "$HERE/devices.mak" "$1/configs/devices/x86_64-softmmu/vtd-lab.mak"
	(TREE=$1 && tree_git add -Af . && tree_git commit -q -m "$(basename "$DSC")" &&
		tree_git tag lab-base)
}

make_tree() {
	local patches
	find_source
	if has_tree; then
		is_refreshed || die "$TREE has changes that are not in tools/qemu:" \
			"make qemu-refresh takes them over, or remove it"
	fi
	if ! has_tree || [ "$(tree_git log -1 --format=%s lab-base)" != "${DSC##*/}" ]
	then
		say "unpacking ${DSC##*/} into a git work tree"
		whole "$TREE" make_base
	fi
	mapfile -t patches < <(sed "/^#/d; s,^,$HERE/," "$HERE/series")
	tree_git checkout -q -f -B lab lab-base
	if ! tree_git am -q --committer-date-is-author-date "${patches[@]}" >&2; then
		tree_git am --abort
		die "tools/qemu/series does not apply"
	fi
	tree_git tag -f lab-made >/dev/null
	say "the tree is ready"
	echo "$TREE"
}

check_commits() {
	local subject
	[ -z "$(tree_git status --porcelain --untracked-files=no)" ] ||
		die "$TREE has changes that are not committed"
	[ -z "$(tree_git rev-list --merges lab-base..HEAD)" ] ||
		die "the tree has merges: a series is a straight line"
	while read -r subject; do
		case $subject in
		'fixup! '* | 'squash! '* | 'amend! '*)
			die "'$subject' waits for git rebase -i --autosquash lab-base" ;;
		esac
	done < <(tree_git log --format=%s lab-base..HEAD)
}

# keep_names DIR: prints the names of its patches, in order. A patch whose subject is
# in the series keeps its name there; a new one has that of the one before, and "x".
keep_names() {
	local patch slug name last=0000
	for patch in "$1"/*.patch; do
		slug=${patch##*/[0-9][0-9][0-9][0-9]-}
		name=$(grep -Ex "[0-9]{4}[a-z]*-${slug//./[.]}" "$HERE/series") ||
			name=${last}x-$slug
		last=${name%%-*}
		mv -T "$patch" "$1/named/$name"
		echo "$name"
	done
}

refresh() {
	local made=$TREE/.git/lab-patches new names patch name
	has_tree || die "$TREE is not there: make qemu-tree"
	check_commits
	new=$made/named
	rm -rf "$made"
	tree_git format-patch -q -N --zero-commit --signature= -o "$made" lab-base
	mkdir "$new"
	names=$(keep_names "$made")
	for patch in "$new"/*.patch; do
		sed -i 1d "$patch"	# the line that only mailboxes have
	done
	while read -r name; do
		[ -f "$new/$name" ] || rm -f "$HERE/$name"
	done < <(grep -v '^#' "$HERE/series")
	{ grep '^#' "$HERE/series"; echo "$names"; } |
		write_if_changed "$HERE/series"
	for patch in "$new"/*.patch; do
		write_if_changed "$HERE/${patch##*/}" <"$patch"
	done
	rm -rf "$made"
	tree_git tag -f lab-made >/dev/null
}

install_packages git dpkg-dev
case ${1:-} in
tree)
	mkdir -p "$WORK"
	lock "$WORK/.lock"
	make_tree
	;;
refresh) refresh ;;
*) die "tree or refresh?" ;;
esac
