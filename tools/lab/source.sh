# SPDX-License-Identifier: GPL-2.0
# The unpatched kernel: which one, and an unpacked copy of it that is never written
# to.  Sets PRISTINE (the folder), BASE (its name for people) and WORK (where
# its patched copy and its objects live).
# shellcheck shell=bash

VERSIONS=$LAB/versions
SRC=$CACHE/src

# tested_versions KIND: as listed, newest first.
tested_versions() { awk -v kind="$1" '$1 == kind { print $2 }' "$VERSIONS"; }

# mirror_versions: the linux-source-6.12 packages this machine's mirror has.
mirror_versions() {
	apt-cache madison linux-source-6.12 |
		awk -F' *[|] *' '/Packages/ && !seen[$2]++ { print $2 }'
}

unpack_deb() {
	local deb=$1 to=$2
	say "unpacking the kernel source (about half a minute)"
	dpkg-deb --fsys-tarfile "$deb" |
		tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
		xz -dc -T0 | tar -x --strip-components=1 -C "$to"
}

# xz decides by itself for .xz; tar knows the rest by the name
unpack_tarball() {
	say "unpacking ${1##*/} (about half a minute)"
	tar -xf "$1" --strip-components=1 -C "$2"
}

# debian_source VERSION [SUITE]: prints the folder of that package's kernel.
debian_source() {
	local version=$1 suite=${2:-} dir=$SRC/debian-$1 deb
	if [ ! -d "$dir" ]; then
		lock "$SRC/.lock"
		deb=$(deb_file linux-source-6.12 "$version" "$suite") || return 1
		[ -d "$dir" ] || whole "$dir" unpack_deb "$deb" || return 1
		exec {LOCK_FD}>&-
	fi
	echo "$dir"
}

require_6_12() {
	[ -f "$1/Makefile" ] || die "$1 is not a kernel tree"
	[ "$(sed -n 's/^\(VERSION\|PATCHLEVEL\) = //p' "$1/Makefile" | xargs)" = "6 12" ] ||
		die "$1 is not a 6.12.y kernel"
}

takes_series() { "$LAB/series.py" test "$1"; }

# The one that was chosen before is kept until "make clean"; otherwise the
# newest on the mirror, or failing that the newest tested one it still has.
choose_debian() {
	local version on_mirror newest dir complaint
	if [ -f "$BUILD/base" ]; then
		version=$(cat "$BUILD/base")
		if dir=$(debian_source "$version") && takes_series "$dir" 2>/dev/null
		then
			use_debian "$version" "$dir"
			return
		fi
	fi
	[ -n "$(mirror_versions)" ] || refresh_lists
	on_mirror=$(mirror_versions)
	newest=${on_mirror%%$'\n'*}
	[ -n "$newest" ] || die "this machine's mirror has no linux-source-6.12"
	dir=$(debian_source "$newest") || die "cannot fetch or unpack linux-source-6.12 $newest"
	if complaint=$(takes_series "$dir" 2>&1); then
		use_debian "$newest" "$dir"
		return
	fi
	say "the newest kernel package ($newest) does not take the series:"
	printf '%s\n' "$complaint" >&2
	for version in $(tested_versions debian); do
		[ "$version" != "$newest" ] || continue
		grep -qxF "$version" <<<"$on_mirror" || continue
		dir=$(debian_source "$version") || continue
		takes_series "$dir" || continue
		say "using the newest tested one instead: $version"
		use_debian "$version" "$dir"
		return
	done
	die "and no tested version (tools/lab/versions) on the mirror takes it"
}

use_debian() {
	PRISTINE=$2
	BASE="Debian $1"
	WORK=$BUILD
	mkdir -p "$BUILD"
	echo "$1" | write_if_changed "$BUILD/base"
}

# use_named PATH: a tree or a tarball that the user names.
use_named() {
	local path
	path=$(realpath -e "$1") || die "KERNEL_SRC=$1 is not there"
	BASE=${path##*/}
	if [ -d "$path" ]; then
		PRISTINE=$path
	else
		PRISTINE=$SRC/named-$(stat -c '%n %s %Y' "$path" | cksum | cut -d' ' -f1)
		[ -d "$PRISTINE" ] || whole "$PRISTINE" unpack_tarball "$path"
	fi
	WORK=$BUILD/named/$BASE-$(echo "$PRISTINE" | cksum | cut -d' ' -f1)
	require_6_12 "$PRISTINE"
	takes_series "$PRISTINE" || die "$1 does not take the series"
}

choose_source() {
	if [ -n "${KERNEL_SRC:-}" ]; then
		use_named "$KERNEL_SRC"
	else
		choose_debian
	fi
	say "kernel source: $BASE"
}
