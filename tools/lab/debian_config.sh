# SPDX-License-Identifier: GPL-2.0
# Debian's own configuration of a kernel.
# shellcheck shell=bash

# debian_config: prints that of the chosen kernel's version, or of the newest one when
# the kernel is not Debian's.
debian_config() {
	local version deb
	version=$(sed -n 's/^Debian //p' <<<"$BASE")
	[ -n "$version" ] || version=$(apt-cache madison linux-config-6.12 |
		awk -F' *[|] *' '{ print $2; exit }')
	deb=$(deb_file linux-config-6.12 "$version") || return 1
	dpkg-deb --fsys-tarfile "$deb" | tar -xO --wildcards \
		'./usr/src/linux-config-*/config.amd64_none_amd64.xz' | xz -dc
}
