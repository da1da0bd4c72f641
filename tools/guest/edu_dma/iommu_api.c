// SPDX-License-Identifier: GPL-2.0
/*
 * Paging domains that the tests attach, through the IOMMU API: every page size,
 * unmapping parts of superpages, several domains and devices, races.
 *
 * They map the arena, 1 GiB of RAM that Linux does not use: a 1 GiB page fits,
 * and a bug only destroys test patterns.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/moduleparam.h>

#include "edu_dma.h"

#define RW		(IOMMU_READ | IOMMU_WRITE)
#define BOUNCE_IOVA	SZ_4K		/* where every domain has the bounce page */
#define LOW_IOVA	(4ULL * SZ_1G)

/* A domain that is attached to the first device. */
struct env {
	struct edu *edu;
	struct iommu_domain *domain;
};

static void *arena_virt(u64 offset)
{
	return edu_arena + offset;
}

static u64 arena_phys(u64 offset)
{
	return edu_arena_phys + offset;
}

static u32 fill_arena(u64 offset)
{
	u32 seed = edu_new_seed();

	fill_page(arena_virt(offset), seed);
	return seed;
}

static int map_arena(struct iommu_domain *domain, u64 iova, u64 offset,
		     size_t size, int prot)
{
	return iommu_map(domain, iova, arena_phys(offset), size, prot, GFP_KERNEL);
}

static struct iommu_domain *new_domain(struct kunit *test, struct edu *edu)
{
	struct iommu_domain *domain = iommu_paging_domain_alloc(&edu->pdev->dev);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, domain);
	KUNIT_ASSERT_EQ(test, iommu_map(domain, BOUNCE_IOVA,
					virt_to_phys(edu->page), PAGE_SIZE, RW,
					GFP_KERNEL), 0);
	return domain;
}

static void attach(struct kunit *test, struct iommu_domain *domain,
		   struct edu *edu)
{
	KUNIT_ASSERT_EQ(test, iommu_attach_device(domain, &edu->pdev->dev), 0);
	edu->iova = BOUNCE_IOVA;
}

static int env_init(struct kunit *test)
{
	struct env *env = kunit_kzalloc(test, sizeof(*env), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, env);
	KUNIT_ASSERT_NOT_NULL_MSG(test, edu_arena, "no arena= given");
	env->edu = edu_get(test, 0);
	env->domain = new_domain(test, env->edu);
	test->priv = env;
	attach(test, env->domain, env->edu);
	return 0;
}

static void env_exit(struct kunit *test)
{
	struct env *env = test->priv;

	if (!env)
		return;
	if (iommu_get_domain_for_dev(&env->edu->pdev->dev) == env->domain)
		iommu_detach_device(env->domain, &env->edu->pdev->dev);
	iommu_domain_free(env->domain);
}

/* Addresses at the bottom, above 4 GiB and at the top of the aperture. */
static void domain_places(struct iommu_domain *domain, u64 places[3])
{
	u64 top = min(domain->geometry.aperture_end, BIT_ULL(47) - 1);

	places[0] = SZ_1G;
	places[1] = BIT_ULL(39) + SZ_1G;
	places[2] = top + 1 - SZ_1G;
}

/* ---- one leaf of each size ---- */

struct leaf_param {
	const char *name;
	size_t size;
};

static const struct leaf_param leaf_params[] = {
	{ "4K", SZ_4K }, { "2M", SZ_2M }, { "1G", SZ_1G },
};

static void leaf_desc(const struct leaf_param *param, char *desc)
{
	strscpy(desc, param->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(leaf, leaf_params, leaf_desc);

static void leaf_both_ways(struct kunit *test)
{
	const struct leaf_param *param = test->param_value;
	size_t size = param->size, last = size - PAGE_SIZE;
	size_t middle = ALIGN_DOWN(size / 2, PAGE_SIZE);
	struct env *env = test->priv;
	u64 places[3];
	int i;

	domain_places(env->domain, places);
	KUNIT_EXPECT_TRUE(test, env->domain->pgsize_bitmap & size);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		u64 iova = places[i];
		u32 seed = fill_arena(last);

		KUNIT_ASSERT_EQ(test, map_arena(env->domain, iova, 0, size, RW), 0);
		KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(env->domain, iova + last + 8),
				arena_phys(last + 8));
		edu_expect_reads(test, env->edu, iova + last, seed);
		edu_expect_writes(test, env->edu, iova + middle, arena_virt(middle));

		seed = fill_arena(0);
		KUNIT_EXPECT_EQ(test, iommu_unmap(env->domain, iova, size), size);
		KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(env->domain, iova), 0);
		/* Faults are scarce, see pace_faults(). */
		if (i == 0)
			edu_expect_no_read(test, env->edu, iova, seed);
		if (i == 2)
			edu_expect_no_write(test, env->edu, iova, arena_virt(0), seed);
	}
}

/* ---- parts of superpages ---- */

struct cut_param {
	const char *name;
	size_t mapped;		/* at LOW_IOVA, from the arena's start */
	u64 start;		/* the part that is unmapped */
	size_t size;
};

static const struct cut_param cut_params[] = {
	{ "4K at the head of 2M", SZ_2M, 0, SZ_4K },
	{ "4K inside 2M", SZ_2M, SZ_1M, SZ_4K },
	{ "4K at the tail of 2M", SZ_2M, SZ_2M - SZ_4K, SZ_4K },
	{ "3 pages inside 2M", SZ_2M, SZ_64K, 3 * SZ_4K },
	{ "half of each of two 2M", 2 * SZ_2M, SZ_1M, SZ_2M },
	{ "4K inside 1G", SZ_1G, SZ_512M + SZ_4K, SZ_4K },
	{ "2M inside 1G", SZ_1G, SZ_512M, SZ_2M },
	{ "2M and 4K inside 1G", SZ_1G, SZ_512M - SZ_4K, SZ_2M + SZ_4K },
};

static void cut_desc(const struct cut_param *param, char *desc)
{
	strscpy(desc, param->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(cut, cut_params, cut_desc);

/* iommu_iova_to_phys() finds the page, or finds that it is not mapped. */
static void expect_mapped(struct kunit *test, struct iommu_domain *domain,
			  u64 offset, bool mapped)
{
	KUNIT_EXPECT_EQ_MSG(test, iommu_iova_to_phys(domain, LOW_IOVA + offset),
			    mapped ? arena_phys(offset) : 0,
			    "at offset 0x%llx", offset);
}

static bool stays(const struct cut_param *cut, u64 offset)
{
	return offset < cut->start ||
	       (offset >= cut->start + cut->size && offset < cut->mapped);
}

static void cut_superpage(struct kunit *test)
{
	const struct cut_param *cut = test->param_value;
	u64 end = cut->start + cut->size;
	/* The neighbours of the cut and the far ends, if they stay mapped. */
	u64 looked_at[] = { 0, cut->start - SZ_4K, end, cut->mapped - SZ_4K };
	struct env *env = test->priv;
	u32 seeds[ARRAY_SIZE(looked_at)], gone;
	size_t done;
	int i;

	for (i = 0; i < ARRAY_SIZE(looked_at); i++)
		if (stays(cut, looked_at[i]))
			seeds[i] = fill_arena(looked_at[i]);
	gone = fill_arena(cut->start);
	KUNIT_ASSERT_EQ(test, map_arena(env->domain, LOW_IOVA, 0, cut->mapped, RW), 0);
	edu_expect_reads(test, env->edu, LOW_IOVA + cut->start, gone);

	done = iommu_unmap(env->domain, LOW_IOVA + cut->start, cut->size);
	kunit_info(test, "unmapped 0x%zx of 0x%zx", done, cut->size);
	KUNIT_EXPECT_EQ(test, done, cut->size);

	expect_mapped(test, env->domain, cut->start, false);
	expect_mapped(test, env->domain, end - SZ_4K, false);
	for (i = 0; i < ARRAY_SIZE(looked_at); i++) {
		u64 offset = looked_at[i];

		if (!stays(cut, offset))
			continue;
		expect_mapped(test, env->domain, offset, true);
		KUNIT_EXPECT_TRUE_MSG(test, page_holds(arena_virt(offset), seeds[i]),
				      "memory at offset 0x%llx has changed", offset);
		edu_expect_reads(test, env->edu, LOW_IOVA + offset, seeds[i]);
	}
	KUNIT_EXPECT_TRUE_MSG(test, page_holds(arena_virt(cut->start), gone),
			      "memory of the cut has changed");
	edu_expect_no_read(test, env->edu, LOW_IOVA + cut->start, gone);

	/* Unmap the rest, a piece on each side. */
	iommu_unmap(env->domain, LOW_IOVA, cut->start);
	iommu_unmap(env->domain, LOW_IOVA + end, cut->mapped - end);
	expect_mapped(test, env->domain, 0, false);
	expect_mapped(test, env->domain, cut->mapped - SZ_4K, false);
}

/* The device reads the first page of superpages while a thread splits them. */
#define SPLIT_LEAVES	(SZ_256M / SZ_2M)

struct splitter {
	struct iommu_domain *domain;
	struct completion done;
	int refused;
};

static int split_all(void *data)
{
	struct splitter *splitter = data;
	int i;

	for (i = 0; i < SPLIT_LEAVES; i++) {
		if (iommu_unmap(splitter->domain, LOW_IOVA + i * SZ_2M + SZ_1M,
				SZ_4K) != SZ_4K)
			splitter->refused++;
		usleep_range(2000, 3000);
	}
	complete(&splitter->done);
	return 0;
}

static void cut_under_dma(struct kunit *test)
{
	struct env *env = test->priv;
	struct splitter splitter = { .domain = env->domain };
	struct task_struct *task;
	u32 seeds[SPLIT_LEAVES];
	int i;

	for (i = 0; i < SPLIT_LEAVES; i++)
		seeds[i] = fill_arena(i * SZ_2M);
	KUNIT_ASSERT_EQ(test, map_arena(env->domain, LOW_IOVA, 0, SZ_256M, RW), 0);
	init_completion(&splitter.done);
	task = kthread_run(split_all, &splitter, "edu-split");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	/* Leaves that the thread has not split yet, is splitting, or has split */
	for (i = 0; !completion_done(&splitter.done); i = (i + 37) % SPLIT_LEAVES)
		edu_expect_reads(test, env->edu, LOW_IOVA + i * SZ_2M, seeds[i]);
	KUNIT_EXPECT_EQ(test, splitter.refused, 0);
	for (i = 0; i < SPLIT_LEAVES; i++) {
		KUNIT_EXPECT_TRUE(test, page_holds(arena_virt(i * SZ_2M), seeds[i]));
		expect_mapped(test, env->domain, i * SZ_2M + SZ_1M - SZ_4K, true);
		expect_mapped(test, env->domain, i * SZ_2M + SZ_1M, false);
		expect_mapped(test, env->domain, i * SZ_2M + SZ_1M + SZ_4K, true);
	}
	iommu_unmap(env->domain, LOW_IOVA, SZ_256M);
}

/* One range is mapped by a superpage and by 4 KiB pages in turn. */
static void sizes_in_turn(struct kunit *test)
{
	struct env *env = test->priv;
	u32 seed;
	int turn;

	for (turn = 0; turn < 6; turn++) {
		u64 offset = turn * SZ_2M;
		size_t done = 0;

		seed = fill_arena(offset + SZ_1M);
		if (turn % 2 == 0)
			KUNIT_ASSERT_EQ(test, map_arena(env->domain, LOW_IOVA,
							offset, SZ_2M, RW), 0);
		for (; turn % 2 && done < SZ_2M; done += SZ_4K)
			KUNIT_ASSERT_EQ(test, map_arena(env->domain, LOW_IOVA + done,
							offset + done, SZ_4K, RW), 0);
		edu_expect_reads(test, env->edu, LOW_IOVA + SZ_1M, seed);
		KUNIT_EXPECT_EQ(test, iommu_unmap(env->domain, LOW_IOVA, SZ_2M), SZ_2M);
		expect_mapped(test, env->domain, SZ_1M, false);
	}
	edu_expect_no_read(test, env->edu, LOW_IOVA + SZ_1M, seed);
}

/* ---- one call over several leaves, deferred flush ---- */

static void unmap_mixed_sizes(struct kunit *test)
{
	const u64 small = SZ_2M - 3 * SZ_4K;	/* pages, then superpages, then pages */
	const size_t size = 3 * SZ_4K + 2 * SZ_2M + 5 * SZ_4K;
	struct env *env = test->priv;
	u32 seed = fill_arena(small);

	KUNIT_ASSERT_EQ(test, map_arena(env->domain, LOW_IOVA + small, small, size, RW), 0);
	edu_expect_reads(test, env->edu, LOW_IOVA + small, seed);
	edu_expect_writes(test, env->edu, LOW_IOVA + small + size - SZ_4K,
			  arena_virt(small + size - SZ_4K));
	KUNIT_EXPECT_EQ(test, iommu_unmap(env->domain, LOW_IOVA + small, size), size);
	expect_mapped(test, env->domain, small, false);
	expect_mapped(test, env->domain, SZ_2M, false);
	expect_mapped(test, env->domain, small + size - SZ_4K, false);
	edu_expect_no_read(test, env->edu, LOW_IOVA + small, seed);
}

static void one_flush_for_two(struct kunit *test)
{
	struct iommu_iotlb_gather gather;
	struct env *env = test->priv;
	u32 seed = fill_arena(0), other = fill_arena(SZ_4M);

	KUNIT_ASSERT_EQ(test, map_arena(env->domain, LOW_IOVA, 0, SZ_4K, RW), 0);
	KUNIT_ASSERT_EQ(test, map_arena(env->domain, LOW_IOVA + SZ_4M, SZ_4M, SZ_2M, RW), 0);
	edu_expect_reads(test, env->edu, LOW_IOVA, seed);
	edu_expect_reads(test, env->edu, LOW_IOVA + SZ_4M, other);

	iommu_iotlb_gather_init(&gather);
	KUNIT_EXPECT_EQ(test, iommu_unmap_fast(env->domain, LOW_IOVA, SZ_4K, &gather), SZ_4K);
	KUNIT_EXPECT_EQ(test, iommu_unmap_fast(env->domain, LOW_IOVA + SZ_4M, SZ_2M,
					       &gather), SZ_2M);
	iommu_iotlb_sync(env->domain, &gather);
	edu_expect_no_read(test, env->edu, LOW_IOVA, seed);
	edu_expect_no_read(test, env->edu, LOW_IOVA + SZ_4M, other);
}

/* ---- permissions and refusals ---- */

static void read_only(struct kunit *test)
{
	struct env *env = test->priv;
	u32 seed = fill_arena(SZ_2M);

	KUNIT_ASSERT_EQ(test, map_arena(env->domain, LOW_IOVA, SZ_2M, SZ_2M, IOMMU_READ), 0);
	/* In this order: QEMU reports no fault where its IOTLB has the entry. */
	edu_expect_no_write(test, env->edu, LOW_IOVA, arena_virt(SZ_2M), seed);
	edu_expect_reads(test, env->edu, LOW_IOVA, seed);
	iommu_unmap(env->domain, LOW_IOVA, SZ_2M);
}

static void sizes_known_before_attach(struct kunit *test)
{
	struct env *env = test->priv;
	struct iommu_domain *domain;
	unsigned long sizes;

	iommu_detach_device(env->domain, &env->edu->pdev->dev);
	domain = new_domain(test, env->edu);
	sizes = domain->pgsize_bitmap;
	attach(test, domain, env->edu);
	KUNIT_EXPECT_EQ(test, sizes, SZ_4K | SZ_2M | SZ_1G);
	KUNIT_EXPECT_EQ(test, domain->pgsize_bitmap, sizes);
	iommu_detach_device(domain, &env->edu->pdev->dev);
	iommu_domain_free(domain);
}

static void present_leaf_is_busy(struct kunit *test)
{
	struct env *env = test->priv;
	u32 seed = fill_arena(0);

	KUNIT_ASSERT_EQ(test, map_arena(env->domain, LOW_IOVA + SZ_16K, 0, SZ_4K, RW), 0);
	KUNIT_EXPECT_EQ(test, map_arena(env->domain, LOW_IOVA, SZ_2M, SZ_64K, RW), -EADDRINUSE);
	KUNIT_EXPECT_EQ(test, map_arena(env->domain, LOW_IOVA, SZ_2M, SZ_2M, RW), -EADDRINUSE);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(env->domain, LOW_IOVA), 0);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(env->domain, LOW_IOVA + SZ_32K), 0);
	edu_expect_reads(test, env->edu, LOW_IOVA + SZ_16K, seed);
	edu_expect_no_read(test, env->edu, LOW_IOVA, seed);
	KUNIT_EXPECT_EQ(test, iommu_unmap(env->domain, LOW_IOVA + SZ_16K, SZ_4K), SZ_4K);
}

static void outside_the_aperture(struct kunit *test)
{
	struct env *env = test->priv;
	u64 outside = env->domain->geometry.aperture_end + 1;

	KUNIT_ASSERT_GT(test, outside, 0);
	KUNIT_EXPECT_EQ(test, map_arena(env->domain, outside, 0, SZ_4K, RW), -ERANGE);
	KUNIT_EXPECT_LT(test, map_arena(env->domain, -SZ_4K, 0, SZ_4K, RW), 0);
}

/* ---- several domains, several devices ---- */

#define DOMAINS		8

static void domains_in_turn(struct kunit *test)
{
	struct iommu_domain *domains[DOMAINS];
	struct env *env = test->priv;
	struct edu *edu = env->edu;
	u32 seeds[DOMAINS];
	int i;

	iommu_detach_device(env->domain, &edu->pdev->dev);
	for (i = 0; i < DOMAINS; i++) {
		seeds[i] = fill_arena(i * SZ_2M);
		domains[i] = new_domain(test, edu);
		KUNIT_ASSERT_EQ(test, map_arena(domains[i], LOW_IOVA, i * SZ_2M,
						i % 2 ? SZ_2M : SZ_4K, RW), 0);
	}
	/* Each domain twice: no entry of the previous one is left in the IOTLB. */
	for (i = 0; i < 2 * DOMAINS; i++) {
		attach(test, domains[i % DOMAINS], edu);
		edu_expect_reads(test, edu, LOW_IOVA, seeds[i % DOMAINS]);
		iommu_detach_device(domains[i % DOMAINS], &edu->pdev->dev);
	}
	for (i = 0; i < DOMAINS; i++)
		iommu_domain_free(domains[i]);
}

static void domain_on_two_devices(struct kunit *test)
{
	struct env *env = test->priv;
	struct edu *first = env->edu, *second = edu_get(test, 1);
	const u64 second_bounce = 2 * BOUNCE_IOVA;
	u32 seed;

	attach(test, env->domain, second);
	second->iova = second_bounce;
	KUNIT_ASSERT_EQ(test, iommu_map(env->domain, second_bounce,
					virt_to_phys(second->page), PAGE_SIZE, RW,
					GFP_KERNEL), 0);
	KUNIT_ASSERT_EQ(test, map_arena(env->domain, LOW_IOVA, 0, SZ_2M, RW), 0);
	seed = fill_arena(SZ_1M);
	edu_expect_reads(test, first, LOW_IOVA + SZ_1M, seed);
	edu_expect_reads(test, second, LOW_IOVA + SZ_1M, seed);
	edu_expect_writes(test, first, LOW_IOVA, arena_virt(0));
	edu_expect_writes(test, second, LOW_IOVA, arena_virt(0));

	/* Unmapped for both at once. */
	KUNIT_EXPECT_EQ(test, iommu_unmap(env->domain, LOW_IOVA, SZ_2M), SZ_2M);
	edu_expect_no_read(test, first, LOW_IOVA + SZ_1M, seed);
	edu_expect_no_read(test, second, LOW_IOVA + SZ_1M, seed);

	/* Detached from the first device, still attached to the second. */
	KUNIT_ASSERT_EQ(test, map_arena(env->domain, LOW_IOVA, 0, SZ_4K, RW), 0);
	seed = fill_arena(0);
	edu_expect_reads(test, first, LOW_IOVA, seed);
	iommu_detach_device(env->domain, &first->pdev->dev);
	edu_expect_reads(test, second, LOW_IOVA, seed);
	KUNIT_EXPECT_EQ(test, iommu_unmap(env->domain, LOW_IOVA, SZ_4K), SZ_4K);
	edu_expect_no_write(test, second, LOW_IOVA, arena_virt(0), seed);
	iommu_detach_device(env->domain, &second->pdev->dev);
}

/* ---- races ---- */

#define RACE_PAGES	1024
#define RACE_THREADS	2

struct racer {
	struct iommu_domain *domain;
	struct completion done;
	int first;		/* this thread has every second page from here */
	int errors;
};

/* Maps and unmaps its pages, and leaves them mapped. */
static int race(void *data)
{
	struct racer *racer = data;
	int round, i;

	for (round = 0; round < 8; round++) {
		for (i = racer->first; i < RACE_PAGES; i += RACE_THREADS)
			if (map_arena(racer->domain, LOW_IOVA + i * SZ_4K,
				      i * SZ_4K, SZ_4K, RW))
				racer->errors++;
		for (i = racer->first; i < RACE_PAGES; i += RACE_THREADS)
			if (iommu_iova_to_phys(racer->domain, LOW_IOVA + i * SZ_4K) !=
			    arena_phys(i * SZ_4K))
				racer->errors++;
		for (i = racer->first; round < 7 && i < RACE_PAGES; i += RACE_THREADS)
			if (iommu_unmap(racer->domain, LOW_IOVA + i * SZ_4K,
					SZ_4K) != SZ_4K)
				racer->errors++;
		cond_resched();
	}
	complete(&racer->done);
	return 0;
}

static void neighbours_race(struct kunit *test)
{
	const u64 steady = LOW_IOVA + RACE_PAGES * SZ_4K;
	struct racer racers[RACE_THREADS];
	struct task_struct *tasks[RACE_THREADS];
	struct env *env = test->priv;
	u32 seed = fill_arena(SZ_512M);
	int i;

	KUNIT_ASSERT_EQ(test, map_arena(env->domain, steady, SZ_512M, SZ_4K, RW), 0);
	for (i = 0; i < RACE_THREADS; i++) {
		racers[i] = (struct racer){ .domain = env->domain, .first = i };
		init_completion(&racers[i].done);
	}
	for (i = 0; i < RACE_THREADS; i++)
		tasks[i] = kthread_run(race, &racers[i], "edu-race/%d", i);
	for (i = 0; i < RACE_THREADS; i++) {
		if (IS_ERR(tasks[i])) {
			KUNIT_FAIL(test, "no thread");
			continue;
		}
		do {
			edu_expect_reads(test, env->edu, steady, seed);
		} while (!completion_done(&racers[i].done));
		KUNIT_EXPECT_EQ(test, racers[i].errors, 0);
	}
	for (i = 0; i < RACE_PAGES; i += 341) {
		seed = fill_arena(i * SZ_4K);
		edu_expect_reads(test, env->edu, LOW_IOVA + i * SZ_4K, seed);
	}
	KUNIT_EXPECT_EQ(test, iommu_unmap(env->domain, LOW_IOVA, (RACE_PAGES + 1) * SZ_4K),
			(RACE_PAGES + 1) * SZ_4K);
}

static bool enough = true;
module_param(enough, bool, 0644);
MODULE_PARM_DESC(enough, "tables_come_and_go runs until this is set");

/*
 * Populate and clear tables while rootfs/suites/dma dumps them; the page-table code may
 * free and allocate them.
 */
static void tables_come_and_go(struct kunit *test)
{
	struct env *env = test->priv;
	size_t done;

	do {
		for (done = 0; done < SZ_2M; done += SZ_4K)
			KUNIT_ASSERT_EQ(test, map_arena(env->domain, LOW_IOVA + done,
							done, SZ_4K, RW), 0);
		KUNIT_EXPECT_EQ(test, iommu_unmap(env->domain, LOW_IOVA, SZ_2M), SZ_2M);
		cond_resched();
	} while (!READ_ONCE(enough));
}

static void no_unexpected_fault(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, edu_unexpected_faults(), 0);
}

static struct kunit_case iommu_api_cases[] = {
	KUNIT_CASE_PARAM(leaf_both_ways, leaf_gen_params),
	KUNIT_CASE_PARAM(cut_superpage, cut_gen_params),
	KUNIT_CASE(cut_under_dma),
	KUNIT_CASE(sizes_in_turn),
	KUNIT_CASE(unmap_mixed_sizes),
	KUNIT_CASE(one_flush_for_two),
	KUNIT_CASE(read_only),
	KUNIT_CASE(sizes_known_before_attach),
	KUNIT_CASE(present_leaf_is_busy),
	KUNIT_CASE(outside_the_aperture),
	KUNIT_CASE(domains_in_turn),
	KUNIT_CASE(domain_on_two_devices),
	KUNIT_CASE(neighbours_race),
	KUNIT_CASE(tables_come_and_go),
	KUNIT_CASE(no_unexpected_fault),
	{ }
};

static struct kunit_suite iommu_api_suite = {
	.name = "edu_iommu_api",
	.attr.speed = KUNIT_SPEED_SLOW,
	.init = env_init,
	.exit = env_exit,
	.test_cases = iommu_api_cases,
};
kunit_test_suite(iommu_api_suite);
