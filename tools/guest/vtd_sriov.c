// SPDX-License-Identifier: GPL-2.0
/*
 * Virtual functions of vtd-testdev by VFIO and iommufd: each has separate translations,
 * and operations on one do not affect the others.  Prints TAP.
 *
 * PF names the physical function, VF0 and VF1 two of its virtual ones.
 */
#include "kselftest_harness.h"
#include "vtd_vmm.h"

#define IOVA		0x7f1234400000UL
#define PASID		0x12345
#define FUNCTIONS	3

enum { VF0, VF1, PF };

/* Each function has a separate IOAS and memory. */
FIXTURE(sriov)
{
	struct vmm vmm[FUNCTIONS];
	unsigned int page[FUNCTIONS];	/* at IOVA, and nowhere else */
};

FIXTURE_VARIANT(sriov)
{
	unsigned int pasid;
};

FIXTURE_VARIANT_ADD(sriov, rid) { RID };
FIXTURE_VARIANT_ADD(sriov, pasid) { PASID };

static bool open_function(struct vmm *vmm, const char *variable, unsigned int pasid,
			  unsigned int *page)
{
	if (!open_guest(vmm, getenv(variable)))
		return false;
	vmm->parent = new_paging(vmm, 0, 0);
	*page = new_data(vmm);
	return vmm->parent && map_area(vmm, IOVA, vmm->guest[*page], PAGE) &&
	       attach(vmm, pasid, vmm->parent);
}

FIXTURE_SETUP(sriov)
{
	static const char *const variable[] = { "VF0", "VF1", "PF" };
	int i;

	for (i = FUNCTIONS - 1; i >= 0; i--) {
		ASSERT_TRUE(open_function(&self->vmm[i], variable[i], variant->pasid,
					  &self->page[i]));
		/* makes the data of each function different */
		self->vmm[i].guest[self->page[i]][0] += i << 16;
	}
}

static void close_function(struct vmm *vmm)
{
	if (vmm->dev.fd >= 0)
		close(vmm->dev.fd);
	close(vmm->iommufd);
	munmap(vmm->guest, GUEST_PAGES * PAGE);
}

FIXTURE_TEARDOWN(sriov)
{
	int i;

	for (i = 0; i < FUNCTIONS; i++)
		close_function(&self->vmm[i]);
}

static bool reads_own(FIXTURE_DATA(sriov) *self, int i, unsigned int pasid, unsigned int how)
{
	struct vtdt_command c = execute(&self->vmm[i].dev, VTDT_READ | how, pasid, IOVA, 0);
	uint64_t own = self->vmm[i].guest[self->page[i]][0];

	if (c.status != VTDT_OK || c.data != own)
		note("function %d: status %u, %#lx, not %#lx\n", i, c.status, c.data, own);
	return c.status == VTDT_OK && c.data == own;
}

static unsigned int tlb(struct vmm *vmm)
{
	return *reg(&vmm->dev, VTDT_TLB);
}

/* The same address of the same PASID is a different page for each function. */
TEST_F(sriov, separate_data)
{
	static const unsigned int how[] = { PLAIN, BY_TLB, BY_TLB };
	unsigned int i, j;

	for (j = 0; j < ARRAY_SIZE(how); j++) {
		for (i = 0; i < FUNCTIONS; i++)
			EXPECT_TRUE(reads_own(self, i, variant->pasid, how[j]));
	}
	for (i = 0; i < FUNCTIONS; i++) {
		struct vmm *vmm = &self->vmm[i];

		EXPECT_EQ(1, tlb(vmm));
		EXPECT_EQ(VTDT_OK, execute(&vmm->dev, VTDT_WRITE | BY_TLB, variant->pasid,
					   IOVA + 8, 77 + i).status);
		EXPECT_EQ(77 + i, vmm->guest[self->page[i]][1]);
	}
}

/* Memory that is unmapped for one function stays mapped for the others. */
TEST_F(sriov, unmap_affects_one_function)
{
	unsigned int i, gone;

	for (gone = 0; gone < FUNCTIONS; gone++) {
		struct vmm *vmm = &self->vmm[gone];

		for (i = 0; i < FUNCTIONS; i++)
			EXPECT_TRUE(reads_own(self, i, variant->pasid, BY_TLB));
		ASSERT_TRUE(unmap_area(vmm, IOVA, PAGE));
		for (i = 0; i < FUNCTIONS; i++)
			EXPECT_EQ(i != gone, tlb(&self->vmm[i]));
		EXPECT_EQ(VTDT_NOT_TRANSLATED, execute(&vmm->dev, VTDT_READ | BY_TLB,
						       variant->pasid, IOVA, 0).status);
		EXPECT_EQ(VTDT_REFUSED, execute(&vmm->dev, VTDT_READ | PLAIN,
						variant->pasid, IOVA, 0).status);
		ASSERT_TRUE(map_area(vmm, IOVA, vmm->guest[self->page[gone]], PAGE));
	}
}

/* Detaching one function does not affect the others. */
TEST_F(sriov, detach_affects_one_function)
{
	struct vmm *vmm = &self->vmm[VF0];

	EXPECT_TRUE(reads_own(self, VF0, variant->pasid, BY_TLB));
	ASSERT_TRUE(detach(vmm, variant->pasid));
	EXPECT_EQ(0, tlb(vmm));
	EXPECT_NE(VTDT_OK, execute(&vmm->dev, VTDT_READ | PLAIN, variant->pasid, IOVA,
				   0).status);
	EXPECT_TRUE(reads_own(self, VF1, variant->pasid, BY_TLB));
	EXPECT_TRUE(reads_own(self, PF, variant->pasid, BY_TLB));
	ASSERT_TRUE(attach(vmm, variant->pasid, vmm->parent));
	EXPECT_TRUE(reads_own(self, VF0, variant->pasid, BY_TLB));
}

/* A reset of one VF does not affect TLBs and commands of the other functions. */
TEST_F(sriov, reset_of_vf)
{
	struct vtdt_command c = command(VTDT_READ | BY_TLB, variant->pasid, IOVA);
	unsigned int i, completions[FUNCTIONS];

	c.length = 8;
	for (i = 0; i < FUNCTIONS; i++) {
		struct testdev *dev = &self->vmm[i].dev;

		EXPECT_TRUE(reads_own(self, i, variant->pasid, BY_TLB));
		completions[i] = *reg(dev, VTDT_COMPLETIONS);
		*reg(dev, VTDT_DELAY) = ~0u;
		start(dev, &c);
	}
	ASSERT_EQ(0, ioctl(self->vmm[VF0].dev.fd, VFIO_DEVICE_RESET));
	for (i = 0; i < FUNCTIONS; i++) {
		struct testdev *dev = &self->vmm[i].dev;

		EXPECT_EQ(i != VF0, tlb(&self->vmm[i]));
		if (i == VF0)
			EXPECT_EQ(0, *reg(dev, VTDT_BUSY));
		EXPECT_EQ(i != VF0 ? ~0u : 0, *reg(dev, VTDT_DELAY));
		/* commands of the others end together with the next one */
		*reg(dev, VTDT_DELAY) = 0;
		EXPECT_TRUE(reads_own(self, i, variant->pasid, BY_TLB));
		EXPECT_EQ(i != VF0 ? 2 : 1, *reg(dev, VTDT_COMPLETIONS) - completions[i]);
	}
}

/* A read of the page behind IOVA, for which there is no translation */
static unsigned int page_in(struct vmm *vmm, unsigned int pasid)
{
	struct vtdt_command c = command(VTDT_READ | VTDT_ATS | VTDT_PAGE_IN | VTDT_PATTERN,
					pasid, IOVA + PAGE);

	c.length = PAGE;
	start(&vmm->dev, &c);
	return await(&vmm->dev).status;
}

/* Attach a domain with a fault queue. */
static bool with_queue(struct vmm *vmm, unsigned int pasid, struct pollfd *queue)
{
	unsigned int fault, hwpt;

	if (!new_queue(vmm, queue, &fault))
		return false;
	hwpt = new_paging(vmm, 0, fault);
	return hwpt && attach(vmm, pasid, hwpt);
}

/* A page request of the function arrives in its own queue; the answer decides. */
static bool served(FIXTURE_DATA(sriov) *self, int i, unsigned int pasid,
		   struct pollfd *queue, unsigned int code)
{
	struct vtdt_command c = command(VTDT_READ | VTDT_ATS | VTDT_PAGE_IN | VTDT_PATTERN,
					pasid, IOVA + PAGE);
	bool success = code == IOMMUFD_PAGE_RESP_SUCCESS;
	struct iommu_hwpt_pgfault fault = {};
	struct vmm *vmm = &self->vmm[i];
	unsigned int status;

	c.length = PAGE;
	start(&vmm->dev, &c);
	if (!comes(queue, 1) ||
	    read(queue->fd, &fault, sizeof(fault)) != sizeof(fault) ||
	    fault.dev_id != vmm->dev.dev_id || fault.addr != IOVA + PAGE) {
		note("function %d: a request of %u for %#llx\n", i, fault.dev_id, fault.addr);
		return false;
	}
	if ((success && !map_area(vmm, IOVA + PAGE, vmm->guest[self->page[i]], PAGE)) ||
	    !respond(queue, fault.cookie, code))
		return false;
	status = await(&vmm->dev).status;
	if (status != (success ? VTDT_OK : VTDT_DENIED))
		note("function %d: status %u\n", i, status);
	return status == (success ? VTDT_OK : VTDT_DENIED) &&
	       (!success || unmap_area(vmm, IOVA + PAGE, PAGE));
}

/*
 * All functions make page requests through the PRI capability of the PF, which is enabled
 * while any of them needs it. Requests of a function without a fault queue are refused.
 */
TEST_F(sriov, page_requests)
{
	const unsigned int yes = IOMMUFD_PAGE_RESP_SUCCESS, no = IOMMUFD_PAGE_RESP_INVALID;
	struct pollfd queue[FUNCTIONS];
	unsigned int pasid = variant->pasid;
	struct vmm *vmm = self->vmm;

	EXPECT_EQ(VTDT_NOT_SENT, page_in(&vmm[VF0], pasid));
	ASSERT_TRUE(with_queue(&vmm[VF0], pasid, &queue[VF0]));
	EXPECT_TRUE(served(self, VF0, pasid, &queue[VF0], yes));
	EXPECT_EQ(VTDT_NOT_SENT, page_in(&vmm[VF1], pasid));
	EXPECT_EQ(VTDT_NOT_SENT, page_in(&vmm[PF], pasid));
	EXPECT_TRUE(reads_own(self, VF1, pasid, BY_TLB));

	ASSERT_TRUE(with_queue(&vmm[PF], pasid, &queue[PF]));
	ASSERT_TRUE(with_queue(&vmm[VF1], pasid, &queue[VF1]));
	EXPECT_TRUE(served(self, PF, pasid, &queue[PF], yes));
	EXPECT_TRUE(served(self, VF0, pasid, &queue[VF0], no));
	EXPECT_TRUE(served(self, VF1, pasid, &queue[VF1], yes));

	/* in any order of detaching */
	ASSERT_TRUE(attach(&vmm[PF], pasid, vmm[PF].parent));
	EXPECT_EQ(VTDT_NOT_SENT, page_in(&vmm[PF], pasid));
	EXPECT_TRUE(served(self, VF0, pasid, &queue[VF0], yes));
	ASSERT_TRUE(detach(&vmm[VF0], pasid));
	EXPECT_TRUE(served(self, VF1, pasid, &queue[VF1], yes));
	ASSERT_TRUE(attach(&vmm[VF1], pasid, vmm[VF1].parent));
	EXPECT_EQ(VTDT_NOT_SENT, page_in(&vmm[VF1], pasid));
	ASSERT_TRUE(with_queue(&vmm[VF1], pasid, &queue[VF1]));
	EXPECT_TRUE(served(self, VF1, pasid, &queue[VF1], yes));

	EXPECT_EQ(0, poll(queue, FUNCTIONS, 0));
	EXPECT_EQ(0, *reg(&vmm[PF].dev, VTDT_CREDITS));
	EXPECT_TRUE(reads_own(self, PF, pasid, BY_TLB));
	EXPECT_TRUE(reads_own(self, VF1, pasid, BY_TLB));
}

/*
 * A reset of the PF disables the VFs for a moment. Afterwards their domains are still
 * attached, and device TLBs, invalidations and page requests work.
 */
TEST_F(sriov, reset_of_pf)
{
	struct pollfd queue;
	int i;

	ASSERT_TRUE(with_queue(&self->vmm[VF0], variant->pasid, &queue));
	for (i = 0; i < FUNCTIONS; i++)
		EXPECT_TRUE(reads_own(self, i, variant->pasid, BY_TLB));
	ASSERT_EQ(0, ioctl(self->vmm[PF].dev.fd, VFIO_DEVICE_RESET));
	for (i = 0; i < FUNCTIONS; i++) {
		struct vmm *vmm = &self->vmm[i];

		EXPECT_EQ(0, tlb(vmm));
		ASSERT_NE(NULL, start_cdev(vmm->dev.fd));
		EXPECT_TRUE(reads_own(self, i, variant->pasid, PLAIN));
		EXPECT_TRUE(reads_own(self, i, variant->pasid, BY_TLB));
		EXPECT_EQ(1, tlb(vmm));
		if (i == VF0)
			EXPECT_TRUE(served(self, i, variant->pasid, &queue,
					   IOMMUFD_PAGE_RESP_SUCCESS));
		ASSERT_TRUE(unmap_area(vmm, IOVA, PAGE));
		EXPECT_EQ(0, tlb(vmm));
	}
}

/* ---- PCIe: extended capabilities of virtual functions ---- */

/* Where an extended capability is, 0 if there is none, -1 if that cannot be read */
static int find_capability(const char *name, unsigned int id)
{
	char path[100];
	uint32_t header = 0;
	int fd, at = 0x100;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (at && pread(fd, &header, 4, at) == 4 && (header & 0xffff) != id)
		at = header >> 20;
	close(fd);
	return fd < 0 ? -1 : at;
}

TEST(capabilities)
{
	const char *vf = getenv("VF0"), *pf = getenv("PF");

	ASSERT_NE(NULL, vf);
	EXPECT_EQ(0x100, find_capability(vf, PCI_EXT_CAP_ID_ATS));
	EXPECT_EQ(0, find_capability(vf, PCI_EXT_CAP_ID_PASID));
	EXPECT_EQ(0, find_capability(vf, PCI_EXT_CAP_ID_PRI));
	EXPECT_EQ(0, find_capability(vf, PCI_EXT_CAP_ID_SRIOV));
	EXPECT_EQ(0x110, find_capability(pf, PCI_EXT_CAP_ID_PASID));
	EXPECT_EQ(0x120, find_capability(pf, PCI_EXT_CAP_ID_PRI));
	EXPECT_EQ(0x140, find_capability(pf, PCI_EXT_CAP_ID_SRIOV));
}

TEST_HARNESS_MAIN
