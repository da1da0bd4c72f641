/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The harness gives each test 30 s, by a clock that goes on while the host is busy
 * with other programs. No test fails because it is slow: this is for those that hang.
 */
#include "kselftest_harness.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	900
