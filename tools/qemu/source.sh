# SPDX-License-Identifier: GPL-2.0
# The source of QEMU that tools/qemu/series applies to.  The includer has set HERE
# and included lab/lib.sh and lab/apt.sh.
# shellcheck shell=bash

WORK=$BUILD/qemu
NO_SOURCE=77

# fetch_source VERSION SUITE DIR: does not use "whole", which dies on errors
fetch_source() {
	local version=$1 suite=$2 dir=$3
	say "fetching the source of QEMU $version"
	rm -rf "$dir.part"
	mkdir -p "$dir.part"
	(cd "$dir.part" && private_apt "$suite" apt-get -q source --only-source \
		--download-only "qemu=$version") >&2 || return
	mv -T "$dir.part" "$dir"
}

# find_source: sets DSC to the first source package that is available.
find_source() {
	local version suite dir
	while read -r version suite; do
		dir=$CACHE/qemu-src/${version/:/%3a}
		[ -d "$dir" ] || fetch_source "$version" "$suite" "$dir" || continue
		DSC=$(echo "$dir"/*.dsc)
		return
	done < <(grep -v '^#' "$HERE/versions")
	say "no source of QEMU that tools/qemu/series applies to can be had"
	exit $NO_SOURCE
}

# unpack_source DIR.  apt has checked the files; this key ring lacks the signer's key.
unpack_source() {
	rmdir "$1"
	dpkg-source --no-check -x "$DSC" "$1" >"$WORK/unpack.log" 2>&1 ||
		{ tail -5 "$WORK/unpack.log" >&2; die "cannot unpack $DSC"; }
}
