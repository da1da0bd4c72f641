#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Brings what the lab needs: Debian packages, and a QEMU of version 10 or newer.
# With nothing to do it says nothing and takes a fraction of a second.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$LAB/apt.sh"
. "$LAB/qemu.sh"

PACKAGES=(
	# to build the kernel, its tools and the guest's programs
	gcc libc6-dev make flex bison bc cpio kmod libelf-dev libssl-dev
	libdw-dev rsync xz-utils python3 perl git patch debian-archive-keyring
	# to check the series
	quilt sparse codespell
	# to make and run guests
	busybox-static e2fsprogs fio
)

[ -f /etc/debian_version ] || die "this needs Debian 12 or 13"
install_packages "${PACKAGES[@]}"
lock "$CACHE/.setup-lock"
setup_qemu
