// SPDX-License-Identifier: GPL-2.0-only
/*
 * This series' library with the format of the second level.
 */

#define OURS		sl
#define OURS_LIB	bench_slpt
#define OURS_LEVEL	2

#include "ours.h"
