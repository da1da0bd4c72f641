// SPDX-License-Identifier: GPL-2.0-only
/*
 * What first-level domains are made of, in debugfs: one line for each device
 * and PASID that a domain is attached to.
 */

#include <linux/debugfs.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>

#include "iommu.h"
#include "fl_domain.h"

/* Keeps the domains on the list from being freed. */
static DEFINE_MUTEX(intel_fl_domains_lock);
static LIST_HEAD(intel_fl_domains);

/**
 * intel_fl_debugfs_add() - show a domain from now on
 * @domain: first-level domain, complete
 *
 * Context: may sleep.
 */
void intel_fl_debugfs_add(struct dmar_domain *domain)
{
	static u64 nr;

	guard(mutex)(&intel_fl_domains_lock);
	domain->fl_nr = nr++;
	list_add_tail(&domain->fl_link, &intel_fl_domains);
}

/**
 * intel_fl_debugfs_remove() - show a domain no longer
 * @domain: first-level domain that is about to be freed
 *
 * Context: may sleep.
 */
void intel_fl_debugfs_remove(struct dmar_domain *domain)
{
	guard(mutex)(&intel_fl_domains_lock);
	list_del(&domain->fl_link);
}

static unsigned long intel_fl_tables(const struct vtd_pt_stats *stats)
{
	unsigned long sum = 0;
	unsigned int level;

	for (level = 1; level <= VTD_PT_MAX_LEVELS; level++)
		sum += stats->tables[level];

	return sum;
}

static void intel_fl_show_stats(struct seq_file *m, struct dmar_domain *domain,
				const struct vtd_pt_stats *stats)
{
	seq_printf(m, " levels=%u coherent=%u tables=%lu tables_l1=%lu deposited=%lu leaves_4k=%lu leaves_2m=%lu leaves_1g=%lu\n",
		   vtd_pt_fl_config(domain->pgtable)->levels,
		   vtd_pt_fl_config(domain->pgtable)->coherent, intel_fl_tables(stats),
		   stats->tables[1], stats->deposited,
		   stats->leaves[1], stats->leaves[2], stats->leaves[3]);
}

static void intel_fl_show_domain(struct seq_file *m, struct dmar_domain *domain,
				 const struct vtd_pt_stats *stats)
{
	struct device_domain_info *info;
	struct dev_pasid_info *dev_pasid;
	unsigned long flags;

	spin_lock_irqsave(&domain->lock, flags);
	list_for_each_entry(info, &domain->devices, link) {
		seq_printf(m, "dev=%s pasid=0 did=%u", dev_name(info->dev),
			   domain_id_iommu(domain, info->iommu));
		intel_fl_show_stats(m, domain, stats);
	}

	list_for_each_entry(dev_pasid, &domain->dev_pasids, link_domain) {
		info = dev_iommu_priv_get(dev_pasid->dev);
		seq_printf(m, "dev=%s pasid=%u did=%u", dev_name(info->dev),
			   dev_pasid->pasid, domain_id_iommu(domain, info->iommu));
		intel_fl_show_stats(m, domain, stats);
	}

	if (list_empty(&domain->devices) && list_empty(&domain->dev_pasids)) {
		seq_puts(m, "dev=- pasid=- did=-");
		intel_fl_show_stats(m, domain, stats);
	}
	spin_unlock_irqrestore(&domain->lock, flags);
}

/* The first domain of the list from number @nr on */
static struct dmar_domain *intel_fl_domain_from(u64 nr)
{
	struct dmar_domain *domain;

	list_for_each_entry(domain, &intel_fl_domains, fl_link) {
		if (domain->fl_nr >= nr)
			return domain;
	}

	return NULL;
}

/*
 * Counting may take seconds, and domains have to come and go meanwhile. So the lock is
 * dropped after each GiB. A domain that is freed by then is not shown; no other is
 * skipped, as the numbers do not change.
 */
static int flpt_stats_show(struct seq_file *m, void *unused)
{
	struct vtd_pt_stats stats;
	bool counting = false;
	u64 nr = 0, iova = 0;

	while (!fatal_signal_pending(current)) {
		struct dmar_domain *domain;

		cond_resched();
		guard(mutex)(&intel_fl_domains_lock);
		domain = intel_fl_domain_from(nr);
		if (!domain)
			return 0;
		if (!counting || domain->fl_nr != nr) {
			nr = domain->fl_nr;
			iova = 0;
			vtd_pt_fl_count_tables(domain->pgtable, &stats);
		}

		counting = vtd_pt_fl_count_leaves(domain->pgtable, &iova, &stats);
		if (!counting) {
			intel_fl_show_domain(m, domain, &stats);
			nr++;
		}
	}

	return -EINTR;
}
DEFINE_SHOW_ATTRIBUTE(flpt_stats);

/**
 * intel_fl_debugfs_init() - make the file
 * @parent: the driver's directory in debugfs
 */
void __init intel_fl_debugfs_init(struct dentry *parent)
{
	debugfs_create_file("flpt_stats", 0444, parent, NULL, &flpt_stats_fops);
}
