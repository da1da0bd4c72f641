#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copies a program of the host's and the libraries that it needs into a folder, at
# the paths where the guest will look for them: with_libs.sh PROGRAM FOLDER
set -euo pipefail

program=$(command -v "$1")
{ echo "$program"; ldd "$program" | grep -o '/[^ ]*'; } |
	while read -r file; do
		install -D "$file" "$2$file"
	done
