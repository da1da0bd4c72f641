// SPDX-License-Identifier: GPL-2.0-only
/*
 * Replay of the maps and unmaps of a driver, recorded from the DMA API.
 *
 * A call of the DMA API is cut into page sizes here as the iommu core does it,
 * but for generic_pt, which does that by itself.
 */

#include <linux/printk.h>
#include <linux/sizes.h>

#include "bench.h"
#include "cases.h"

static bool by_range(struct iommu_domain *domain)
{
#ifdef CONFIG_IOMMU_BENCH_PEERS
	return iommupt_from_domain(domain);
#else
	return false;
#endif
}

/* Choose page size and number of pages for the next call. */
static size_t part(unsigned long iova, unsigned long npages, size_t *pgsize)
{
	unsigned long before = -(iova >> PAGE_SHIFT) % (SZ_2M / SZ_4K);

	*pgsize = SZ_4K;
	if (before)
		return min(before, npages);
	if (npages < SZ_2M / SZ_4K)
		return npages;

	*pgsize = SZ_2M;

	return ALIGN_DOWN(npages, SZ_2M / SZ_4K);
}

static int replay_map(struct iommu_domain *domain, unsigned long iova,
		      unsigned long npages)
{
	if (by_range(domain))
		return bench_map(domain, iova, iova + SZ_1G, SZ_4K, npages);

	while (npages) {
		size_t pgsize, n = part(iova, npages, &pgsize);
		int err = bench_map(domain, iova, iova + SZ_1G, pgsize,
				    n * SZ_4K / pgsize);

		if (err)
			return err;
		iova += n * SZ_4K;
		npages -= n;
	}

	return 0;
}

static int replay_unmap(struct iommu_domain *domain, unsigned long iova,
			unsigned long npages)
{
	if (by_range(domain))
		return bench_unmap(domain, iova, SZ_4K, npages) ? 0 : -EIO;

	while (npages) {
		size_t pgsize, n = part(iova, npages, &pgsize);

		if (!bench_unmap(domain, iova, pgsize, n * SZ_4K / pgsize))
			return -EIO;
		iova += n * SZ_4K;
		npages -= n;
	}

	return 0;
}

static int replay_one(struct iommu_domain *domain, const struct bench_dma *dma)
{
	unsigned long iova = dma->pfn << PAGE_SHIFT;

	return dma->npages > 0 ? replay_map(domain, iova, dma->npages) :
				 replay_unmap(domain, iova, -dma->npages);
}

/* Unmap what is still mapped at the end. */
static int clean_up(struct bench_run *run)
{
	const struct bench_pattern *pattern = run->pattern;
	unsigned int i;
	int err = 0;

	for (i = 0; i < pattern->nr_clean; i++)
		err |= replay_one(run->domain, &pattern->clean[i]);

	return err;
}

/* The first replay: count table pages, and create tables that the library keeps. */
static int prepare_replay(struct bench_run *run)
{
	const struct bench_pattern *pattern = run->pattern;
	unsigned long peak = 0;
	unsigned int i;

	for (i = 0; i < pattern->nr; i++) {
		int err = replay_one(run->domain, &pattern->dma[i]);

		if (err)
			return err;
		peak = max(peak, bench_pages() - run->pages);
	}
	pr_notice("bench: pages %s %s %lu %lu\n", pattern->name,
		  run->lib->name, bench_pages() - run->pages, peak);

	return clean_up(run);
}

static int pass_replay(struct bench_run *run, u64 cycles[2])
{
	const struct bench_pattern *pattern = run->pattern;
	u64 start = bench_clock();
	unsigned int i;
	int err = 0;

	for (i = 0; i < pattern->nr; i++)
		err |= replay_one(run->domain, &pattern->dma[i]);
	cycles[0] = bench_clock() - start;

	return err ?: clean_up(run);
}

static const struct bench_case replay = {
	.pass		= pass_replay,
	.prepare	= prepare_replay,
	.libs		= BENCH_NO_FLOORS,
	.passes		= 8,
};

int bench_run_replays(void)
{
	unsigned int i, sample;
	int err = 0;

	for (i = 0; i < bench_nr_patterns; i++) {
		const struct bench_pattern *pattern = &bench_patterns[i];
		const struct bench_run run = {
			.test		= &replay,
			.pattern	= pattern,
		};

		if (!bench_is_wanted(pattern->name))
			continue;
		for (sample = 0; sample < BENCH_SAMPLES && !err; sample++)
			err = bench_measure(pattern->name, pattern->nr, &run);
	}

	return err;
}
