// SPDX-License-Identifier: GPL-2.0-only
/*
 * This series' library with the format of the first level.
 */

#define OURS		fl
#define OURS_LIB	bench_flpt
#define OURS_LEVEL	1

#include "ours.h"
