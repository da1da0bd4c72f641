// SPDX-License-Identifier: GPL-2.0-only
/*
 * Statistics of the page tables of paging domains in debugfs: one line for each
 * device and PASID that a domain is attached to.
 */

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/debugfs.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>

#include "iommu.h"
#include "paging_domain.h"

/* Keeps the domains on the list from being freed. */
static DEFINE_MUTEX(paging_domains_lock);
static LIST_HEAD(paging_domains);

/**
 * intel_pgtable_debugfs_add() - show a domain
 * @domain: paging domain, fully set up
 *
 * Context: may sleep.
 */
void intel_pgtable_debugfs_add(struct dmar_domain *domain)
{
	static u64 nr;

	guard(mutex)(&paging_domains_lock);
	domain->pgtable_nr = nr++;
	list_add_tail(&domain->pgtable_link, &paging_domains);
}

/**
 * intel_pgtable_debugfs_remove() - no longer show a domain
 * @domain: paging domain that is about to be freed
 *
 * Context: may sleep.
 */
void intel_pgtable_debugfs_remove(struct dmar_domain *domain)
{
	guard(mutex)(&paging_domains_lock);
	list_del(&domain->pgtable_link);
}

static void pgtable_count_tables(struct dmar_domain *domain, struct vtd_pt_stats *stats)
{
	if (domain->use_first_level)
		vtd_pt_fl_count_tables(domain->pgtable, stats);
	else
		vtd_pt_sl_count_tables(domain->pgtable, stats);
}

VISIBLE_IF_KUNIT bool pgtable_count_leaves(struct dmar_domain *domain, u64 *iova,
					   struct vtd_pt_stats *stats)
{
	KUNIT_STATIC_STUB_REDIRECT(pgtable_count_leaves, domain, iova, stats);

	return domain->use_first_level ?
	       vtd_pt_fl_count_leaves(domain->pgtable, iova, stats) :
	       vtd_pt_sl_count_leaves(domain->pgtable, iova, stats);
}

static unsigned long pgtable_tables(const struct vtd_pt_stats *stats)
{
	unsigned long sum = 0;
	unsigned int level;

	for (level = 1; level <= VTD_PT_MAX_LEVELS; level++)
		sum += stats->tables[level];

	return sum;
}

static void pgtable_show_stats(struct seq_file *m, struct dmar_domain *domain,
			       const struct vtd_pt_stats *stats)
{
	const struct vtd_pt_cfg *cfg = domain->use_first_level ?
				       vtd_pt_fl_config(domain->pgtable) :
				       vtd_pt_sl_config(domain->pgtable);

	seq_printf(m, " level=%s levels=%u coherent=%u tables=%lu tables_l1=%lu deposited=%lu leaves_4k=%lu leaves_2m=%lu leaves_1g=%lu\n",
		   domain->use_first_level ? "first" : "second", cfg->levels,
		   cfg->coherent, pgtable_tables(stats),
		   stats->tables[1], stats->deposited,
		   stats->leaves[1], stats->leaves[2], stats->leaves[3]);
}

static void pgtable_show_domain(struct seq_file *m, struct dmar_domain *domain,
				const struct vtd_pt_stats *stats)
{
	struct device_domain_info *info;
	struct dev_pasid_info *dev_pasid;
	unsigned long flags;

	spin_lock_irqsave(&domain->lock, flags);
	list_for_each_entry(info, &domain->devices, link) {
		seq_printf(m, "dev=%s pasid=0 did=%u", dev_name(info->dev),
			   domain_id_iommu(domain, info->iommu));
		pgtable_show_stats(m, domain, stats);
	}

	list_for_each_entry(dev_pasid, &domain->dev_pasids, link_domain) {
		info = dev_iommu_priv_get(dev_pasid->dev);
		seq_printf(m, "dev=%s pasid=%u did=%u", dev_name(info->dev),
			   dev_pasid->pasid, domain_id_iommu(domain, info->iommu));
		pgtable_show_stats(m, domain, stats);
	}

	if (list_empty(&domain->devices) && list_empty(&domain->dev_pasids)) {
		seq_puts(m, "dev=- pasid=- did=-");
		pgtable_show_stats(m, domain, stats);
	}
	spin_unlock_irqrestore(&domain->lock, flags);
}

/* The first domain in the list whose number is @nr or higher */
static struct dmar_domain *pgtable_domain_from(u64 nr)
{
	struct dmar_domain *domain;

	list_for_each_entry(domain, &paging_domains, pgtable_link) {
		if (domain->pgtable_nr >= nr)
			return domain;
	}

	return NULL;
}

/*
 * Counting may take seconds, and domains have to be allocated and freed
 * meanwhile. So drop the lock after each GiB. A domain that is freed meanwhile
 * is not shown. No other domain is skipped, as their numbers do not change.
 */
VISIBLE_IF_KUNIT int pgtable_stats_show(struct seq_file *m, void *unused)
{
	struct vtd_pt_stats stats;
	bool counting = false;
	u64 nr = 0, iova = 0;

	while (!fatal_signal_pending(current)) {
		struct dmar_domain *domain;

		cond_resched();
		guard(mutex)(&paging_domains_lock);
		domain = pgtable_domain_from(nr);
		if (!domain)
			return 0;
		if (!counting || domain->pgtable_nr != nr) {
			nr = domain->pgtable_nr;
			iova = 0;
			pgtable_count_tables(domain, &stats);
		}

		counting = pgtable_count_leaves(domain, &iova, &stats);
		if (!counting) {
			pgtable_show_domain(m, domain, &stats);
			nr++;
		}
	}

	return -EINTR;
}
DEFINE_SHOW_ATTRIBUTE(pgtable_stats);

/**
 * intel_pgtable_debugfs_init() - create the file
 * @parent: the driver's directory in debugfs
 */
void __init intel_pgtable_debugfs_init(struct dentry *parent)
{
	debugfs_create_file("pgtable_stats", 0444, parent, NULL, &pgtable_stats_fops);
}
