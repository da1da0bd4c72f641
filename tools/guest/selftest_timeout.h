/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The harness gives each test 30 s. Under emulation, on a busy machine, with a
 * kernel that has KASAN or KCSAN, some take longer.
 */
#include "kselftest_harness.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	120
