// SPDX-License-Identifier: GPL-2.0
/*
 * Driver for vtd-testdev that a guest loads when a VMM has assigned the device
 * to it ("make vmm"): DMA through the tables that the guest's kernel makes, of
 * the RID by the DMA API, of PASIDs by the IOMMU API.  The PASIDs use the same
 * addresses; only the tables tell them apart.
 *
 * Each step is done when its name is written to the parameter "step", in the
 * order of the table below, and prints lines of KTAP.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-mapping.h>
#include <linux/hash.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/pci.h>

#include "../vtd_testdev.h"

#define IOVA		0x7f1200000000		/* of PASIDs */
#define SIZE		SZ_2M
#define FROM		0			/* what the device reads */
#define TO		(SIZE - PAGE_SIZE)	/* where it writes to */

/* What the device sees with a PASID, or without */
struct space {
	const char *name;
	u32 pasid;
	struct iommu_domain *domain;		/* of a PASID */
	void *memory;
	u64 addr;
	bool failed;				/* no further step makes sense */
};

static struct pci_dev *testdev;
static void __iomem *regs;
static struct space spaces[] = {
	{ "rid", IOMMU_NO_PASID }, { "pasid_1", 1 }, { "pasid_last" },
};

/* ---- the device ---- */

static u32 dma(struct space *s, u32 op, u64 addr)
{
	u32 status;

	if (s->pasid != IOMMU_NO_PASID)
		op |= VTDT_HAS_PASID;
	memset_io(regs + VTDT_COMMAND, 0, sizeof(struct vtdt_command));
	writel(op, regs + VTDT_COMMAND);
	writel(s->pasid, regs + VTDT_COMMAND + offsetof(struct vtdt_command, pasid));
	writel(lower_32_bits(addr), regs + VTDT_COMMAND + offsetof(struct vtdt_command, addr));
	writel(upper_32_bits(addr), regs + VTDT_COMMAND + offsetof(struct vtdt_command, addr) + 4);
	writel(PAGE_SIZE, regs + VTDT_COMMAND + offsetof(struct vtdt_command, length));
	writel(VTDT_GO_COMMAND, regs + VTDT_GO);
	readl_poll_timeout(regs + VTDT_COMMAND + offsetof(struct vtdt_command, status),
			   status, status != VTDT_PENDING, 1000, 5 * USEC_PER_SEC);
	return status;
}

static void fill(void *page, u32 seed)
{
	u64 *words = page;
	int i;

	for (i = 0; i < PAGE_SIZE / sizeof(*words); i++)
		words[i] = (((u64)seed << 32) + i + 1) * GOLDEN_RATIO_64;
}

/*
 * The device reads a page that was never there before, and writes it elsewhere.
 * @how: 0 for untranslated requests, VTDT_ATS for its own TLB's addresses
 */
static bool copies(struct space *s, u32 how)
{
	static u32 seed;
	u32 read, written;

	fill(s->memory + FROM, ++seed);
	memset(s->memory + TO, 0, PAGE_SIZE);
	read = dma(s, VTDT_READ | how, s->addr + FROM);
	written = dma(s, VTDT_WRITE | how, s->addr + TO);
	if (read == VTDT_OK && written == VTDT_OK &&
	    !memcmp(s->memory + FROM, s->memory + TO, PAGE_SIZE))
		return true;
	pr_info("# %s: read: status %u, write: status %u\n",
		how ? "device TLB" : "untranslated", read, written);
	return false;
}

/* Neither is possible, and the memory stays as it is. */
static bool is_refused(struct space *s, u32 how)
{
	u32 expected = how ? VTDT_NOT_TRANSLATED : VTDT_REFUSED;
	u32 read, written;

	fill(s->memory + TO, 0);
	read = dma(s, VTDT_READ | how, s->addr + FROM);
	written = dma(s, VTDT_WRITE | how, s->addr + TO);
	fill(s->memory + FROM, 0);
	if (read == expected && written == expected &&
	    !memcmp(s->memory + FROM, s->memory + TO, PAGE_SIZE))
		return true;
	pr_info("# %s: read: status %u, write: status %u\n",
		how ? "device TLB" : "untranslated", read, written);
	return false;
}

static bool copies_both(struct space *s)
{
	return copies(s, 0) & copies(s, VTDT_ATS);
}

static bool refused_both(struct space *s)
{
	return is_refused(s, 0) & is_refused(s, VTDT_ATS);
}

/* ---- tables ---- */

static int attach(struct space *s)
{
	if (s->pasid == IOMMU_NO_PASID)
		return 0;
	s->domain = iommu_paging_domain_alloc(&testdev->dev);
	if (IS_ERR(s->domain))
		return PTR_ERR(s->domain);
	return iommu_attach_device_pasid(s->domain, &testdev->dev, s->pasid, NULL);
}

static void detach(struct space *s)
{
	if (s->pasid == IOMMU_NO_PASID)
		return;
	iommu_detach_device_pasid(s->domain, &testdev->dev, s->pasid);
	iommu_domain_free(s->domain);
}

static int map(struct space *s)
{
	s->memory = (void *)__get_free_pages(GFP_KERNEL, get_order(SIZE));
	if (!s->memory)
		return -ENOMEM;
	if (s->pasid == IOMMU_NO_PASID) {
		s->addr = dma_map_single(&testdev->dev, s->memory, SIZE, DMA_BIDIRECTIONAL);
		return dma_mapping_error(&testdev->dev, s->addr);
	}
	s->addr = IOVA;
	return iommu_map(s->domain, s->addr, virt_to_phys(s->memory), SIZE,
			 IOMMU_READ | IOMMU_WRITE, GFP_KERNEL);
}

static bool unmap(struct space *s)
{
	if (s->pasid != IOMMU_NO_PASID)
		return iommu_unmap(s->domain, s->addr, SIZE) == SIZE;
	dma_unmap_single(&testdev->dev, s->addr, SIZE, DMA_BIDIRECTIONAL);
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

/* The memory is kept, so that it can be seen that nothing writes to it. */
static bool unmapped(struct space *s)
{
	return unmap(s) && refused_both(s);
}

/* Other memory where the old was: what was remembered of the old is gone. */
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

	if (!testdev || next == ARRAY_SIZE(steps) ||
	    !sysfs_streq(name, steps[next].name))
		return -EINVAL;
	run_step(&steps[next++]);
	return 0;
}

static const struct kernel_param_ops step_ops = { .set = set_step };
module_param_cb(step, &step_ops, NULL, 0200);
MODULE_PARM_DESC(step, "do this");

static int vmm_dma_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = pcim_iomap_regions(pdev, BIT(0), KBUILD_MODNAME);
	if (ret)
		return ret;
	regs = pcim_iomap_table(pdev)[0];
	if (readl(regs + VTDT_ID) != VTDT_ID_VALUE)
		return -ENODEV;
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	pci_set_master(pdev);
	spaces[2].pasid = pdev->dev.iommu->max_pasids - 1;
	testdev = pdev;
	pr_info("PASIDs up to %#x\n", spaces[2].pasid);
	return 0;
}

static const struct pci_device_id vmm_dma_ids[] = {
	{ PCI_DEVICE(VTDT_VENDOR, VTDT_DEVICE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, vmm_dma_ids);

static struct pci_driver vmm_dma_driver = {
	.name = KBUILD_MODNAME,
	.id_table = vmm_dma_ids,
	.probe = vmm_dma_probe,
	.driver.suppress_bind_attrs = true,
};
module_pci_driver(vmm_dma_driver);

MODULE_DESCRIPTION("DMA of an assigned vtd-testdev through a guest's own tables");
MODULE_LICENSE("GPL");
