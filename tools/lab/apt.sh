# SPDX-License-Identifier: GPL-2.0
# Packages: what the machine lacks is installed; what must not be installed
# (kernel sources, a newer QEMU, another release's packages) is fetched with a
# private apt whose lists and archives live in the cache.  The machine's apt
# configuration is read and never changed.
# shellcheck shell=bash

DEB=$CACHE/deb

# apt_site SUITE: where this machine's apt gets Debian from, at run time.
apt_site() {
	local security=
	case $1 in *-security) security=1 ;; esac
	apt-get indextargets --format '$(SITE) $(RELEASE) $(ORIGIN)' \
		'Created-By: Packages' | awk -v security="$security" '
		$3 ~ /Debian/ && ($2 ~ /-security/) == (security != "") {
			site = $1
		}
		END { print site }'
}

release_codename() { . /etc/os-release && echo "${VERSION_CODENAME:?}"; }

# source_lines SUITE...: for a sources.list, what this machine has a mirror for
source_lines() {
	local suite site signed=/usr/share/keyrings/debian-archive-keyring.gpg
	for suite; do
		site=$(apt_site "$suite")
		[ -n "$site" ] || continue
		printf '%s [signed-by=%s] %s %s main\n' \
			deb "$signed" "$site" "$suite" \
			deb-src "$signed" "$site" "$suite"
	done
}

# private_apt SUITE TOOL ARGUMENTS...: apt-get or apt-cache that sees SUITE (and,
# to resolve dependencies, the release that backports are for).
private_apt() {
	local suite=$1 tool=$2 dir=$CACHE/apt/$1 base=${1%-backports} options
	shift 2
	mkdir -p "$dir/lists/partial" "$dir/archives/partial"
	options=(-o "Dir::Etc::sourcelist=$dir/sources.list"
		 -o Dir::Etc::sourceparts=/dev/null
		 -o "Dir::State::lists=$dir/lists"
		 -o "Dir::Cache=$dir" -o APT::Sandbox::User=root
		 -o Debug::NoLocking=1)
	if [ -z "$(find "$dir/stamp" -mmin -1440 2>/dev/null)" ]; then
		source_lines "$suite" >"$dir/sources.list"
		[ -s "$dir/sources.list" ] ||
			die "no Debian mirror in this machine's apt sources"
		if [ "$base" != "$suite" ]; then
			source_lines "$base" "$base-updates" "$base-security" \
				>>"$dir/sources.list"
		fi
		say "reading the package lists of $suite"
		apt-get "${options[@]}" -qq update >&2 && touch "$dir/stamp"
	fi
	"$tool" "${options[@]}" "$@"
}

# refresh_lists: the machine's own package lists, at most once a run.
refresh_lists() {
	[ -z "${LISTS_REFRESHED:-}" ] || return 0
	say "reading the package lists (apt-get update)"
	as_root apt-get -qq update >&2
	LISTS_REFRESHED=1
}

# missing_packages PACKAGE...: those that are not installed
missing_packages() {
	local have
	have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" \
		2>/dev/null | sed -n 's/^installed //p') || true
	printf '%s\n' "$@" | grep -vxF -e "$have" || true
}

# install_packages PACKAGE...: those that are missing
install_packages() {
	local missing
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	# shellcheck disable=SC2086 # words
	say "installing:" $missing
	refresh_lists
	# shellcheck disable=SC2086
	# Another apt may be running: unattended-upgrades, or another copy of the lab.
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 \
		install -y --no-install-recommends $missing >&2
}

# deb_file PACKAGE VERSION [SUITE]: prints the path of the package, fetching it
# into the cache when it is not there.  SUITE: from another release.
deb_file() {
	local package=$1 version=$2 suite=${3:-} file
	file=$DEB/${package}_${version/:/%3a}.deb
	if [ ! -f "$file" ]; then
		say "fetching $package $version"
		rm -rf "$file.part"
		mkdir -p "$file.part"
		(cd "$file.part" && deb_download "$suite" "$package=$version") >&2 ||
			return 1
		mv "$file.part"/*.deb "$file"
		rm -rf "$file.part"
	fi
	echo "$file"
}

# apt checks the size and the hash of what it fetches.
deb_download() {
	local suite=$1 what=$2
	if [ -n "$suite" ]; then
		private_apt "$suite" apt-get -q download "$what"
	elif ! apt-get -q -o APT::Sandbox::User=root download "$what"; then
		refresh_lists
		apt-get -q -o APT::Sandbox::User=root download "$what"
	fi
}
