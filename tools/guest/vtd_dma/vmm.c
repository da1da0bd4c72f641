// SPDX-License-Identifier: GPL-2.0
/*
 * DMA of a device that a VMM has assigned to this guest ("make vmm"), through page tables
 * of the guest's kernel: that of the RID by the DMA API, those of PASIDs by the IOMMU API.
 * The PASIDs use the same addresses; only the tables differ.
 *
 * Writing the name of a step to the parameter "step" runs it. Steps must be run in the
 * order of the table below. They print KTAP lines.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/module.h>
#include <linux/sizes.h>

#include "../dma_test.h"
#include "vtd_dma.h"

#define IOVA		0x7f1200000000		/* of PASIDs */
#define SIZE		SZ_2M
#define FROM		0			/* what the device reads */
#define TO		(SIZE - PAGE_SIZE)	/* where it writes to */

/* The address space of a PASID, or of requests without PASID */
struct space {
	const char *name;
	u32 pasid;
	struct iommu_domain *domain;		/* PASIDs only */
	void *memory;
	u64 addr;
	bool failed;				/* and so do all further steps */
};

static struct testdev *testdev;
static struct space spaces[] = {
	{ "rid", RID }, { "pasid_1", 1 }, { "pasid_last" },
};

/* ---- DMA ---- */

/* Read a page at FROM and write one at TO; @how is PLAIN or BY_TLB. */
static bool moves(struct space *s, u32 how, u32 expected)
{
	u32 read, written;

	read = testdev_copies(testdev, VTDT_READ | how, s->pasid, s->addr + FROM);
	written = testdev_copies(testdev, VTDT_WRITE | how, s->pasid, s->addr + TO);
	if (read == expected && written == expected)
		return true;
	pr_info("# %s: read: status %u, write: status %u\n",
		how == BY_TLB ? "device TLB" : "untranslated", read, written);
	return false;
}

/* The device reads a page with a new pattern and writes it elsewhere. */
static bool copies(struct space *s, u32 how)
{
	static u32 seed;

	fill_page(s->memory + FROM, ++seed);
	memset(s->memory + TO, 0, PAGE_SIZE);
	return moves(s, how, VTDT_OK) && page_holds(s->memory + TO, seed);
}

/* Both are refused, and the memory does not change. */
static bool is_refused(struct space *s, u32 how)
{
	fill_page(s->memory + TO, 0);
	return moves(s, how, how == BY_TLB ? VTDT_NOT_TRANSLATED : VTDT_REFUSED) &&
	       page_holds(s->memory + TO, 0);
}

static bool copies_both(struct space *s)
{
	return copies(s, PLAIN) & copies(s, BY_TLB);
}

static bool refused_both(struct space *s)
{
	return is_refused(s, PLAIN) & is_refused(s, BY_TLB);
}

/* ---- tables ---- */

static int attach(struct space *s)
{
	if (s->pasid == RID)
		return 0;
	s->domain = iommu_paging_domain_alloc(&testdev->pdev->dev);
	if (IS_ERR(s->domain))
		return PTR_ERR(s->domain);
	return iommu_attach_device_pasid(s->domain, &testdev->pdev->dev, s->pasid, NULL);
}

static void detach(struct space *s)
{
	if (s->pasid == RID)
		return;
	iommu_detach_device_pasid(s->domain, &testdev->pdev->dev, s->pasid);
	iommu_domain_free(s->domain);
}

static int map(struct space *s)
{
	s->memory = (void *)__get_free_pages(GFP_KERNEL, get_order(SIZE));
	if (!s->memory)
		return -ENOMEM;
	if (s->pasid == RID) {
		s->addr = dma_map_single(&testdev->pdev->dev, s->memory, SIZE, DMA_BIDIRECTIONAL);
		return dma_mapping_error(&testdev->pdev->dev, s->addr);
	}
	s->addr = IOVA;
	return iommu_map(s->domain, s->addr, virt_to_phys(s->memory), SIZE,
			 IOMMU_READ | IOMMU_WRITE, GFP_KERNEL);
}

static bool unmap(struct space *s)
{
	if (s->pasid != RID)
		return iommu_unmap(s->domain, s->addr, SIZE) == SIZE;
	dma_unmap_single(&testdev->pdev->dev, s->addr, SIZE, DMA_BIDIRECTIONAL);
	return true;
}

/* ---- steps ---- */

static bool mapped(struct space *s)
{
	int ret = attach(s) ?: map(s);

	if (ret)
		pr_info("# error %d\n", ret);
	return !ret && copies_both(s);
}

/* The memory is not freed yet: refused_both() checks that it does not change. */
static bool unmapped(struct space *s)
{
	return unmap(s) && refused_both(s);
}

/* Other memory at the same address: no entry of the old memory is still cached. */
static bool mapped_again(struct space *s)
{
	void *old = s->memory;
	bool ok = !map(s) && copies_both(s);

	free_pages((unsigned long)old, get_order(SIZE));
	return ok;
}

static bool detached(struct space *s)
{
	bool ok = unmap(s);

	detach(s);
	ok = ok && refused_both(s);
	free_pages((unsigned long)s->memory, get_order(SIZE));
	return ok;
}

static const struct step {
	const char *name;
	bool (*run)(struct space *s);
} steps[] = {
	{ "mapped", mapped }, { "unmapped", unmapped },
	{ "mapped_again", mapped_again }, { "detached", detached },
};

static void run_step(const struct step *step)
{
	static int number;
	struct space *s;

	for (s = spaces; s < spaces + ARRAY_SIZE(spaces); s++) {
		s->failed = s->failed || !step->run(s);
		pr_info("%sok %d %s.%s\n", s->failed ? "not " : "", ++number,
			s->name, step->name);
	}
}

static int set_step(const char *name, const struct kernel_param *unused)
{
	static int next;

	testdev = testdev_find();
	if (!testdev || next == ARRAY_SIZE(steps) ||
	    !sysfs_streq(name, steps[next].name))
		return -EINVAL;
	spaces[2].pasid = testdev->pdev->dev.iommu->max_pasids - 1;
	run_step(&steps[next++]);
	return 0;
}

static const struct kernel_param_ops step_ops = { .set = set_step };
module_param_cb(step, &step_ops, NULL, 0200);
MODULE_PARM_DESC(step, "run this step of DMA in a VMM's guest");
