// SPDX-License-Identifier: GPL-2.0-only
/*
 * The measured operations.
 *
 * Libraries take turns, so that a temporary disturbance affects all of them.
 */

#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/sort.h>
#include <linux/vmstat.h>

#include "bench.h"
#include "cases.h"

#define GAP		(512UL * SZ_1G)	/* bytes that an entry of the root covers */

unsigned long bench_pages(void)
{
	return global_node_page_state(NR_IOMMU_PAGES);
}

static struct iommu_domain *create_domain(struct bench_run *run)
{
	struct iommu_domain *domain = run->lib->create(!run->test->noncoherent);

	/* the core needs a type, and page sizes if the library has set none */
	if (domain) {
		domain->type = IOMMU_DOMAIN_UNMANAGED;
		if (!domain->pgsize_bitmap)
			domain->pgsize_bitmap = SZ_4K | SZ_2M | SZ_1G;
	}

	return domain;
}

static int new_domain(struct bench_run *run)
{
	run->pages = bench_pages();
	run->domain = create_domain(run);

	return run->domain ? 0 : -ENOMEM;
}

/*
 * Wait for pages that the library frees later, for instance by RCU. A library may keep
 * some: warn, and continue.
 */
static void wait_for_pages(unsigned long pages)
{
	unsigned int tries = 100000;

	if (bench_pages() == pages)
		return;

	rcu_barrier();
	while (bench_pages() != pages && --tries)
		schedule();
	if (!tries)
		pr_warn("bench: tables are left\n");
}

/* Frees the newest domain. */
static void put_domain(struct bench_run *run)
{
	run->domain->ops->free(run->domain);
	run->domain = NULL;
	wait_for_pages(run->pages);
}

/* Parts of passes */

/* Physical addresses fit the page size and no larger one. */
static int map_all(struct bench_run *run, size_t pgsize, size_t pgcount,
		   u64 *cycles)
{
	const struct bench_sequence *seq = run->seq;
	u64 start = bench_clock();
	unsigned int i;
	int err = 0;

	for (i = 0; i < seq->nr; i++)
		err |= bench_map(run->domain, seq->map[i],
				 seq->map[i] + pgsize, pgsize, pgcount);
	*cycles = bench_clock() - start;

	return err ? -EIO : 0;
}

static int unmap_all(struct bench_run *run, unsigned long offset,
		     size_t pgsize, size_t pgcount, u64 *cycles)
{
	const struct bench_sequence *seq = run->seq;
	u64 start = bench_clock();
	unsigned int i;
	size_t size = 0;

	for (i = 0; i < seq->nr; i++)
		size += bench_unmap(run->domain, seq->unmap[i] + offset,
				    pgsize, pgcount);
	*cycles = bench_clock() - start;

	return size == seq->nr * pgsize * pgcount ? 0 : -EIO;
}

/* Check that the library really does what is measured. */
static int check_mapped(struct bench_run *run)
{
	const struct bench_case *test = run->test;
	unsigned long last = test->pgsize * test->pgcount - 1;
	unsigned int i;

	if (run->lib->is_floor || run->lib == &bench_empty)
		return 0;

	for (i = 0; i < run->seq->nr; i++) {
		unsigned long iova = run->seq->map[i] + last;

		if (run->domain->ops->iova_to_phys(run->domain, iova) !=
		    iova + test->pgsize)
			return -EIO;
	}

	return 0;
}

/* Passes */

static int pass_map_unmap(struct bench_run *run, u64 cycles[2])
{
	const struct bench_case *test = run->test;

	return map_all(run, test->pgsize, test->pgcount, &cycles[0]) ?:
	       unmap_all(run, 0, test->pgsize, test->pgcount, &cycles[1]);
}

/* Create the tables that later passes find, if the library keeps them. */
static int prepare_map_unmap(struct bench_run *run)
{
	const struct bench_case *test = run->test;
	u64 cycles;

	return map_all(run, test->pgsize, test->pgcount, &cycles) ?:
	       check_mapped(run) ?:
	       unmap_all(run, 0, test->pgsize, test->pgcount, &cycles);
}

static int prepare_map(struct bench_run *run)
{
	u64 cycles;

	return map_all(run, run->test->pgsize, run->test->pgcount, &cycles) ?:
	       check_mapped(run);
}

static int pass_look_up(struct bench_run *run, u64 cycles[2])
{
	const struct bench_sequence *seq = run->seq;
	struct iommu_domain *domain = run->domain;
	u64 start = bench_clock();
	phys_addr_t paddr = 0;
	unsigned int i;

	for (i = 0; i < seq->nr; i++)
		paddr |= domain->ops->iova_to_phys(domain, seq->map[i]);
	cycles[0] = bench_clock() - start;
	/* the result is used */
	OPTIMIZER_HIDE_VAR(paddr);

	return 0;
}

/* The same through the functions of the iommu core */

static int core_map_unmap(struct bench_run *run, u64 cycles[2])
{
	const struct bench_sequence *seq = run->seq;
	size_t size = run->test->pgsize * run->test->pgcount, done = 0;
	u64 start = bench_clock();
	unsigned int i;
	int err = 0;

	for (i = 0; i < seq->nr; i++)
		err |= iommu_map(run->domain, seq->map[i], seq->map[i] + run->test->pgsize,
				 size, BENCH_PROT, GFP_KERNEL);
	cycles[0] = bench_clock() - start;
	start = bench_clock();
	for (i = 0; i < seq->nr; i++)
		done += iommu_unmap(run->domain, seq->unmap[i], size);
	cycles[1] = bench_clock() - start;

	return err || done != seq->nr * size ? -EIO : 0;
}

static int core_look_up(struct bench_run *run, u64 cycles[2])
{
	const struct bench_sequence *seq = run->seq;
	u64 start = bench_clock();
	phys_addr_t paddr = 0;
	unsigned int i;

	for (i = 0; i < seq->nr; i++)
		paddr |= iommu_iova_to_phys(run->domain, seq->map[i]);
	cycles[0] = bench_clock() - start;
	OPTIMIZER_HIDE_VAR(paddr);

	return 0;
}

/* The same in many domains by turns */
static int core_domains(struct bench_run *run, u64 cycles[2])
{
	const struct bench_sequence *seq = run->seq;
	u64 start = bench_clock();
	size_t done = 0;
	unsigned int i;
	int err = 0;

	for (i = 0; i < seq->nr; i++)
		err |= iommu_map(run->others[i % BENCH_DOMAINS], seq->map[i],
				 seq->map[i] + SZ_4K, SZ_4K, BENCH_PROT, GFP_KERNEL);
	cycles[0] = bench_clock() - start;
	start = bench_clock();
	for (i = 0; i < seq->nr; i++)
		done += iommu_unmap(run->others[i % BENCH_DOMAINS], seq->unmap[i], SZ_4K);
	cycles[1] = bench_clock() - start;

	return err || done != seq->nr * SZ_4K ? -EIO : 0;
}

static int prepare_domains(struct bench_run *run)
{
	u64 cycles[2];
	unsigned int i;

	for (i = 0; i < BENCH_DOMAINS; i++) {
		run->others[i] = create_domain(run);
		if (!run->others[i])
			return -ENOMEM;
	}

	return core_domains(run, cycles);
}

/* Number of physically contiguous bytes from @iova on, up to @end */
#ifdef CONFIG_IOMMU_BENCH_DMA_PTE
/* This kernel's core has the patches of the series. */
static size_t contiguous(struct iommu_domain *domain, unsigned long iova,
			 unsigned long end)
{
	size_t len;

	iommu_iova_to_phys_length(domain, iova, end - iova, &len);

	return len;
}
#else
static size_t contiguous(struct iommu_domain *domain, unsigned long iova,
			 unsigned long end)
{
	phys_addr_t paddr = iommu_iova_to_phys(domain, iova);
	size_t len;

	for (len = PAGE_SIZE; iova + len < end; len += PAGE_SIZE) {
		if (iommu_iova_to_phys(domain, iova + len) != paddr + len)
			break;
	}

	return len;
}
#endif

/*
 * What VFIO does with the memory of a guest: map it piece by piece at start-up. At
 * teardown, look up the length of each piece, unmap it, and invalidate now and then. No
 * two pieces are physically contiguous.
 */
static int core_vfio(struct bench_run *run, u64 cycles[2])
{
	unsigned long iova, end = SZ_1G + run->test->total, size = run->test->pgsize;
	struct iommu_iotlb_gather gather;
	u64 start = bench_clock();
	unsigned int pieces = 0;
	int err = 0;

	for (iova = SZ_1G; iova < end; iova += size)
		err |= iommu_map(run->domain, iova, end - iova, size, BENCH_PROT,
				 GFP_KERNEL);
	cycles[0] = bench_clock() - start;
	start = bench_clock();
	iommu_iotlb_gather_init(&gather);
	for (iova = SZ_1G; iova < end; ) {
		size_t len = contiguous(run->domain, iova, end);

		if (iommu_unmap_fast(run->domain, iova, len, &gather) != len)
			err = -EIO;
		iova += len;
		if (++pieces % 512 == 0 || iova == end)
			iommu_iotlb_sync(run->domain, &gather);
	}
	cycles[1] = bench_clock() - start;

	return err ? -EIO : 0;
}

/* Create the tables above those that the pass creates. */
static int prepare_upper(struct bench_run *run)
{
	unsigned long iova = ALIGN(run->test->start + 1, SZ_1G) - SZ_4K;

	return bench_map(run->domain, iova, iova, SZ_4K, 1);
}

static int pass_destroy(struct bench_run *run, u64 cycles[2])
{
	int err = map_all(run, SZ_4K, 1, &cycles[0]);
	u64 start = bench_clock();

	put_domain(run);
	cycles[0] = bench_clock() - start;

	return new_domain(run) ?: err;
}

static int pass_split(struct bench_run *run, u64 cycles[2])
{
	const struct bench_sequence *seq = run->seq;
	unsigned int i;
	u64 start;
	int err;

	err = map_all(run, run->test->pgsize, run->test->pgcount, &cycles[0]);
	if (err)
		return err;

	start = bench_clock();
	for (i = 0; i < seq->nr; i++)
		err |= run->lib->split(run->domain, seq->map[i] + SZ_4K);
	cycles[0] = bench_clock() - start;

	return err;
}

/* Unmap one small page of each large page. */
static int pass_cut(struct bench_run *run, u64 cycles[2])
{
	int err = map_all(run, run->test->pgsize, run->test->pgcount,
			  &cycles[0]);

	return err ?: unmap_all(run, SZ_4K, SZ_4K, 1, &cycles[0]);
}

/* Map large pages where small ones were mapped. */
static int pass_supersede(struct bench_run *run, u64 cycles[2])
{
	return map_all(run, SZ_4K, 1, &cycles[0]) ?:
	       unmap_all(run, 0, SZ_4K, 1, &cycles[0]) ?:
	       pass_map_unmap(run, cycles);
}

/* Measuring */

static unsigned int nr_samples(const struct bench_case *test)
{
	return bench_counting || test->total ? 1 : BENCH_SAMPLES;
}

static unsigned int nr_passes(const struct bench_case *test)
{
	return bench_counting ? 1 : test->passes;
}

/* When instructions are counted, a few operations are enough for an average. */
static unsigned int nr_operations(const struct bench_case *test)
{
	unsigned int enough = test->pgcount > 16 ? 1 : 4;

	if (test->total)
		return test->total / test->pgsize;

	return bench_counting ? min(test->nr, enough) : test->nr;
}

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static u64 median(u64 *values, unsigned int nr)
{
	sort(values, nr, sizeof(*values), compare, NULL);

	return values[nr / 2];
}

static bool suits(const struct bench_case *test, const struct bench_lib *lib)
{
	if (lib->level && lib->level != bench_level)
		return false;
	if (test->noncoherent && !lib->noncoherent)
		return false;
	if (test->libs == BENCH_SPLITTERS)
		return lib->split;

	if (test->libs == BENCH_CHECKED && lib == &bench_checked)
		return true;

	return test->libs == BENCH_ALL || !lib->is_floor;
}

/* Use one domain for all passes, unless each pass creates its own. */
static int begin_run(struct bench_run *run)
{
	const struct bench_case *test = run->test;
	int err;

	if (test->each)
		return 0;

	err = new_domain(run);
	if (err)
		return err;

	return test->prepare ? test->prepare(run) : 0;
}

/* The first of two passes warms up the caches. */
static int run_pass(struct bench_run *run, u64 cycles[2])
{
	const struct bench_case *test = run->test;
	int err;

	cycles[0] = 0;
	cycles[1] = 0;
	if (!test->each) {
		err = bench_counting ? 0 : test->pass(run, cycles);
		return err ?: test->pass(run, cycles);
	}

	err = new_domain(run);
	if (err)
		return err;

	err = test->prepare ? test->prepare(run) : 0;
	err = err ?: test->pass(run, cycles);
	put_domain(run);

	return err;
}

/* Libraries take turns, pass by pass. */
static int run_passes(struct bench_run *runs, unsigned int nr)
{
	unsigned int i, pass;
	u64 cycles[2];

	for (pass = 0; pass < nr_passes(runs->test); pass++) {
		for (i = 0; i < nr; i++) {
			int err = run_pass(&runs[i], cycles);

			if (err) {
				pr_err("bench: error %d by %s\n", err,
				       runs[i].lib->name);
				return err;
			}
			runs[i].map[pass] = cycles[0];
			runs[i].unmap[pass] = cycles[1];
		}
	}

	return 0;
}

/* Take a sample of each library that supports the case. */
int bench_measure(const char *name, unsigned int ops,
		  const struct bench_run *what)
{
	static struct bench_run runs[BENCH_MAX_LIBS];
	unsigned int i, j, nr = 0, passes = nr_passes(what->test);
	unsigned long pages = bench_pages();
	int err = 0;

	for (i = 0; bench_libs[i] && !err; i++) {
		if (!suits(what->test, bench_libs[i]))
			continue;
		runs[nr] = *what;
		runs[nr].lib = bench_libs[i];
		err = begin_run(&runs[nr++]);
	}
	err = err ?: run_passes(runs, nr);
	for (i = 0; i < nr; i++) {
		if (runs[i].domain)
			runs[i].domain->ops->free(runs[i].domain);
		for (j = 0; j < BENCH_DOMAINS && runs[i].others[j]; j++)
			runs[i].others[j]->ops->free(runs[i].others[j]);
	}
	wait_for_pages(pages);

	for (i = 0; i < nr && !err; i++)
		pr_notice("bench: sample %s %s %llu %llu %u\n", name,
			  runs[i].lib->name, median(runs[i].map, passes),
			  median(runs[i].unmap, passes), ops);
	if (err)
		pr_err("bench: error %d in %s\n", err, name);

	return err;
}

/*
 * Runs of 512 pages begin in the middle of a table, so that no library can free the
 * table when they are unmapped.
 */
#define WARM	.pass = pass_map_unmap, .prepare = prepare_map_unmap
#define CORE	.pass = core_map_unmap, .prepare = prepare_map_unmap, .libs = BENCH_NO_FLOORS
#define COLD	.pass = pass_map_unmap, .each = true, .passes = 16
#define SMALL	.pgsize = SZ_4K, .pgcount = 1

static const struct bench_case cases[] = {
	{ .name = "4k", WARM, SMALL, .passes = 64,
	  .start = SZ_1G, .stride = SZ_4K, .nr = 512 },
	{ .name = "16x4k", WARM, .pgsize = SZ_4K, .pgcount = 16, .passes = 64,
	  .start = SZ_1G, .stride = SZ_64K, .nr = 32 },
	{ .name = "512x4k", WARM, .pgsize = SZ_4K, .pgcount = 512, .passes = 32,
	  .start = SZ_1G + SZ_1M, .stride = SZ_2M, .nr = 8 },
	{ .name = "2m", WARM, .pgsize = SZ_2M, .pgcount = 1, .passes = 64,
	  .start = SZ_1G, .stride = SZ_2M, .nr = 512 },
	{ .name = "512x2m", WARM, .pgsize = SZ_2M, .pgcount = 512, .passes = 32,
	  .start = SZ_1G + SZ_512M, .stride = SZ_1G, .nr = 8 },
	{ .name = "scattered-1", WARM, SMALL, .passes = 64,
	  .regions = 1, .nr = 256 },
	{ .name = "scattered-64", WARM, SMALL, .passes = 32,
	  .regions = 64, .nr = 4096 },
	{ .name = "scattered-4096", WARM, SMALL, .passes = 8,
	  .regions = 4096, .nr = 16384 },
	{ .name = "look-up", .pass = pass_look_up, .prepare = prepare_map,
	  SMALL, .passes = 64, .start = SZ_1G, .stride = SZ_4K, .nr = 512 },
	{ .name = "look-up-64", .pass = pass_look_up, .prepare = prepare_map,
	  SMALL, .passes = 32, .regions = 64, .nr = 4096 },
	{ .name = "core-4k", CORE, SMALL, .passes = 64,
	  .start = SZ_1G, .stride = SZ_4K, .nr = 512 },
	{ .name = "core-16x4k", CORE, .pgsize = SZ_4K, .pgcount = 16, .passes = 64,
	  .start = SZ_1G, .stride = SZ_64K, .nr = 32 },
	{ .name = "core-512x4k", CORE, .pgsize = SZ_4K, .pgcount = 512, .passes = 32,
	  .start = SZ_1G + SZ_1M, .stride = SZ_2M, .nr = 8 },
	{ .name = "core-2m", CORE, .pgsize = SZ_2M, .pgcount = 1, .passes = 64,
	  .start = SZ_1G, .stride = SZ_2M, .nr = 512 },
	{ .name = "core-512x2m", CORE, .pgsize = SZ_2M, .pgcount = 512, .passes = 32,
	  .start = SZ_1G + SZ_512M, .stride = SZ_1G, .nr = 8 },
	{ .name = "core-look-up", .pass = core_look_up, .prepare = prepare_map,
	  .libs = BENCH_NO_FLOORS, SMALL, .passes = 64,
	  .start = SZ_1G, .stride = SZ_4K, .nr = 512 },
	{ .name = "core-look-up-64g", .pass = core_look_up, .prepare = prepare_map,
	  .libs = BENCH_NO_FLOORS, SMALL, .passes = 8, .regions = 64 * 512, .nr = 32768 },
	{ .name = "core-8g", CORE, SMALL, .passes = 8, .regions = 8 * 512, .nr = 32768 },
	{ .name = "core-64g", CORE, SMALL, .passes = 8, .regions = 64 * 512, .nr = 32768 },
	{ .name = "core-256g", CORE, SMALL, .passes = 4, .regions = 256 * 512, .nr = 65536 },
	{ .name = "core-domains", .pass = core_domains, .prepare = prepare_domains,
	  .libs = BENCH_NO_FLOORS, SMALL, .passes = 32,
	  .start = SZ_1G, .stride = SZ_4K, .nr = 1024 },
	{ .name = "core-vfio-4k", .pass = core_vfio, .each = true, .libs = BENCH_NO_FLOORS,
	  SMALL, .passes = 1, .total = 64UL * SZ_1G },
	{ .name = "core-vfio-2m", .pass = core_vfio, .each = true, .libs = BENCH_NO_FLOORS,
	  .pgsize = SZ_2M, .pgcount = 1, .passes = 2, .total = 64UL * SZ_1G },
	{ .name = "cold-512x4k", COLD, .pgsize = SZ_4K, .pgcount = 512,
	  .prepare = prepare_upper, .start = SZ_1G, .stride = SZ_2M, .nr = 64 },
	{ .name = "cold-4k-1", COLD, SMALL, .prepare = prepare_upper,
	  .start = SZ_1G, .stride = SZ_2M, .nr = 64 },
	{ .name = "cold-4k-3", COLD, SMALL,
	  .start = GAP, .stride = GAP, .nr = 100 },
	{ .name = "destroy", .pass = pass_destroy, .each = true,
	  .libs = BENCH_NO_FLOORS, .passes = 16, .start = GAP, .stride = GAP, .nr = 250 },
	{ .name = "split-2m", .pass = pass_split, .each = true,
	  .libs = BENCH_SPLITTERS, .pgsize = SZ_2M, .pgcount = 1, .passes = 16,
	  .start = SZ_1G, .stride = SZ_2M, .nr = 64 },
	{ .name = "split-1g", .pass = pass_split, .each = true,
	  .libs = BENCH_SPLITTERS, .pgsize = SZ_1G, .pgcount = 1, .passes = 16,
	  .start = SZ_1G, .stride = SZ_1G, .nr = 32 },
	{ .name = "cut-2m", .pass = pass_cut, .each = true,
	  .libs = BENCH_SPLITTERS, .pgsize = SZ_2M, .pgcount = 1, .passes = 16,
	  .start = SZ_1G, .stride = SZ_2M, .nr = 64 },
	{ .name = "cut-1g", .pass = pass_cut, .each = true,
	  .libs = BENCH_SPLITTERS, .pgsize = SZ_1G, .pgcount = 1, .passes = 16,
	  .start = SZ_1G, .stride = SZ_1G, .nr = 32 },
	{ .name = "supersede-2m", .pass = pass_supersede, .each = true,
	  .libs = BENCH_CHECKED, .pgsize = SZ_2M, .pgcount = 1, .passes = 16,
	  .start = SZ_1G, .stride = SZ_2M, .nr = 64 },
	{ .name = "4k-written-back", WARM, SMALL, .passes = 16,
	  .noncoherent = true, .start = SZ_1G, .stride = SZ_4K, .nr = 512 },
	{ .name = "16x4k-written-back", WARM, .pgsize = SZ_4K, .pgcount = 16,
	  .passes = 32, .noncoherent = true,
	  .start = SZ_1G, .stride = SZ_64K, .nr = 32 },
	{ .name = "512x4k-written-back", WARM, .pgsize = SZ_4K, .pgcount = 512,
	  .passes = 16, .noncoherent = true,
	  .start = SZ_1G + SZ_1M, .stride = SZ_2M, .nr = 8 },
	{ .name = "2m-written-back", WARM, .pgsize = SZ_2M, .pgcount = 1,
	  .passes = 16, .noncoherent = true,
	  .start = SZ_1G, .stride = SZ_2M, .nr = 512 },
	{ .name = "cold-512x4k-written-back", COLD, .pgsize = SZ_4K,
	  .pgcount = 512, .prepare = prepare_upper, .noncoherent = true,
	  .start = SZ_1G, .stride = SZ_2M, .nr = 64 },
};

static int run_case(const struct bench_case *test)
{
	unsigned int sample, nr = nr_operations(test);
	struct bench_sequence seq;
	const struct bench_run run = { .test = test, .seq = &seq };
	int err;

	/* skip cases that wait for RCU, and those that differ in addresses only */
	if (bench_counting && (test->pass == pass_destroy || test->regions || test->total))
		return 0;

	if (test->regions)
		err = bench_scattered(&seq, test->regions, nr);
	else
		err = bench_linear(&seq, test->start, test->stride, test->nr ? nr : 0);
	if (err)
		return err;

	for (sample = 0; sample < nr_samples(test) && !err; sample++)
		err = bench_measure(test->name, nr, &run);
	bench_sequence_free(&seq);

	return err;
}

/* Does report.py compare a wanted case through the core ("core-...-NAME") with @name? */
static bool is_unit(const char *name)
{
	size_t len = strlen(name);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *core = cases[i].name;
		size_t front = strlen(core) - len;

		if (str_has_prefix(core, "core-") && strlen(core) > len &&
		    core[front - 1] == '-' && !strcmp(core + front, name) &&
		    bench_is_wanted(core))
			return true;
	}

	return false;
}

int bench_run_cases(void)
{
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!bench_is_wanted(cases[i].name) && !is_unit(cases[i].name))
			continue;
		err = run_case(&cases[i]);
		if (err)
			return err;
	}

	return bench_counting ? 0 : bench_run_replays();
}
