// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measure at the end of the boot, print the results, and power off.
 *
 * A line of output is "bench:" and
 *	khz FREQUENCY
 *	sample CASE LIBRARY CYCLES CYCLES OPERATIONS
 *	pages CASE LIBRARY AT-END AT-PEAK
 *	threads LIBRARY NUMBER OPERATIONS CYCLES
 *	done
 * where the cycles are those of all operations of a pass: first of the maps or the only
 * operation, then of the unmaps. report.py evaluates them.
 */

#include <linux/init.h>
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>
#include <linux/reboot.h>
#include <linux/string.h>

#include "bench.h"

const struct bench_lib *const bench_libs[] = {
	&bench_empty,
	&bench_chase,
	&bench_store,
	&bench_checked,
	&bench_flpt,
	&bench_slpt,
#ifdef CONFIG_IOMMU_BENCH_PEERS
	&bench_generic,
	&bench_generic_alt,
	&bench_generic_ss,
	&bench_generic_alt_ss,
	&bench_lpae,
#endif
#ifdef CONFIG_IOMMU_BENCH_DMA_PTE
	&bench_dma_pte,
	&bench_dma_pte_ss,
#endif
	NULL
};

/* "bench_count": the clock counts instructions */
bool bench_counting;
core_param(bench_count, bench_counting, bool, 0);

/* "bench_level=2": the second level's formats */
unsigned int bench_level = 1;
core_param(bench_level, bench_level, uint, 0);

/* "bench_only=": cases with this in their names */
static char *bench_only = "";
core_param(bench_only, bench_only, charp, 0);

bool bench_is_wanted(const char *name)
{
	return strstr(name, bench_only);
}

static u64 __init clock_khz(void)
{
	u64 ns = ktime_get_ns(), cycles = bench_clock(), khz;

	if (bench_counting)
		return (bench_clock() - cycles) ?: 1;

	while (ktime_get_ns() - ns < 50 * NSEC_PER_MSEC)
		cpu_relax();
	khz = (bench_clock() - cycles) * USEC_PER_SEC;

	return div64_u64(khz, ktime_get_ns() - ns);
}

static int __init bench_main(void)
{
	int err;

	pr_notice("bench: khz %llu\n", clock_khz());
	err = IS_ENABLED(CONFIG_SMP) ? bench_run_threads() : bench_run_cases();
	if (err)
		pr_err("bench: error %d\n", err);
	else
		pr_notice("bench: done\n");
	kernel_power_off();

	return 0;
}
late_initcall_sync(bench_main);
