// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMUs and devices that exist in a KUnit test only: see vtd_fake.h.
 *
 * They have no registers and no queue, so real IOMMUs of the machine are not
 * affected. The model sees all stores, write-backs and submissions of the
 * driver.
 */

#include <kunit/device.h>
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/iommu.h>
#include <linux/iommu-gpasid.h>
#include <linux/kmsg_dump.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/string.h>

#include "pgtable_test.h"
#include "iommu.h"
#include "pasid.h"
#include "pasid_entry.h"
#include "vtd_fake.h"

#define FAKE_SEQ_ID	0x20000		/* far from those of real IOMMUs */
#define FAKE_BUS	0x40
#define FAKE_QDEP	5
#define FAKE_PRI	PCI_CFG_SPACE_SIZE	/* in configuration space */
#define FAKE_REQUESTS	64
#define FAKE_HAW	46
#define FAKE_DIDS	256
#define FAKE_PASIDS	64		/* as many as one PASID table holds */

static struct vtd_fake *current_fake(void)
{
	return kunit_get_current_test()->priv;
}

static void fake_store(struct intel_iommu *iommu, u64 *qword, u64 val)
{
	struct vtd_fake *fake = current_fake();

	fake->stores++;
	WRITE_ONCE(*qword, val);
	vtd_stored(fake->machine);
}

static void fake_store_chunk(struct intel_iommu *iommu, u64 *chunk, const u64 *val)
{
	struct vtd_fake *fake = current_fake();

	fake->stores++;
	WRITE_ONCE(chunk[0], val[0]);
	WRITE_ONCE(chunk[1], val[1]);
	vtd_stored(fake->machine);
}

static void fake_write_back(struct intel_iommu *iommu, void *addr, size_t size)
{
	vtd_written_back(current_fake()->machine, addr, size);
}

static void fake_fl_write_back(void *owner, void *addr, size_t size)
{
	fake_write_back(NULL, addr, size);
}

static int fake_submit(struct intel_iommu *iommu, struct qi_desc *desc,
		       unsigned int count, unsigned long options)
{
	struct kunit *test = kunit_get_current_test();
	struct vtd_fake *fake = test->priv;
	void (*meanwhile)(struct kunit *test) = fake->meanwhile;
	unsigned int i;

	fake->meanwhile = NULL;
	if (meanwhile)
		meanwhile(test);

	for (i = 0; i < count; i++) {
		if ((desc[i].qw0 & 0xf) == QI_DIOTLB_TYPE ||
		    (desc[i].qw0 & 0xf) == QI_DEIOTLB_TYPE)
			fake->tlb_descs++;
		if ((desc[i].qw0 & 0xf) != QI_PGRP_RESP_TYPE)
			continue;
		fake->responses++;
		fake->response[0] = desc[i].qw0;
		fake->response[1] = desc[i].qw1;
	}
	/* The second one is for the IOTLB: see intel_iommu_drain_pasid_prq(). */
	if ((options & QI_OPT_WAIT_DRAIN) && count > 1)
		fake->drain_did = desc[1].qw0 >> 16;
	fake->descs += count;
	fake->submissions++;
	vtd_submitted(fake->machine, iommu, desc, count);

	return 0;
}

static void fake_check(void *data)
{
	struct kunit *test = data;
	struct vtd_fake *fake = test->priv;

	vtd_expect_no_errors(test, fake->machine);
}

/**
 * vtd_fake_init() - start a test on fakes
 * @test: the test
 * @fake: becomes test->priv
 *
 * At the end the test fails if the model has reported an error.
 *
 * Return: 0 or a negative errno.
 */
int vtd_fake_init(struct kunit *test, struct vtd_fake *fake)
{
	if (!fake)
		return -ENOMEM;
	if (!intel_iommu_sm)
		kunit_skip(test, "scalable mode is disabled (intel_iommu=sm_off)");

	test->priv = fake;
	fake->machine = vtd_machine_create(test);
	kunit_activate_static_stub(test, pasid_entry_store, fake_store);
	kunit_activate_static_stub(test, pasid_entry_store_chunk, fake_store_chunk);
	kunit_activate_static_stub(test, iommu_write_back, fake_write_back);
	kunit_activate_static_stub(test, intel_paging_sync_entries, fake_fl_write_back);
	kunit_activate_static_stub(test, qi_submit_sync, fake_submit);

	return kunit_add_action_or_reset(test, fake_check, test);
}

/**
 * vtd_fake_page() - a page that hardware may read
 * @test: the test
 *
 * Return: the page, zeroed, and so in memory.
 */
void *vtd_fake_page(struct kunit *test)
{
	struct vtd_fake *fake = test->priv;
	void *page = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_TRUE(test, PAGE_ALIGNED(page));
	vtd_written_back(fake->machine, page, PAGE_SIZE);

	return page;
}

/**
 * vtd_fake_iommu() - an IOMMU without devices
 * @test: the test
 * @cap: Capability Register
 * @ecap: Extended Capability Register; without ECAP_SMTS it is in legacy mode
 *
 * Return: the IOMMU.
 */
struct intel_iommu *vtd_fake_iommu(struct kunit *test, u64 cap, u64 ecap)
{
	struct vtd_fake *fake = test->priv;
	struct intel_iommu *iommu;
	struct vtd_hw hw;

	iommu = kunit_kzalloc(test, sizeof(*iommu), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, iommu);
	iommu->domain_ids = kunit_kzalloc(test, BITS_TO_BYTES(FAKE_DIDS), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, iommu->domain_ids);
	/* Domain IDs that differ between IOMMUs, and from PASIDs */
	bitmap_set(iommu->domain_ids, 0, 100 + fake->nr_iommus);

	iommu->cap = cap;
	iommu->ecap = ecap;
	iommu->haw = FAKE_HAW;
	iommu->gcmd = DMA_GCMD_TE;
	iommu->seq_id = FAKE_SEQ_ID + fake->nr_iommus;
	iommu->node = NUMA_NO_NODE;
	iommu->agaw = iommu_calculate_agaw(iommu);
	iommu->msagaw = iommu_calculate_max_sagaw(iommu);
	iommu->flush.flush_context = qi_flush_context;
	iommu->flush.flush_iotlb = qi_flush_iotlb;
	snprintf(iommu->name, sizeof(iommu->name), "vtd-fake%u", fake->nr_iommus++);
	raw_spin_lock_init(&iommu->register_lock);
	raw_spin_lock_init(&iommu->device_rbtree_lock);
	spin_lock_init(&iommu->lock);
	mutex_init(&iommu->iopf_lock);
	iommu->iommu.dev = kunit_device_register(test, iommu->name);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, iommu->iommu.dev);

	iommu->root_entry = vtd_fake_page(test);
	hw = (struct vtd_hw) {
		.cap = cap,
		.ecap = ecap,
		.haw = FAKE_HAW,
		.rtaddr = virt_to_phys(iommu->root_entry) |
			  (sm_supported(iommu) ? DMA_RTADDR_SMT : 0),
	};
	vtd_model_add(fake->machine, iommu, &hw);

	return iommu;
}

/* A directory with its first table, so that the driver allocates none. */
static struct pasid_table *vtd_fake_pasid_table(struct kunit *test)
{
	struct pasid_dir_entry *dir = vtd_fake_page(test);
	struct vtd_fake *fake = test->priv;
	struct pasid_table *table;

	table = kunit_kzalloc(test, sizeof(*table), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, table);
	dir->val = virt_to_phys(vtd_fake_page(test)) | PASID_PTE_PRESENT;
	vtd_written_back(fake->machine, dir, sizeof(*dir));
	table->table = dir;
	table->max_pasid = FAKE_PASIDS;

	return table;
}

/* A context table of the test's, so that the driver allocates none */
static void fake_context_table(struct kunit *test, struct intel_iommu *iommu)
{
	struct root_entry *root = &iommu->root_entry[FAKE_BUS];
	struct vtd_fake *fake = test->priv;

	if (root->lo)
		return;
	root->lo = virt_to_phys(vtd_fake_page(test)) | 1;
	vtd_written_back(fake->machine, root, sizeof(*root));
}

/* Free the reserve like the core */
static void free_reserve(void *data)
{
	struct dev_iommu *dev_iommu = data;

	kfree(dev_iommu->fault_param_reserve);
}

/**
 * vtd_fake_device() - a device of a fake IOMMU
 * @test: the test
 * @iommu: the IOMMU
 * @ats: it has a TLB, which is enabled
 *
 * It has a context entry if the IOMMU is in scalable mode, else none until a
 * domain is attached.
 *
 * Return: the device.
 */
struct device *vtd_fake_device(struct kunit *test, struct intel_iommu *iommu, bool ats)
{
	struct vtd_fake *fake = test->priv;
	struct device_domain_info *info;
	struct dev_iommu *dev_iommu;
	struct device *dev;
	char name[24];

	info = kunit_kzalloc(test, sizeof(*info), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, info);
	dev_iommu = kunit_kzalloc(test, sizeof(*dev_iommu), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, dev_iommu);
	snprintf(name, sizeof(name), "vtd-fake-dev%u", fake->nr_devs);
	dev = kunit_device_register(test, name);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);

	info->dev = dev;
	info->iommu = iommu;
	info->bus = FAKE_BUS;
	info->devfn = fake->nr_devs++;
	info->ats_supported = ats;
	info->ats_enabled = ats;
	info->ats_qdep = FAKE_QDEP;
	info->pasid_supported = ecap_pasid(iommu->ecap);
	info->pasid_enabled = info->pasid_supported;
	if (sm_supported(iommu))
		info->pasid_table = vtd_fake_pasid_table(test);
#ifdef CONFIG_INTEL_IOMMU_DEBUGFS
	info->debugfs_dentry = ERR_PTR(-ENODEV);	/* show nothing */
#endif
	mutex_init(&dev_iommu->lock);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_reserve, dev_iommu));
	dev->iommu = dev_iommu;
	scoped_guard(mutex, &iommu_probe_device_lock)
		dev_iommu_priv_set(dev, info);
	vtd_model_add_device(vtd_fake_model(test, dev), PCI_DEVID(info->bus, info->devfn),
			     ats);
	fake_context_table(test, iommu);
	/* the driver sets up the context entry */
	if (sm_supported(iommu))
		KUNIT_ASSERT_EQ(test, 0, intel_pasid_setup_sm_context(dev));

	return dev;
}

/* A bus whose one device has a configuration space that is memory */
struct fake_bus {
	struct pci_bus bus;
	struct pci_sysdata sysdata;
	u8 config[2 * PCI_CFG_SPACE_SIZE];
};

static int fake_config_read(struct pci_bus *bus, unsigned int devfn, int where, int size,
			    u32 *val)
{
	*val = 0;
	memcpy(val, container_of(bus, struct fake_bus, bus)->config + where, size);

	return PCIBIOS_SUCCESSFUL;
}

static int fake_config_write(struct pci_bus *bus, unsigned int devfn, int where, int size,
			     u32 val)
{
	memcpy(container_of(bus, struct fake_bus, bus)->config + where, &val, size);

	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops fake_config_ops = {
	.read	= fake_config_read,
	.write	= fake_config_write,
};

/**
 * vtd_fake_pci_dev() - a PCI function in the place of a device
 * @test: the test
 * @dev: the device, which must not be used any more
 *
 * Its only capability is PRI, and its page requests have stopped.
 *
 * Return: the function.
 */
struct pci_dev *vtd_fake_pci_dev(struct kunit *test, struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct fake_bus *bus;
	struct pci_dev *pdev;

	pdev = kunit_kzalloc(test, sizeof(*pdev), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	bus = kunit_kzalloc(test, sizeof(*bus), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, bus);

	bus->bus.ops = &fake_config_ops;
	bus->bus.sysdata = &bus->sysdata;
	bus->config[FAKE_PRI + PCI_PRI_STATUS + 1] = PCI_PRI_STATUS_STOPPED >> 8;
	bus->config[FAKE_PRI + PCI_PRI_MAX_REQ] = FAKE_REQUESTS;
	pdev->bus = &bus->bus;
	pdev->devfn = info->devfn;
	pdev->error_state = pci_channel_io_normal;
	pdev->pri_cap = FAKE_PRI;
	pdev->pasid_required = 1;
	device_initialize(&pdev->dev);
	pdev->dev.bus = &pci_bus_type;
	pdev->dev.iommu = dev->iommu;
	dev->iommu->iommu_dev = &info->iommu->iommu;
	info->dev = &pdev->dev;

	return pdev;
}

/**
 * vtd_fake_iommu_of() - the IOMMU of a device
 * @dev: the device
 *
 * Return: the IOMMU.
 */
struct intel_iommu *vtd_fake_iommu_of(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	return info->iommu;
}

/**
 * vtd_fake_model() - the model of a device's IOMMU
 * @test: the test
 * @dev: the device
 *
 * Return: the model.
 */
struct vtd_model *vtd_fake_model(struct kunit *test, struct device *dev)
{
	struct vtd_fake *fake = test->priv;

	return vtd_model_find(fake->machine, vtd_fake_iommu_of(dev));
}

/**
 * vtd_fake_request() - a write of a device, by its TLB if it has one
 * @dev: the device
 * @pasid: PASID, or %IOMMU_NO_PASID for a request without one
 * @addr: the address
 *
 * Return: the request.
 */
struct vtd_request vtd_fake_request(struct device *dev, u32 pasid, u64 addr)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	return (struct vtd_request) {
		.sid = PCI_DEVID(info->bus, info->devfn),
		.pasid = pasid == IOMMU_NO_PASID ? VTD_NO_PASID : pasid,
		.addr = addr,
		.access = VTD_READ | VTD_WRITE,
		.ats = info->ats_enabled,
	};
}

/*
 * The same request with PASID 0, which the RID's entry translates as well, but
 * a device may cache separately in its TLB.
 */
static bool fake_pasid_0(struct device *dev, u32 pasid, struct vtd_request *req)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	req->pasid = 0;
	return pasid == IOMMU_NO_PASID && info->pasid_enabled;
}

/**
 * vtd_fake_watch() - make a device keep using an address
 * @test: the test
 * @dev: the device
 * @pasid: PASID, or %IOMMU_NO_PASID: without one, and with PASID 0
 * @addr: the address
 */
void vtd_fake_watch(struct kunit *test, struct device *dev, u32 pasid, u64 addr)
{
	struct vtd_request req = vtd_fake_request(dev, pasid, addr);
	struct vtd_model *model = vtd_fake_model(test, dev);

	vtd_model_watch(model, req.sid, req.pasid, req.addr);
	if (fake_pasid_0(dev, pasid, &req))
		vtd_model_watch(model, req.sid, req.pasid, req.addr);
}

static void fake_expect_page(struct kunit *test, struct device *dev,
			     struct vtd_request req, u64 hpa)
{
	vtd_expect_page(test, vtd_fake_model(test, dev), &req, hpa);
	req.ats = false;
	vtd_expect_page(test, vtd_fake_model(test, dev), &req, hpa);
}

/**
 * vtd_fake_expect() - expect that an address translates to another, and to
 * nothing else
 * @test: the test
 * @dev: the device
 * @pasid: PASID, or %IOMMU_NO_PASID: without one, and with PASID 0
 * @addr: the address
 * @hpa: the other
 */
void vtd_fake_expect(struct kunit *test, struct device *dev, u32 pasid, u64 addr,
		     u64 hpa)
{
	struct vtd_request req = vtd_fake_request(dev, pasid, addr);

	fake_expect_page(test, dev, req, hpa);
	if (fake_pasid_0(dev, pasid, &req))
		fake_expect_page(test, dev, req, hpa);
}

static void fake_expect_gone(struct kunit *test, struct device *dev,
			     struct vtd_request req)
{
	vtd_expect_gone(test, vtd_fake_model(test, dev), &req);
	req.ats = false;
	vtd_expect_gone(test, vtd_fake_model(test, dev), &req);
}

/**
 * vtd_fake_expect_gone() - expect that an address does not translate
 * @test: the test
 * @dev: the device
 * @pasid: PASID, or %IOMMU_NO_PASID: without one, and with PASID 0
 * @addr: the address
 */
void vtd_fake_expect_gone(struct kunit *test, struct device *dev, u32 pasid, u64 addr)
{
	struct vtd_request req = vtd_fake_request(dev, pasid, addr);

	fake_expect_gone(test, dev, req);
	if (fake_pasid_0(dev, pasid, &req))
		fake_expect_gone(test, dev, req);
}

KUNIT_DEFINE_ACTION_WRAPPER(free_domain, iommu_domain_free, struct iommu_domain *);

/**
 * vtd_fake_keep() - free a domain at the end of a test
 * @test: the test, which fails if there is no domain
 * @domain: the result of the driver's allocation
 *
 * The domain is freed when the test ends.
 *
 * Return: the domain.
 */
struct dmar_domain *vtd_fake_keep(struct kunit *test, struct iommu_domain *domain)
{
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, domain);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_domain, domain));
	domain->owner = &intel_iommu_ops;

	return to_dmar_domain(domain);
}

/**
 * vtd_fake_has_id() - whether a domain has a domain ID
 * @domain: the domain
 *
 * Return: true if it has one on any IOMMU.
 */
bool vtd_fake_has_id(struct dmar_domain *domain)
{
	struct iommu_domain_info *info;
	unsigned long i;

	xa_for_each(&domain->iommu_array, i, info) {
		if (info->refcnt)
			return true;
	}

	return false;
}

/**
 * vtd_fake_domain() - allocate a domain as iommufd does
 * @test: the test
 * @dev: the device
 * @flags: IOMMU_HWPT_ALLOC_...
 *
 * Return: the domain.
 */
struct dmar_domain *vtd_fake_domain(struct kunit *test, struct device *dev, u32 flags)
{
	return vtd_fake_keep(test, intel_iommu_ops.domain_alloc_user(dev, flags, NULL, NULL));
}

/**
 * vtd_fake_store() - change a table of the test, and write the change back
 * @test: the test
 * @slot: the entry
 * @val: its new value
 */
void vtd_fake_store(struct kunit *test, u64 *slot, u64 val)
{
	struct vtd_fake *fake = test->priv;

	*slot = val;
	vtd_written_back(fake->machine, slot, sizeof(*slot));
}

/**
 * vtd_fake_table() - build a first-level table
 * @test: the test
 * @levels: number of levels
 * @base: offset of its pages' addresses from host addresses
 * @addr: the address to map
 * @pa: the page to map it to
 *
 * Return: the table.
 */
struct vtd_table vtd_fake_table(struct kunit *test, unsigned int levels, u64 base,
				u64 addr, u64 pa)
{
	u64 entry = pa | FL_PAGE, *slot;
	struct vtd_table table = {};
	unsigned int level;

	for (level = 1; level <= levels; level++) {
		table.page[level] = vtd_fake_page(test);
		slot = &table.page[level][addr >> (3 + 9 * level) & 511];
		vtd_fake_store(test, slot, entry);
		if (level == 1)
			table.leaf = slot;
		table.root = base + virt_to_phys(table.page[level]);
		entry = table.root | FL_TABLE;
	}

	return table;
}

struct fake_thread {
	struct task_struct *task;
	vtd_fake_fn run;
	void *data;
	struct completion done;
};

static int fake_thread_main(void *data)
{
	struct fake_thread *thread = data;

	thread->run(thread->data);
	kthread_complete_and_exit(&thread->done, 0);
}

/**
 * vtd_fake_run() - run functions at the same time, each in its own thread
 * @test: the test
 * @run: the functions
 * @nr: how many there are
 * @data: their argument
 *
 * Returns when all have returned. None runs if there is no memory for all
 * threads.
 *
 * KUnit does not associate the threads with the test, so the model does not see
 * their stores and submissions.
 */
void vtd_fake_run(struct kunit *test, const vtd_fake_fn *run, unsigned int nr, void *data)
{
	struct fake_thread *threads;
	unsigned int i;

	threads = kunit_kcalloc(test, nr, sizeof(*threads), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, threads);
	for (i = 0; i < nr; i++) {
		threads[i].run = run[i];
		threads[i].data = data;
		init_completion(&threads[i].done);
		threads[i].task = kthread_create(fake_thread_main, &threads[i], "vtd-fake/%u",
						 i);
		if (IS_ERR(threads[i].task))
			break;
	}
	if (i < nr) {
		while (i--)
			kthread_stop(threads[i].task);
		KUNIT_FAIL_AND_ABORT(test, "no memory for threads");
	}

	for (i = 0; i < nr; i++)
		wake_up_process(threads[i].task);
	for (i = 0; i < nr; i++)
		wait_for_completion(&threads[i].done);
}

static void fake_call_work(struct work_struct *work)
{
	struct vtd_fake_call *call = container_of(work, struct vtd_fake_call, work);

	call->run(call->data);
	WRITE_ONCE(call->done, true);
}

/**
 * vtd_fake_call() - call a function on another CPU, and see whether it waits
 * @call: the call; flush its work before it is freed
 * @run: the function, which may sleep
 * @data: its argument
 *
 * For the moments in which the driver holds a lock or is an RCU reader. As with
 * vtd_fake_run(), the model does not see what the function does.
 *
 * Context: any, on a machine with several CPUs; waits for up to 100 ms.
 *
 * Return: whether @run has returned.
 */
bool vtd_fake_call(struct vtd_fake_call *call, vtd_fake_fn run, void *data)
{
	unsigned int cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	unsigned int ms;

	INIT_WORK(&call->work, fake_call_work);
	call->run = run;
	call->data = data;
	call->done = false;
	queue_work_on(cpu, system_wq, &call->work);
	for (ms = 0; ms < 100 && !READ_ONCE(call->done); ms++)
		mdelay(1);

	return READ_ONCE(call->done);
}

/**
 * vtd_fake_log_lines() - count messages
 * @text: text to search for
 *
 * Return: the number of lines of the kernel's log with @text. Tests compare it
 * with the number before.
 */
unsigned int vtd_fake_log_lines(const char *text)
{
	struct kmsg_dump_iter iter;
	unsigned int lines = 0;
	char line[160];

	kmsg_dump_rewind(&iter);
	while (kmsg_dump_get_line(&iter, false, line, sizeof(line), NULL))
		lines += !!strstr(line, text);

	return lines;
}

/**
 * vtd_guest_map() - map memory for a guest
 * @test: the test
 * @parent: the guest's second level
 * @gpa: where the guest finds it
 * @pa: where the host has it
 * @size: bytes
 */
void vtd_guest_map(struct kunit *test, struct dmar_domain *parent, u64 gpa, u64 pa,
		   size_t size)
{
	KUNIT_ASSERT_EQ(test, 0, iommu_map(&parent->domain, gpa, pa, size,
					   IOMMU_READ | IOMMU_WRITE, GFP_KERNEL));
}

/**
 * vtd_guest_table() - build a first-level table in a guest's memory
 * @test: the test
 * @parent: the guest's second level, which gets the pages of the table
 * @addr: the address to map
 * @gpa: the guest-physical page to map it to
 *
 * Return: the table.
 */
struct vtd_table vtd_guest_table(struct kunit *test, struct dmar_domain *parent, u64 addr,
				 u64 gpa)
{
	struct vtd_table table = vtd_fake_table(test, 4, GUEST_TABLES, addr, gpa);
	unsigned int level;

	for (level = 1; level <= 4; level++) {
		u64 pa = virt_to_phys(table.page[level]);

		vtd_guest_map(test, parent, GUEST_TABLES + pa, pa, SZ_4K);
	}

	return table;
}

/**
 * vtd_guest_bind_data() - make the data to bind a guest's table
 * @root: guest-physical address of the table
 *
 * Return: the data.
 */
struct iommu_gpasid_bind_data vtd_guest_bind_data(u64 root)
{
	return (struct iommu_gpasid_bind_data) {
		.pasid		= 1,
		.root		= root,
		.addr_width	= 48,
	};
}

/**
 * vtd_guest_nested() - nest a guest's table
 * @test: the test
 * @dev: a device of the guest
 * @parent: the guest's second level
 * @root: guest-physical address of the table
 *
 * Return: the domain.
 */
struct dmar_domain *vtd_guest_nested(struct kunit *test, struct device *dev,
				     struct dmar_domain *parent, u64 root)
{
	struct iommu_gpasid_bind_data data = vtd_guest_bind_data(root);

	return vtd_fake_keep(test, intel_gpasid_ops.domain_alloc(dev, &parent->domain,
								 &data));
}
