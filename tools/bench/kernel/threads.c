// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two CPUs that use one table, each in a range of its own, compared with one CPU.
 */

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/printk.h>
#include <linux/sizes.h>

#include "bench.h"

#define THREADS		2
#define SAMPLES		60
#define PASSES		100
#define PAGES		512

struct worker {
	struct iommu_domain *domain;
	unsigned long start;
	u64 began, ended;
	int err;
	struct completion done;
};

/* number of workers that have not arrived; they begin together */
static atomic_t awaited;

static int work_pass(struct worker *worker)
{
	unsigned long iova = worker->start;
	unsigned int i;
	int err = 0;

	for (i = 0; i < PAGES; i++, iova += SZ_4K)
		err |= bench_map(worker->domain, iova, iova, SZ_4K, 1);
	iova = worker->start;
	for (i = 0; i < PAGES; i++, iova += SZ_4K)
		err |= bench_unmap(worker->domain, iova, SZ_4K, 1) != SZ_4K;

	return err;
}

static int work(void *data)
{
	struct worker *worker = data;
	unsigned int i;

	/* create the tables */
	worker->err = work_pass(worker);
	atomic_dec(&awaited);
	while (atomic_read(&awaited))
		cpu_relax();

	worker->began = bench_clock();
	for (i = 0; i < PASSES; i++)
		worker->err |= work_pass(worker);
	worker->ended = bench_clock();
	complete(&worker->done);

	return 0;
}

static int run_workers(struct worker *workers, unsigned int nr)
{
	unsigned int i;

	atomic_set(&awaited, nr);
	for (i = 0; i < nr; i++) {
		struct task_struct *task;

		init_completion(&workers[i].done);
		task = kthread_create(work, &workers[i], "bench/%u", i);
		if (IS_ERR(task))
			return PTR_ERR(task);
		kthread_bind(task, i);
		wake_up_process(task);
	}
	for (i = 0; i < nr; i++)
		wait_for_completion(&workers[i].done);

	return 0;
}

static int run_sample(const struct bench_lib *lib, unsigned int nr)
{
	struct iommu_domain *domain = lib->create(true);
	struct worker workers[THREADS] = {};
	u64 began = U64_MAX, ended = 0;
	unsigned int i;
	int err;

	if (!domain)
		return -ENOMEM;

	for (i = 0; i < nr; i++) {
		workers[i].domain = domain;
		workers[i].start = (i + 1) * (unsigned long)SZ_1G;
	}
	err = run_workers(workers, nr);
	for (i = 0; i < nr && !err; i++) {
		err = workers[i].err ? -EIO : 0;
		began = min(began, workers[i].began);
		ended = max(ended, workers[i].ended);
	}
	domain->ops->free(domain);
	if (!err)
		pr_notice("bench: threads %s %u %u %llu\n", lib->name, nr,
			  nr * PASSES * PAGES * 2, ended - began);

	return err;
}

int bench_run_threads(void)
{
	const struct bench_lib *const *lib;
	unsigned int sample, nr;
	int err = 0;

	for (sample = 0; sample < SAMPLES; sample++)
		for (lib = bench_libs; *lib; lib++)
			for (nr = 1; nr <= THREADS && !err && (*lib)->level < 2; nr++)
				err = run_sample(*lib, nr);

	return err;
}
