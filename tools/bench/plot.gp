# SPDX-License-Identifier: GPL-2.0
# Plots the peers' times as multiples of ours, one line for each operation:
# gnuplot -e "data='...'; svg='...'"
set terminal svg size 900,1000 font "sans,12" noenhanced background "white"
set output svg
set title "Times as multiples of what flpt takes"
set logscale x
set grid xtics ytics lc "#dddddd" lt 1
set yrange [] reverse
set offsets 0, 0, 0.5, 0.5
set key outside bottom center horizontal
set datafile missing "?"
set arrow from 1, graph 0 to 1, graph 1 nohead lc "black" lw 2
plot data using 2:0:ytic(1) with points pt 1 ps 1 lc "#888888" \
		title "floor (checked stores)", \
     '' using 3:0 with points pt 5 ps 0.8 lc "#e69f00" title "generic_pt", \
     '' using 4:0 with points pt 7 ps 0.8 lc "#56b4e9" title "io-pgtable-arm", \
     '' using 5:0 with points pt 9 ps 0.9 lc "#009e73" title "6.12 VT-d"
