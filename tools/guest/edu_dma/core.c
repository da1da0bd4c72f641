// SPDX-License-Identifier: GPL-2.0
/*
 * Driver that tests DMA remapping with the DMA of QEMU's edu device: this file
 * binds the devices, runs their DMA engine and checks the results.  The KUnit
 * suites are in the other files.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/spinlock.h>
#include <trace/events/printk.h>

#include "edu_dma.h"

struct edu edu_devices[EDU_MAX];
int edu_count;

static ulong arena;
module_param(arena, ulong, 0444);
MODULE_PARM_DESC(arena, "address of 1 GiB of RAM set aside by memmap=1G$address");

u64 edu_arena_phys;
void *edu_arena;

/*
 * The VT-d driver reports faults only in the log, so the log is watched, as the
 * tests of KFENCE and KASAN do.
 */
#define MAX_FAULTS	64

struct fault {
	unsigned int bus, slot, function;
	bool write;
	u64 addr;
};

static struct fault faults[MAX_FAULTS];
static int fault_count;
static DEFINE_RAW_SPINLOCK(fault_lock);

static void watch_log(void *unused, const char *text, size_t len)
{
	char line[128];
	struct fault fault;
	unsigned long flags;
	const char *request;

	strscpy(line, text, min(len + 1, sizeof(line)));
	request = strstr(line, "Request device [");
	if (!strstr(line, "[DMA ") || !request)
		return;
	/* Newer kernels print the segment, 0000:, as well. */
	request += strlen("Request device [");
	if (!strncmp(request, "0000:", 5))
		request += 5;
	if (sscanf(request, "%x:%x.%u] fault addr %llx", &fault.bus, &fault.slot,
		   &fault.function, &fault.addr) != 4)
		return;
	fault.write = strstr(line, "[DMA Write");

	raw_spin_lock_irqsave(&fault_lock, flags);
	if (fault_count < MAX_FAULTS)
		faults[fault_count++] = fault;
	raw_spin_unlock_irqrestore(&fault_lock, flags);
}

static bool take_fault(struct edu *edu, u64 iova, bool write)
{
	bool found = false;
	int i;

	raw_spin_lock_irq(&fault_lock);
	for (i = 0; i < fault_count && !found; i++) {
		found = PCI_DEVID(faults[i].bus, PCI_DEVFN(faults[i].slot,
							   faults[i].function)) == edu->rid &&
			faults[i].addr == iova && faults[i].write == write;
		if (found)
			faults[i] = faults[--fault_count];
	}
	raw_spin_unlock_irq(&fault_lock);
	return found;
}

/* Print, count and forget the faults that no test expected. */
int edu_unexpected_faults(void)
{
	int i, count;

	raw_spin_lock_irq(&fault_lock);
	count = fault_count;
	for (i = 0; i < count; i++)
		pr_err("unexpected fault of %02x:%02x.%u at 0x%llx, %s\n",
		       faults[i].bus, faults[i].slot, faults[i].function,
		       faults[i].addr, faults[i].write ? "write" : "read");
	fault_count = 0;
	raw_spin_unlock_irq(&fault_lock);
	return count;
}

/*
 * The VT-d driver prints at most ten messages in 5 s, and a fault takes three of
 * them (one is not printed): the report of a fourth fault in 5 s would be lost.
 */
static unsigned long last_faults[3];

static void pace_faults(void)
{
	static int n;
	unsigned long next = last_faults[n] + msecs_to_jiffies(5200);

	if (time_before(jiffies, next))
		msleep(jiffies_to_msecs(next - jiffies));
	last_faults[n] = jiffies;
	n = (n + 1) % ARRAY_SIZE(last_faults);
}

static void expect_fault(struct kunit *test, struct edu *edu, u64 iova,
			 bool write)
{
	/* A read is answered before the fault's interrupt has been handled. */
	bool found = wait_in_rounds(take_fault(edu, iova, write));

	KUNIT_EXPECT_TRUE_MSG(test, found, "no fault reported for a %s of %s at 0x%llx",
			      write ? "write" : "read", pci_name(edu->pdev), iova);
}

u32 edu_new_seed(void)
{
	static atomic_t seed;

	return atomic_inc_return(&seed);
}

static int edu_run(struct edu *edu, u64 src, u64 dst, u32 count, u32 dir)
{
	writeq(src, edu->regs + EDU_DMA_SRC);
	writeq(dst, edu->regs + EDU_DMA_DST);
	writeq(count, edu->regs + EDU_DMA_COUNT);
	writel(EDU_DMA_RUN | dir, edu->regs + EDU_DMA_CMD);
	return wait_in_rounds(!(readl(edu->regs + EDU_DMA_CMD) & EDU_DMA_RUN)) ?
		0 : -ETIMEDOUT;
}

/* RAM at @iova to the device's buffer. */
int edu_copy_in(struct edu *edu, u64 iova, u32 count)
{
	return edu_run(edu, iova, EDU_BUFFER, count, 0);
}

/* The device's buffer to RAM at @iova. */
int edu_copy_out(struct edu *edu, u64 iova, u32 count)
{
	return edu_run(edu, EDU_BUFFER, iova, count, EDU_DMA_TO_RAM);
}

/* Put a fresh pattern into the device's buffer; return its seed. */
static u32 load_buffer(struct kunit *test, struct edu *edu)
{
	u32 seed = edu_new_seed();

	fill_page(edu->page, seed);
	KUNIT_EXPECT_EQ(test, edu_copy_in(edu, edu->iova, EDU_BUFFER_SIZE), 0);
	return seed;
}

/* Bring the device's buffer to edu->page. */
static void store_buffer(struct kunit *test, struct edu *edu)
{
	fill_page(edu->page, edu_new_seed());
	KUNIT_EXPECT_EQ(test, edu_copy_out(edu, edu->iova, EDU_BUFFER_SIZE), 0);
}

/* The device reads a page at @iova and finds the pattern of @seed. */
void edu_expect_reads(struct kunit *test, struct edu *edu, u64 iova, u32 seed)
{
	KUNIT_EXPECT_EQ(test, edu_copy_in(edu, iova, EDU_BUFFER_SIZE), 0);
	store_buffer(test, edu);
	KUNIT_EXPECT_TRUE_MSG(test, page_holds(edu->page, seed),
			      "%s read something else at 0x%llx",
			      pci_name(edu->pdev), iova);
}

/* What the device writes at @iova arrives in @page. */
void edu_expect_writes(struct kunit *test, struct edu *edu, u64 iova,
		       const void *page)
{
	u32 seed = load_buffer(test, edu);

	KUNIT_EXPECT_EQ(test, edu_copy_out(edu, iova, EDU_BUFFER_SIZE), 0);
	KUNIT_EXPECT_TRUE_MSG(test, page_holds(page, seed),
			      "what %s wrote at 0x%llx is not there",
			      pci_name(edu->pdev), iova);
}

/* A read at @iova is refused: a fault, and the device never sees @secret. */
void edu_expect_no_read(struct kunit *test, struct edu *edu, u64 iova,
			u32 secret)
{
	load_buffer(test, edu);
	pace_faults();
	KUNIT_EXPECT_EQ(test, edu_copy_in(edu, iova, EDU_BUFFER_SIZE), 0);
	expect_fault(test, edu, iova, false);
	store_buffer(test, edu);
	KUNIT_EXPECT_FALSE_MSG(test, page_holds(edu->page, secret),
			       "%s could read at 0x%llx",
			       pci_name(edu->pdev), iova);
}

/* A write at @iova is refused: a fault, and @page still holds @seed. */
void edu_expect_no_write(struct kunit *test, struct edu *edu, u64 iova,
			 const void *page, u32 seed)
{
	load_buffer(test, edu);
	pace_faults();
	KUNIT_EXPECT_EQ(test, edu_copy_out(edu, iova, EDU_BUFFER_SIZE), 0);
	expect_fault(test, edu, iova, true);
	KUNIT_EXPECT_TRUE_MSG(test, page_holds(page, seed),
			      "%s changed memory through 0x%llx",
			      pci_name(edu->pdev), iova);
}

struct edu *edu_get(struct kunit *test, int index)
{
	KUNIT_ASSERT_LT_MSG(test, index, edu_count, "edu device %d is missing",
			    index);
	return &edu_devices[index];
}

/*
 * A PCIe-to-PCI bridge replaces the requester ID by function 0 of slot 0 of its secondary
 * bus, a conventional bridge by its own ID.
 */
static u16 requester_id(struct pci_dev *pdev)
{
	struct pci_dev *bridge = pdev->bus->self;

	if (bridge && !pci_is_pcie(bridge))
		return pci_dev_id(bridge);
	if (bridge && pci_pcie_type(bridge) == PCI_EXP_TYPE_PCI_BRIDGE)
		return PCI_DEVID(pdev->bus->number, 0);

	return pci_dev_id(pdev);
}

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct edu *edu = &edu_devices[edu_count];
	int ret;

	if (edu_count == EDU_MAX)
		return -ENOSPC;

	ret = start_device(pdev, EDU_ID, EDU_ID_VALUE, &edu->regs);
	if (ret)
		return ret;
	edu->page = (void *)devm_get_free_pages(&pdev->dev, GFP_KERNEL, 0);
	if (!edu->page)
		return -ENOMEM;
	edu->pdev = pdev;
	edu->rid = requester_id(pdev);
	pci_set_master(pdev);
	edu_count++;
	return 0;
}

static const struct pci_device_id edu_ids[] = {
	{ PCI_DEVICE(EDU_VENDOR, EDU_DEVICE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, edu_ids);

/* Devices are bound when the module is loaded, and unbound when it is removed. */
static struct pci_driver edu_driver = {
	.name = KBUILD_MODNAME,
	.id_table = edu_ids,
	.probe = edu_probe,
	.driver.suppress_bind_attrs = true,
};

static int __init edu_init(void)
{
	int ret, i;

	/* A module loaded earlier may just have caused faults. */
	for (i = 0; i < ARRAY_SIZE(last_faults); i++)
		last_faults[i] = jiffies;

	if (arena) {
		edu_arena_phys = arena;
		edu_arena = memremap(arena, SZ_1G, MEMREMAP_WB);
		if (!edu_arena)
			return -ENOMEM;
	}
	ret = register_trace_console(watch_log, NULL);
	if (ret)
		goto unmap;
	ret = pci_register_driver(&edu_driver);
	if (ret)
		goto unwatch;
	return 0;

unwatch:
	unregister_trace_console(watch_log, NULL);
	tracepoint_synchronize_unregister();
unmap:
	if (edu_arena)
		memunmap(edu_arena);
	return ret;
}
module_init(edu_init);

static void __exit edu_exit(void)
{
	pci_unregister_driver(&edu_driver);
	unregister_trace_console(watch_log, NULL);
	tracepoint_synchronize_unregister();
	if (edu_arena)
		memunmap(edu_arena);
}
module_exit(edu_exit);

MODULE_DESCRIPTION("KUnit tests of DMA remapping with QEMU's edu device");
MODULE_LICENSE("GPL");
