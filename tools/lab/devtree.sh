#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The development tree (tree), its changes back (refresh), and the mailable
# patches (series, into OUT=; TOPIC=: of one topic, with its cover letter; FROM="Name
# <mail>": from and signed off by this person; URL=: where the cover letter says that this
# repository is): series.py on the chosen kernel. TOPIC=mainline are those of
# series/mainline, which have no cover letter, as each is for itself.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$LAB/apt.sh"
. "$LAB/source.sh"

case $1 in
tree)
	choose_source
	"$LAB/series.py" tree "$PRISTINE" "$BUILD/tree" "Linux, $BASE"
	say "the tree is ready"
	echo "$BUILD/tree"
	;;
refresh)
	"$LAB/series.py" refresh "$BUILD/tree"
	;;
series)
	[ -n "${OUT:-}" ] || die "OUT= is missing: make series OUT=dir"
	if [ "${TOPIC:-}" = mainline ]; then
		exec "$LAB/series.py" export-mainline ${FROM:+--from "$FROM"} "$OUT"
	fi
	choose_source
	"$LAB/series.py" export ${TOPIC:+--topic "$TOPIC"} ${FROM:+--from "$FROM"} \
		${URL:+--url "$URL"} "$PRISTINE" "$OUT"
	;;
esac
