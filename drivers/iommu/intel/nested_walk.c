// SPDX-License-Identifier: GPL-2.0-only
/*
 * Find out where a nested translation stops.
 *
 * A page request does not say which level of translation stopped it. So
 * software walks the guest's first level through the second level, with each
 * check that the IOMMU makes:
 *
 * - VT-d 3.6, first-stage translation: canonical address, Present, reserved
 *   bits, R/W and U/S of all entries together, WPE for supervisors;
 * - VT-d 3.7, second-stage translation: width, Read and Write of all entries
 *   together;
 * - VT-d 3.8, nested translation: a guest's table has to be readable in the
 *   second level, and writable if Accessed, Dirty or Extended Accessed has to
 *   be set in the entry that is used;
 * - VT-d 7.1.3, which of these are faults, and of what.
 *
 * If several checks fail, the first one of the walk counts. The permissions of
 * the page's first-level entry are checked before that entry's A/D, and before
 * the second level translates the page: a guest that does not allow the access
 * causes no work for the host.
 *
 * (Section numbers are those of the Intel Virtualization Technology for
 * Directed I/O Architecture Specification, revision 4.1.)
 *
 * The walk writes nothing, so the guest cannot observe it. The guest may change
 * its tables meanwhile. As each entry is loaded once, and its address remains
 * guest-physical until the second level has translated it, hardware could come
 * to the same result.
 */

#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>

#include <asm/asm.h>

#include "pgtable_fl.h"
#include "pgtable.h"
#include "iommu.h"
#include "nested_walk.h"

#define PERM_READ	IOMMU_FAULT_PERM_READ
#define PERM_WRITE	IOMMU_FAULT_PERM_WRITE

#define FL_EA		BIT_ULL(10)	/* Extended Accessed */

/* VT-d 7.1.3, SGN.8: no translation may lead to the interrupt address range. */
#define INTERRUPT_RANGE	0xfee00000ULL
#define INTERRUPT_SIZE	SZ_1M

/* State of a walk */
struct nested_walk {
	const struct dmar_domain *domain, *parent;
	u64 addr;
	u32 want;			/* PERM_READ, PERM_WRITE */
	bool user;
	unsigned int loads;
	struct iopf_stop *stop;
};

static void nested_walk_stop_at(struct nested_walk *walk, enum iopf_level level, u64 addr,
				u32 perm)
{
	*walk->stop = (struct iopf_stop) {
		.level = level,
		.addr = addr & VTD_PAGE_MASK,
		.perm = perm,
	};
}

static void nested_walk_stop_first(struct nested_walk *walk, u32 perm)
{
	nested_walk_stop_at(walk, IOPF_LEVEL_1, walk->addr, perm);
}

static void nested_walk_stop_second(struct nested_walk *walk, u64 gpa, u32 perm)
{
	nested_walk_stop_at(walk, IOPF_LEVEL_2, gpa, perm);
}

/* The second level */

struct host_page {
	u64 hpa;
	u32 perm;			/* none: @hpa is not valid */
};

/* The tables belong to the driver, and are freed after an RCU grace period. */
static struct host_page nested_walk_second_level(struct nested_walk *walk, u64 gpa)
{
	struct vtd_pt *pt = walk->parent->pgtable;
	unsigned int levels = vtd_pt_sl_config(pt)->levels, level, l;
	u64 path[VTD_PT_MAX_LEVELS + 1], rights = SL_R | SL_W;
	struct host_page page = { };

	if (gpa > vtd_pt_sl_last_iova(pt))
		return page;

	level = vtd_pt_sl_path(vtd_pt_sl_root(pt), levels, gpa, path);
	walk->loads += levels - level + 1;
	for (l = level; l <= levels; l++)
		rights &= path[l];
	if (rights & SL_R)
		page.perm |= PERM_READ;
	if (rights & SL_W)
		page.perm |= PERM_WRITE;
	page.hpa = fmt_leaf_addr(path[level], level) + (gpa & (vtd_pt_size(level) - 1));

	return page;
}

/* The first level */

/*
 * Load an entry once. Returns false if the memory turns out to have an error,
 * or was removed from the kernel's mapping because of one. (copy_mc_to_kernel()
 * cannot be used, as it may load byte by byte.)
 */
static bool nested_walk_load_or_fail(const u64 *from, u64 *entry)
{
#ifdef CONFIG_X86_64
	u64 value = 0;
	bool failed = true;

	asm volatile("1:	movq %[from], %[value]\n"
		     "	movb $0, %[failed]\n"
		     "2:\n"
		     _ASM_EXTABLE_TYPE(1b, 2b, EX_TYPE_DEFAULT_MCE_SAFE)
		     : [value] "+r" (value), [failed] "+q" (failed)
		     : [from] "m" (*from));
	*entry = value;

	return !failed;
#else
	*entry = READ_ONCE(*from);

	return true;
#endif
}

/*
 * Load a guest's entry. The second level may map anything, including registers
 * of a device, where a load has side effects: load only from system memory.
 */
static bool nested_walk_load_entry(struct nested_walk *walk, u64 hpa, u64 *entry)
{
	struct page *page = pfn_to_online_page(PHYS_PFN(hpa));
	bool loaded;
	u64 *table;

	if (!page || PageReserved(page) || is_page_hwpoison(page))
		return false;

	table = kmap_local_page(page);
	loaded = nested_walk_load_or_fail(&table[offset_in_page(hpa) / sizeof(*table)], entry);
	kunmap_local(table);
	walk->loads++;

	return loaded;
}

/* VT-d 9.7: bits that have to be 0 in a table of @level */
static u64 nested_walk_first_reserved(const struct dmar_domain *domain, u64 entry,
				      unsigned int level)
{
	u8 haw = READ_ONCE(domain->s1_haw);
	u64 reserved = haw < 52 ? GENMASK_ULL(51, haw) : 0;

	if (level > VTD_PT_MAX_LEAF)
		return reserved | FL_PS;
	if (level == 1 || !(entry & FL_PS))
		return reserved;
	if (level == 3 && !READ_ONCE(domain->s1_1g))
		reserved |= FL_PS;

	return reserved | (GENMASK_ULL(vtd_pt_shift(level) - 1, 12) & ~FL_PAT_LARGE);
}

/*
 * The permissions that are requested but missing in @rights, those of all
 * entries together
 */
static u32 nested_walk_first_missing(const struct nested_walk *walk, u64 rights)
{
	bool wpe = walk->domain->s1_cfg.flags & IOMMU_VTD_S1_WPE;

	if (walk->user && !(rights & FL_US))
		return walk->want;
	/*
	 * Supervisor requests may write to read-only pages unless WPE is set.
	 */
	if (!(rights & FL_RW) && (walk->user || wpe))
		return walk->want & PERM_WRITE;

	return 0;
}

/* Bits that hardware has to set in the entry before it continues */
static u64 nested_walk_first_unset(const struct nested_walk *walk, u64 entry, bool leaf)
{
	u64 bits = FL_A;

	if (walk->domain->s1_cfg.flags & IOMMU_VTD_S1_EAFE)
		bits |= FL_EA;
	if (leaf && walk->want & PERM_WRITE)
		bits |= FL_D;

	return bits & ~entry;
}

/* @table is the host-physical page with the entry at guest-physical @at. */
static bool nested_walk_first_mark(struct nested_walk *walk, const struct host_page *table, u64 at,
				   u64 entry, bool leaf)
{
	u64 unset = nested_walk_first_unset(walk, entry, leaf);

	if (!unset)
		return true;

	/* If hardware cannot set them, the guest has to. */
	if (!READ_ONCE(walk->domain->s1_ad)) {
		nested_walk_stop_first(walk, unset == FL_D ? PERM_WRITE : walk->want);
		return false;
	}
	if (!(table->perm & PERM_WRITE)) {
		nested_walk_stop_second(walk, at, PERM_WRITE);
		return false;
	}

	return true;
}

/*
 * Load the entry at guest-physical @at. Returns false if the walk stops here.
 */
static bool nested_walk_first_entry(struct nested_walk *walk, u64 at, unsigned int level,
				    u64 *rights, u64 *entry)
{
	struct host_page table = nested_walk_second_level(walk, at);
	bool leaf;
	u32 perm;

	if (!(table.perm & PERM_READ)) {
		nested_walk_stop_second(walk, at, PERM_READ);
		return false;
	}
	if (!nested_walk_load_entry(walk, table.hpa, entry)) {
		nested_walk_stop_at(walk, IOPF_LEVEL_REFUSED, 0, 0);
		return false;
	}
	if (!(*entry & FL_P) || *entry & nested_walk_first_reserved(walk->domain, *entry, level)) {
		nested_walk_stop_first(walk, walk->want);
		return false;
	}

	*rights &= *entry;
	leaf = level == 1 || *entry & FL_PS;
	perm = leaf ? nested_walk_first_missing(walk, *rights) : 0;
	if (perm) {
		nested_walk_stop_first(walk, perm);
		return false;
	}

	return nested_walk_first_mark(walk, &table, at, *entry, leaf);
}

/*
 * The guest-physical address is known: does the second level allow the access?
 */
static void nested_walk_final_page(struct nested_walk *walk, u64 gpa)
{
	struct host_page page = nested_walk_second_level(walk, gpa);
	u32 missing = walk->want & ~page.perm;

	if (missing)
		nested_walk_stop_second(walk, gpa, missing);
	else if (page.hpa - INTERRUPT_RANGE < INTERRUPT_SIZE)
		nested_walk_stop_at(walk, IOPF_LEVEL_REFUSED, 0, 0);
	else
		nested_walk_stop_at(walk, IOPF_LEVEL_NONE, 0, 0);
}

static void nested_walk_tables(struct nested_walk *walk)
{
	const struct dmar_domain *domain = walk->domain;
	unsigned int level = domain->s1_cfg.addr_width == ADDR_WIDTH_5LEVEL ? 5 : 4;
	u64 gpa = domain->s1_pgtbl, rights = FL_RW | FL_US, entry, offset;

	/* Bits above the width of the table equal its topmost bit. */
	if (sign_extend64(walk->addr, vtd_pt_shift(level + 1) - 1) != walk->addr) {
		nested_walk_stop_first(walk, walk->want);
		return;
	}

	for (;; level--) {
		gpa += vtd_pt_index(walk->addr, level) * sizeof(entry);
		if (!nested_walk_first_entry(walk, gpa, level, &rights, &entry))
			return;
		if (level == 1 || entry & FL_PS)
			break;
		gpa = entry & FL_ADDR;
	}

	offset = walk->addr & (vtd_pt_size(level) - 1);
	nested_walk_final_page(walk, (entry & FL_ADDR & ~(vtd_pt_size(level) - 1)) + offset);
}

/**
 * nested_walk() - find out where a nested translation stops
 * @domain: nested domain, which the caller keeps from being freed
 * @addr: address of the request
 * @perm: what is requested: IOMMU_FAULT_PERM_* flags. A request for neither
 *	  read nor write only needs the page to be present, and counts as a
 *	  read.
 * @stop: set to where it stops, see &struct iopf_stop. %IOPF_LEVEL_NONE if it
 *	  does not stop any more, and the device may retry. %IOPF_LEVEL_REFUSED
 *	  if no mapping of either level would help: an execute request, a
 *	  supervisor request that the guest has not enabled, a table that is not
 *	  in memory, or an interrupt address.
 *
 * The walk is that of VT-d 3.8, by the rules of 3.6 and 3.7. It stops at faults
 * of 7.1.3.
 *
 * A domain can be attached behind several IOMMUs. A feature counts as absent if
 * any IOMMU lacks it (see nested_walk_suit()): otherwise, a device of that
 * IOMMU could repeat a request forever, as the walk finds nothing missing. A
 * guest that gets an unnecessary request has nothing to do.
 *
 * Context: any, with interrupts off for at most 35 loads: 5 levels of 5 and 1,
 * and 5 more for the page.
 * Return: the number of entries loaded.
 */
unsigned int nested_walk(struct dmar_domain *domain, u64 addr, u32 perm,
			 struct iopf_stop *stop)
{
	struct dmar_domain *parent = domain->s2_domain;
	struct nested_walk walk = {
		.domain = domain,
		.parent = parent,
		.addr = addr,
		.want = (perm & (PERM_READ | PERM_WRITE)) ?: PERM_READ,
		.user = !(perm & IOMMU_FAULT_PERM_PRIV),
		.stop = stop,
	};
	unsigned long flags;

	/* VT-d 7.1.3, SPT.5 and SPT.6: the PASID entry refuses. */
	if (perm & IOMMU_FAULT_PERM_EXEC ||
	    (!walk.user && !(domain->s1_cfg.flags & IOMMU_VTD_S1_SRE))) {
		nested_walk_stop_at(&walk, IOPF_LEVEL_REFUSED, 0, 0);
		return 0;
	}

	scoped_guard(rcu) {
		spin_lock_irqsave(&parent->walk_lock, flags);
		nested_walk_tables(&walk);
		spin_unlock_irqrestore(&parent->walk_lock, flags);
	}

	return walk.loads;
}

/**
 * nested_walk_suit() - restrict walks to the features of an IOMMU
 * @domain: nested domain, about to be attached to a device of @iommu
 * @iommu: the IOMMU
 *
 * Walks use the features that all IOMMUs have in common behind which the domain
 * was ever attached: the host address width and 1 GiB pages, which determine
 * reserved bits (VT-d 9.7), and setting A/D, which requires coherent walks
 * (VT-d 7.1.3, SFS.9).
 *
 * Context: any, takes domain->lock.
 */
void nested_walk_suit(struct dmar_domain *domain, const struct intel_iommu *iommu)
{
	unsigned long flags;

	spin_lock_irqsave(&domain->lock, flags);
	WRITE_ONCE(domain->s1_haw, min(domain->s1_haw, iommu->haw));
	if (!cap_fl1gp_support(iommu->cap))
		WRITE_ONCE(domain->s1_1g, false);
	if (!ecap_smpwc(iommu->ecap))
		WRITE_ONCE(domain->s1_ad, false);
	spin_unlock_irqrestore(&domain->lock, flags);
}

/**
 * nested_walk_wait() - wait until no walk uses cleared entries
 * @domain: domain of any kind, in which second-level entries were cleared
 *
 * Call this after clearing entries and before freeing the pages that they led
 * to. These include the guest's tables, which the caller of iommu_unmap()
 * unpins when that returns. Second-level tables need no wait: they are freed
 * after a grace period.
 *
 * A walk holds walk_lock of the second level from its first load to its last.
 * If this function takes the lock after a walk has released it, all loads of
 * the walk are done, and the pages that it has read may be freed. If it takes
 * the lock before the walk does, releasing it orders the cleared entries before
 * the loads of the walk, which do not find the pages any more. (With RCU, every
 * unmap would have to wait for a grace period, because a callback cannot unpin
 * pages.)
 *
 * Domains that are not nest parents are not walked, and need only one check.
 *
 * Context: any. walk_lock is taken last, and nothing is taken under it.
 */
void nested_walk_wait(struct dmar_domain *domain)
{
	unsigned long flags;

	if (!domain->nested_parent)
		return;

	spin_lock_irqsave(&domain->walk_lock, flags);
	spin_unlock_irqrestore(&domain->walk_lock, flags);
}
