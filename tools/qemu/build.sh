#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Builds the lab's own QEMU: Debian's source with the patches of tools/qemu/series,
# in build/qemu.  The last line on stdout is the path of its qemu-system-x86_64.
# Arguments are more targets of ninja.
# Status 77: none of the sources in tools/qemu/versions is available.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../lab/lib.sh"
. "$LAB/apt.sh"
. "$LAB/qemu.sh"
. "$HERE/source.sh"

PACKAGES=(gcc libc6-dev make ninja-build pkg-config libglib2.0-dev zlib1g-dev
	  flex bison python3-venv dpkg-dev patch rsync libslirp-dev)
OPTIONS=(--python=/usr/bin/python3 --target-list=x86_64-softmmu
	 --without-default-features --without-default-devices
	 --with-devices-x86_64=vtd-lab --enable-system --enable-tcg --enable-slirp
	 --disable-download --disable-install-blobs)

# ---- meson: 1.5 or newer, which Debian 12 has in its backports only ----

MESON=1.5

candidate() {
	"$@" apt-cache policy meson | sed -n 's/^ *Candidate: //p'
}

unpack_meson() {
	local deb
	deb=$(deb_file meson "$1" "$2")
	dpkg-deb -x "$deb" "$3"
}

# Puts the required meson into PATH for the following commands.
setup_meson() {
	local suite version dir
	if dpkg --compare-versions "$(candidate env)" ge "$MESON"; then
		install_packages meson
		return
	fi
	suite=$(release_codename)-backports
	version=$(private_apt "$suite" apt-cache madison meson |
		awk -F' *[|] *' '{ print $2; exit }')
	dpkg --compare-versions "${version:-0}" ge "$MESON" ||
		die "neither this release nor $suite has meson $MESON"
	dir=$CACHE/meson-${version/:/%3a}
	[ -d "$dir" ] || whole "$dir" unpack_meson "$version" "$suite"
	export PATH=$dir/usr/bin:$PATH
	export PYTHONPATH=$dir/usr/lib/python3/dist-packages
}

# ---- the source ----

# apply_series DIR: on an unpacked source
apply_series() {
	local patch
	while read -r patch; do
		patch -d "$1" -p1 -s --fuzz=0 --no-backup-if-mismatch \
			<"$HERE/$patch" >&2 || die "$patch does not apply"
	done < <(grep -v '^#' "$HERE/series")
}

patched_source() {
	unpack_source "$1"
	apply_series "$1"
	cp "$HERE/devices.mak" "$1/configs/devices/x86_64-softmmu/vtd-lab.mak"
}

checksum() { cat "$@" | sha256sum | cut -d' ' -f1; }

# assemble_source: updates $WORK/src, writing only files that differ.
assemble_source() {
	local state
	# shellcheck disable=SC2046 # no spaces in their names
	state=$DSC:$(checksum "$DSC" "$HERE"/{build,source}.sh "$HERE/devices.mak" \
		"$HERE/series" $(sed "/^#/d; s,^,$HERE/," "$HERE/series"))
	[ "$state" != "$(cat "$WORK/src.state" 2>/dev/null)" ] || return 0
	say "unpacking and patching ${DSC##*/}"
	rm -f "$WORK/src.state"
	whole "$WORK/new" patched_source
	rsync -rlp --checksum --delete "$WORK/new/" "$WORK/src/"
	rm -rf "$WORK/new"
	echo "$state" >"$WORK/src.state"
}

# ---- the build ----

configure_qemu() {
	local state
	state=$(printf "%s\n" "${OPTIONS[@]}" "$(command -v meson)" "$(gcc --version)" |
		cat - "$HERE/devices.mak" | checksum)
	[ "$state" != "$(cat "$WORK/obj.state" 2>/dev/null)" ] || return 0
	say "configuring QEMU"
	rm -rf "$WORK/obj.state" "$WORK/obj"
	mkdir -p "$WORK/obj"
	(cd "$WORK/obj" && ../src/configure "${OPTIONS[@]}") \
		>"$WORK/configure.log" 2>&1 ||
		{ tail -20 "$WORK/configure.log" >&2; die "QEMU's configure failed"; }
	echo "$state" >"$WORK/obj.state"
}

ninja_qemu() {
	# shellcheck disable=SC2016 # awk's
	if ! ninja -C "$WORK/obj" -j"$JOBS" qemu-system-x86_64 "$@" </dev/null 2>&1 |
	     tee "$WORK/ninja.log" | awk '/^\[/ && ++n % 150 == 0 {
			print "lab: QEMU: " $1; fflush() }' >&2; then
		grep -nE 'error:|FAILED|undefined reference' "$WORK/ninja.log" |
			head -40 >&2 || tail -20 "$WORK/ninja.log" >&2
		die "QEMU does not build; the whole log is in $WORK/ninja.log"
	fi
}

# The firmware is that of the distribution's QEMU.
write_wrapper() {
	write_if_changed "$WORK/qemu-system-x86_64" <<-EOF
		#!/bin/sh
		# The lab's own QEMU, with the firmware of the distribution's.
		exec "$WORK/obj/qemu-system-x86_64" \\
			-L /usr/share/qemu -L /usr/share/seabios \\
			-L "$QEMU_DIR/usr/share/qemu" \\
			-L "$QEMU_DIR/usr/share/seabios" "\$@"
	EOF
	chmod +x "$WORK/qemu-system-x86_64"
}

"$LAB/setup.sh"
install_packages "${PACKAGES[@]}"
lock "$WORK/.lock"
setup_meson
find_source
assemble_source
configure_qemu
ninja_qemu "$@"
write_wrapper
echo "$WORK/qemu-system-x86_64"
