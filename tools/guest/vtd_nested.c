// SPDX-License-Identifier: GPL-2.0
/*
 * A virtual machine monitor's use of nested translation and PASIDs, checked by
 * real DMA (see vtd_vmm.h).  Prints TAP.
 */
#include <sys/eventfd.h>

#include "fault_log.h"
#include "kselftest_harness.h"
#include "vtd_vmm.h"

#define ECAP_NEST	(1UL << 26)

/* Fault reasons, VT-d section 7.1.3 */
#define PASID_TABLE_NOT_PRESENT	0x51
#define PASID_NOT_PRESENT	0x59
#define FIRST_NOT_PRESENT	0x71
#define FIRST_RESERVED		0x72
#define FIRST_ROOT_READ		0x75
#define FIRST_TABLE_READ	0x76
#define SECOND_RIGHTS		0x79
#define CANONICAL		0x80
#define USER			0x81
#define WRITE_RIGHT		0x85

/* One that is small, one in another leaf of the PASID directory, the largest */
static const unsigned int pasids[] = { 1, 0x12345, 0xfffff };

/* Input addresses that the tests use, in different tables of all levels */
static const uint64_t iovas[] = { 0x1000, 0x7f1234567000, 0x4000200000 };

static bool reads_by(struct testdev *dev, unsigned int how, unsigned int pasid,
		     uint64_t addr, uint64_t expected)
{
	struct vtdt_command c = execute(dev, VTDT_READ | how, pasid, addr, ~expected);

	if (c.status != VTDT_OK || c.data != expected)
		note("PASID %#x reads %#lx at %#lx, status %u, not %#lx\n",
		       pasid, c.data, addr, c.status, expected);
	return c.status == VTDT_OK && c.data == expected;
}

static bool reads(struct testdev *dev, unsigned int pasid, uint64_t addr,
		  uint64_t expected)
{
	return reads_by(dev, PLAIN, pasid, addr, expected);
}

static bool writes_by(struct testdev *dev, unsigned int how, unsigned int pasid,
		      uint64_t addr, volatile uint64_t *where)
{
	static uint64_t data = 0x5eed0000;
	struct vtdt_command c = execute(dev, VTDT_WRITE | how, pasid, addr, ++data);

	if (c.status != VTDT_OK || *where != data)
		note("PASID %#x writes at %#lx, status %u\n", pasid, addr, c.status);
	return c.status == VTDT_OK && *where == data;
}

static bool writes(struct testdev *dev, unsigned int pasid, uint64_t addr,
		   volatile uint64_t *where)
{
	return writes_by(dev, PLAIN, pasid, addr, where);
}

static bool is_refused(struct testdev *dev, unsigned int op, unsigned int pasid,
		       uint64_t addr)
{
	struct vtdt_command c = execute(dev, op | PLAIN, pasid, addr, 0);

	count_fault();
	if (c.status != VTDT_REFUSED)
		note("PASID %#x at %#lx: status %u\n", pasid, addr, c.status);
	return c.status == VTDT_REFUSED;
}

/* ---- faults, as the kernel's log has them ---- */

/* The request is refused, and the kernel reports a fault of this reason. */
static bool faults(struct testdev *dev, unsigned int op, unsigned int pasid,
		   uint64_t addr, unsigned int reason)
{
	char who[64], where[64], why[64];
	bool refused;
	int log;

	if (pasid == RID)
		snprintf(who, sizeof(who), "[DMA %s NO_PASID] Request device [%s]",
			 op == VTDT_WRITE ? "Write" : "Read", dev->name + 5);
	else
		snprintf(who, sizeof(who), "[DMA %s PASID 0x%x] Request device [%s]",
			 op == VTDT_WRITE ? "Write" : "Read", pasid, dev->name + 5);
	snprintf(where, sizeof(where), "fault addr 0x%lx ", addr & ~(PAGE - 1));
	snprintf(why, sizeof(why), "[fault reason 0x%02x]", reason);

	log = log_open();
	if (log < 0)
		return false;
	refused = is_refused(dev, op, pasid, addr);
	return log_has(log, who, where, why) && refused;
}

/* A table that maps a page of data at @iova, nested and attached to @pasid */
struct space {
	unsigned int pasid, root, data, hwpt;
};

static bool new_space(struct vmm *vmm, struct space *space, unsigned int pasid,
		      uint64_t iova)
{
	space->pasid = pasid;
	space->root = new_page(vmm);
	space->data = new_data(vmm);
	map(vmm, space->root, iova, space->data);
	space->hwpt = nest(vmm, space->root, 0);
	return space->hwpt && attach(vmm, pasid, space->hwpt);
}

/* ---- tests ---- */

FIXTURE(nested)
{
	struct vmm vmm;
	struct testdev *dev;
};

FIXTURE_SETUP(nested)
{
	ASSERT_TRUE(open_vmm(&self->vmm));
	self->dev = &self->vmm.dev;
}

FIXTURE_TEARDOWN(nested)
{
	close(self->vmm.dev.fd);
	close(self->vmm.iommufd);
}

/* These tests run on the RID and on each of the PASIDs. */
FIXTURE(space)
{
	struct vmm vmm;
	struct testdev *dev;
	struct space s;
};

FIXTURE_VARIANT(space)
{
	unsigned int pasid;
};

FIXTURE_VARIANT_ADD(space, rid) { .pasid = RID };
FIXTURE_VARIANT_ADD(space, pasid_1) { .pasid = 1 };
FIXTURE_VARIANT_ADD(space, pasid_fffff) { .pasid = 0xfffff };

#define IOVA	iovas[1]

FIXTURE_SETUP(space)
{
	ASSERT_TRUE(open_vmm(&self->vmm));
	self->dev = &self->vmm.dev;
	ASSERT_TRUE(new_space(&self->vmm, &self->s, variant->pasid, IOVA));
}

FIXTURE_TEARDOWN(space)
{
	close(self->vmm.dev.fd);
	close(self->vmm.iommufd);
}

TEST_F(nested, hardware)
{
	struct iommu_hw_info_vtd vtd = {};
	struct iommu_hw_info info = {
		.size = sizeof(info), .dev_id = self->dev->dev_id,
		.data_len = sizeof(vtd), .data_uptr = (uintptr_t)&vtd,
	};

	ASSERT_EQ(0, ioctl(self->vmm.iommufd, IOMMU_GET_HW_INFO, &info));
	EXPECT_EQ(IOMMU_HW_INFO_TYPE_INTEL_VTD, info.out_data_type);
	EXPECT_EQ(20, info.out_max_pasid_log2);
	EXPECT_TRUE(vtd.ecap_reg & ECAP_NEST);
}

/* The nest parent alone, without a guest's table */
TEST_F(nested, parent_on_rid)
{
	unsigned int data = new_data(&self->vmm);

	EXPECT_TRUE(reads(self->dev, RID, data * PAGE, mark(data)));
	EXPECT_TRUE(writes(self->dev, RID, data * PAGE, self->vmm.guest[data]));
	EXPECT_TRUE(faults(self->dev, VTDT_READ, RID, GUEST_PAGES * PAGE, SECOND_RIGHTS));
}

/* Both levels translate, also at the ends of the address space. */
TEST_F(space, data_arrives)
{
	unsigned int i, data;

	for (i = 0; i < ARRAY_SIZE(iovas); i++) {
		data = new_data(&self->vmm);
		map(&self->vmm, self->s.root, iovas[i] + PAGE, data);
		EXPECT_TRUE(reads(self->dev, self->s.pasid, iovas[i] + PAGE, mark(data)));
		EXPECT_TRUE(writes(self->dev, self->s.pasid, iovas[i] + PAGE,
				   self->vmm.guest[data]));
	}
}

/* Data that crosses two pages, which are not contiguous in the guest */
TEST_F(space, across_pages)
{
	unsigned int other, i;
	struct vtdt_command c = command(VTDT_WRITE, self->s.pasid, IOVA + PAGE / 2);

	c.length = PAGE;
	new_page(&self->vmm);
	other = new_data(&self->vmm);
	map(&self->vmm, self->s.root, IOVA + PAGE, other);
	for (i = 0; i < PAGE; i += 8)
		*reg(self->dev, VTDT_BUFFER + i) = i;
	start(self->dev, &c);
	EXPECT_EQ(VTDT_OK, await(self->dev).status);
	for (i = 0; i < 256; i++) {
		ASSERT_EQ(8 * i, self->vmm.guest[self->s.data][256 + i]);
		ASSERT_EQ(8 * (256 + i), self->vmm.guest[other][i]);
	}
}

/* All PASIDs use the same address at the same time: none sees the data of another. */
TEST_F(nested, pasids_side_by_side)
{
	struct space s[ARRAY_SIZE(pasids)], rid;
	unsigned int i;

	ASSERT_TRUE(new_space(&self->vmm, &rid, RID, IOVA));
	for (i = 0; i < ARRAY_SIZE(pasids); i++)
		ASSERT_TRUE(new_space(&self->vmm, &s[i], pasids[i], IOVA));
	EXPECT_TRUE(reads(self->dev, RID, IOVA, mark(rid.data)));
	for (i = 0; i < ARRAY_SIZE(pasids); i++)
		EXPECT_TRUE(reads(self->dev, pasids[i], IOVA, mark(s[i].data)));
	/* one is detached, the others stay */
	ASSERT_TRUE(detach(&self->vmm, pasids[1]));
	EXPECT_TRUE(is_refused(self->dev, VTDT_READ, pasids[1], IOVA));
	EXPECT_TRUE(reads(self->dev, pasids[0], IOVA, mark(s[0].data)));
	EXPECT_TRUE(reads(self->dev, pasids[2], IOVA, mark(s[2].data)));
	EXPECT_TRUE(reads(self->dev, RID, IOVA, mark(rid.data)));
}

/* The IOTLB has the old page until the guest invalidates. */
TEST_F(space, stale_until_invalidated)
{
	unsigned int other = new_data(&self->vmm);

	ASSERT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(self->s.data)));
	map(&self->vmm, self->s.root, IOVA, other);
	EXPECT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(self->s.data)));
	/* invalidating the next page does not help */
	ASSERT_TRUE(invalidate(&self->vmm, self->s.hwpt, IOVA + PAGE, 1,
			       IOMMU_VTD_INV_FLAGS_LEAF));
	EXPECT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(self->s.data)));
	ASSERT_TRUE(invalidate(&self->vmm, self->s.hwpt, IOVA, 1,
			       IOMMU_VTD_INV_FLAGS_LEAF));
	EXPECT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(other)));
	map(&self->vmm, self->s.root, IOVA, self->s.data);
	ASSERT_TRUE(invalidate(&self->vmm, self->s.hwpt, 0, ALL, 0));
	EXPECT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(self->s.data)));
}

/* A table is replaced: invalidating leaves is not enough. */
TEST_F(space, stale_tables)
{
	unsigned int other = new_data(&self->vmm), table = new_page(&self->vmm);

	ASSERT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(self->s.data)));
	self->vmm.guest[table][index_at(IOVA, 1)] = other * PAGE | LEAF;
	*entry(&self->vmm, self->s.root, IOVA, 2, TABLE) = table * PAGE | TABLE;
	ASSERT_TRUE(invalidate(&self->vmm, self->s.hwpt, IOVA, 1,
			       IOMMU_VTD_INV_FLAGS_LEAF));
	EXPECT_TRUE(reads(self->dev, self->s.pasid, IOVA,
			  mark(strict() ? self->s.data : other)));
	ASSERT_TRUE(invalidate(&self->vmm, self->s.hwpt, IOVA, 1, 0));
	EXPECT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(other)));
}

TEST_F(space, replace)
{
	struct space other;

	ASSERT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(self->s.data)));
	ASSERT_TRUE(new_space(&self->vmm, &other, self->s.pasid, IOVA));
	EXPECT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(other.data)));
	EXPECT_TRUE(destroy(&self->vmm, self->s.hwpt));
	EXPECT_FALSE(destroy(&self->vmm, other.hwpt));
	EXPECT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(other.data)));
}

/* Pass-through in the guest: the device uses guest-physical addresses. */
TEST_F(space, pass_through)
{
	unsigned int data = new_data(&self->vmm);

	ASSERT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(self->s.data)));
	ASSERT_TRUE(attach(&self->vmm, self->s.pasid, self->vmm.parent));
	EXPECT_TRUE(reads(self->dev, self->s.pasid, data * PAGE, mark(data)));
	EXPECT_TRUE(is_refused(self->dev, VTDT_READ, self->s.pasid, IOVA));
	ASSERT_TRUE(attach(&self->vmm, self->s.pasid, self->s.hwpt));
	EXPECT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(self->s.data)));
	EXPECT_TRUE(is_refused(self->dev, VTDT_READ, self->s.pasid, data * PAGE));
}

/* Addresses that the guest must not reach, or has not mapped, and their faults */
TEST_F(space, not_in_the_guest)
{
	map(&self->vmm, self->s.root, IOVA + PAGE, GUEST_PAGES);
	EXPECT_TRUE(faults(self->dev, VTDT_READ, self->s.pasid, IOVA + PAGE,
			   SECOND_RIGHTS));
	*entry(&self->vmm, self->s.root, iovas[2], 3, TABLE) = GUEST_PAGES * PAGE | TABLE;
	EXPECT_TRUE(faults(self->dev, VTDT_READ, self->s.pasid, iovas[2],
			   FIRST_TABLE_READ));
	EXPECT_TRUE(faults(self->dev, VTDT_READ, self->s.pasid, IOVA + 2 * PAGE,
			   FIRST_NOT_PRESENT));
}

TEST_F(nested, root_not_in_the_guest)
{
	unsigned int hwpt = nest(&self->vmm, GUEST_PAGES, 0);

	ASSERT_NE(0, hwpt);
	ASSERT_TRUE(attach(&self->vmm, 1, hwpt));
	EXPECT_TRUE(faults(self->dev, VTDT_READ, 1, IOVA, FIRST_ROOT_READ));
}

TEST_F(nested, rights_of_the_first_level)
{
	struct space s;

	ASSERT_TRUE(new_space(&self->vmm, &s, 1, IOVA));
	*entry(&self->vmm, s.root, IOVA, 1, TABLE) &= ~W;
	EXPECT_TRUE(reads(self->dev, 1, IOVA, mark(s.data)));
	EXPECT_TRUE(faults(self->dev, VTDT_WRITE, 1, IOVA, WRITE_RIGHT));
	EXPECT_EQ(mark(s.data), self->vmm.guest[s.data][0]);
	*entry(&self->vmm, s.root, IOVA + PAGE, 1, TABLE) = s.data * PAGE | (LEAF & ~U);
	EXPECT_TRUE(faults(self->dev, VTDT_READ, 1, IOVA + PAGE, USER));
	EXPECT_TRUE(faults(self->dev, VTDT_READ, 1, 1UL << 47, CANONICAL));
	*entry(&self->vmm, s.root, IOVA + 2 * PAGE, 1, TABLE) = 1UL << 50 | LEAF;
	EXPECT_TRUE(faults(self->dev, VTDT_READ, 1, IOVA + 2 * PAGE, FIRST_RESERVED));
}

/* The device sets Accessed and Dirty exactly where it uses entries. */
TEST_F(space, accessed_and_dirty)
{
	const uint64_t iova = iovas[2];
	unsigned int data = new_data(&self->vmm), level;

	*entry(&self->vmm, self->s.root, iova, 1, P | W | U) = data * PAGE | P | W | U;
	EXPECT_TRUE(reads(self->dev, self->s.pasid, iova, mark(data)));
	for (level = 1; level <= 4; level++)
		EXPECT_EQ(A, *entry(&self->vmm, self->s.root, iova, level, 0) & (A | D));
	EXPECT_TRUE(writes(self->dev, self->s.pasid, iova, self->vmm.guest[data]));
	EXPECT_EQ(A | D, *entry(&self->vmm, self->s.root, iova, 1, 0) & (A | D));
	EXPECT_EQ(A, *entry(&self->vmm, self->s.root, iova, 2, 0) & (A | D));
}

/* The host unmaps a page of the guest: it is gone from every nested translation. */
TEST_F(space, second_level_unmapped)
{
	ASSERT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(self->s.data)));
	ASSERT_TRUE(reads_by(self->dev, BY_TLB, self->s.pasid, IOVA, mark(self->s.data)));
	ASSERT_TRUE(unmap_area(&self->vmm, self->s.data * PAGE, PAGE));
	EXPECT_TRUE(faults(self->dev, VTDT_READ, self->s.pasid, IOVA, SECOND_RIGHTS));
	EXPECT_EQ(VTDT_NOT_TRANSLATED, execute(self->dev, VTDT_READ | BY_TLB,
					       self->s.pasid, IOVA, 0).status);
}

TEST_F(space, second_level_unmapped_under_a_table)
{
	uint64_t *e = entry(&self->vmm, self->s.root, IOVA, 2, TABLE);

	ASSERT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(self->s.data)));
	ASSERT_TRUE(unmap_area(&self->vmm, *e & ~(PAGE - 1), PAGE));
	EXPECT_TRUE(faults(self->dev, VTDT_READ, self->s.pasid, IOVA, FIRST_TABLE_READ));
}

/* The host maps other memory for the guest, by other second-level tables. */
TEST_F(space, second_level_tables_replaced)
{
	const uint64_t gpa = 1UL << 30, length = 2UL << 20;
	uint64_t *memory[2];
	int i;

	map(&self->vmm, self->s.root, IOVA + PAGE, gpa / PAGE);
	for (i = 0; i < 2; i++) {
		memory[i] = mmap(NULL, length, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, memory[i]);
		ASSERT_EQ(0, madvise(memory[i], length, MADV_NOHUGEPAGE));
		memory[i][0] = mark(GUEST_PAGES + i);
		ASSERT_TRUE(map_area(&self->vmm, gpa, memory[i], length));
		EXPECT_TRUE(reads(self->dev, self->s.pasid, IOVA + PAGE,
				  mark(GUEST_PAGES + i)));
		ASSERT_TRUE(unmap_area(&self->vmm, gpa, length));
	}
	EXPECT_TRUE(is_refused(self->dev, VTDT_READ, self->s.pasid, IOVA + PAGE));
}

/* The device's TLB: filled by translation requests, */
TEST_F(space, device_tlb)
{
	unsigned int other = new_data(&self->vmm), pasid = self->s.pasid;
	struct vtdt_command c;

	c = execute(self->dev, VTDT_TRANSLATE, pasid, IOVA, 0);
	ASSERT_EQ(VTDT_OK, c.status);
	EXPECT_EQ(3, c.info & 3);
	EXPECT_EQ(1, *reg(self->dev, VTDT_TLB));
	EXPECT_TRUE(writes_by(self->dev, BY_TLB, pasid, IOVA,
			      self->vmm.guest[self->s.data]));
	self->vmm.guest[self->s.data][0] = mark(self->s.data);
	/* stale until invalidated, */
	map(&self->vmm, self->s.root, IOVA, other);
	EXPECT_TRUE(reads_by(self->dev, BY_TLB, pasid, IOVA, mark(self->s.data)));
	ASSERT_TRUE(invalidate(&self->vmm, self->s.hwpt, IOVA, 1,
			       IOMMU_VTD_INV_FLAGS_LEAF));
	EXPECT_TRUE(reads_by(self->dev, BY_TLB, pasid, IOVA, mark(other)));
	/* without an entry or a fault for unmapped pages, */
	c = execute(self->dev, VTDT_TRANSLATE, pasid, IOVA + PAGE, 0);
	EXPECT_EQ(VTDT_NOT_TRANSLATED, c.status);
	/* and without write permission for read-only pages. */
	*entry(&self->vmm, self->s.root, IOVA + PAGE, 1, TABLE) =
		other * PAGE | (LEAF & ~W);
	c = execute(self->dev, VTDT_TRANSLATE, pasid, IOVA + PAGE, 0);
	EXPECT_EQ(VTDT_OK, c.status);
	EXPECT_EQ(1, c.info & 3);
}

/* Translated requests are not translated again. */
TEST_F(space, translated)
{
	struct vtdt_command c = execute(self->dev, VTDT_TRANSLATE, self->s.pasid, IOVA, 0);

	ASSERT_EQ(VTDT_OK, c.status);
	EXPECT_TRUE(reads_by(self->dev, PLAIN | VTDT_TRANSLATED, RID, c.result,
			     mark(self->s.data)));
}

TEST_F(space, device_tlb_after_detach)
{
	ASSERT_TRUE(reads_by(self->dev, BY_TLB, self->s.pasid, IOVA, mark(self->s.data)));
	ASSERT_LT(0, *reg(self->dev, VTDT_TLB));
	ASSERT_TRUE(detach(&self->vmm, self->s.pasid));
	EXPECT_EQ(0, *reg(self->dev, VTDT_TLB));
}

/* The RID's entry also translates PASID 0, which the device's TLB keeps apart. */
TEST_F(nested, device_tlb_of_pasid_0)
{
	const unsigned int how = BY_TLB | VTDT_HAS_PASID;
	unsigned int other = new_data(&self->vmm);
	struct space s;

	ASSERT_TRUE(new_space(&self->vmm, &s, RID, IOVA));
	ASSERT_TRUE(reads_by(self->dev, how, RID, IOVA, mark(s.data)));
	/* the guest invalidates, */
	map(&self->vmm, s.root, IOVA, other);
	ASSERT_TRUE(invalidate(&self->vmm, s.hwpt, IOVA, 1, IOMMU_VTD_INV_FLAGS_LEAF));
	EXPECT_TRUE(reads_by(self->dev, how, RID, IOVA, mark(other)));
	/* the host unmaps, */
	ASSERT_TRUE(unmap_area(&self->vmm, other * PAGE, PAGE));
	EXPECT_EQ(VTDT_NOT_TRANSLATED,
		  execute(self->dev, VTDT_READ | how, RID, IOVA, 0).status);
	/* and the table is replaced. */
	map(&self->vmm, s.root, IOVA, s.data);
	ASSERT_TRUE(reads_by(self->dev, how, RID, IOVA, mark(s.data)));
	ASSERT_TRUE(attach(&self->vmm, RID, self->vmm.parent));
	EXPECT_EQ(0, *reg(self->dev, VTDT_TLB));
}

/* Which pages of the guest were written since the last query? */
static bool get_dirty(struct vmm *vmm, uint64_t bitmap[GUEST_PAGES / 64])
{
	struct iommu_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get), .hwpt_id = vmm->parent,
		.length = GUEST_PAGES * PAGE, .page_size = PAGE,
		.data = (uintptr_t)bitmap,
	};

	memset(bitmap, 0, GUEST_PAGES / 8);
	return !ioctl(vmm->iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get);
}

static bool is_dirty(const uint64_t *bitmap, unsigned int page)
{
	return bitmap[page / 64] >> page % 64 & 1;
}

/* Dirty tracking of the second level, for live migration */
TEST_F(nested, dirty_tracking)
{
	struct iommu_hwpt_set_dirty_tracking set = {
		.size = sizeof(set), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	};
	uint64_t bitmap[GUEST_PAGES / 64];
	struct space s;
	int turn;

	set.hwpt_id = new_parent(&self->vmm, IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
	ASSERT_NE(0, set.hwpt_id);
	self->vmm.parent = set.hwpt_id;
	ASSERT_TRUE(attach(&self->vmm, RID, self->vmm.parent));
	ASSERT_TRUE(new_space(&self->vmm, &s, 1, IOVA));
	ASSERT_EQ(0, ioctl(self->vmm.iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set));
	for (turn = 0; turn < 2; turn++) {
		self->vmm.guest[s.data][0] = mark(s.data);
		EXPECT_TRUE(reads(self->dev, 1, IOVA, mark(s.data)));
		ASSERT_TRUE(get_dirty(&self->vmm, bitmap));
		EXPECT_FALSE(is_dirty(bitmap, s.data));
		EXPECT_TRUE(writes(self->dev, 1, IOVA, self->vmm.guest[s.data]));
		ASSERT_TRUE(get_dirty(&self->vmm, bitmap));
		EXPECT_TRUE(is_dirty(bitmap, s.data));
		EXPECT_FALSE(is_dirty(bitmap, s.root));
	}
	/* setting A in a table of the guest writes to it */
	*entry(&self->vmm, s.root, IOVA, 4, TABLE) &= ~A;
	ASSERT_TRUE(invalidate(&self->vmm, s.hwpt, 0, ALL, 0));
	EXPECT_TRUE(writes(self->dev, 1, IOVA, self->vmm.guest[s.data]));
	ASSERT_TRUE(get_dirty(&self->vmm, bitmap));
	EXPECT_TRUE(is_dirty(bitmap, s.root));
}

/* How many of the units of @size bytes at @gpa are reported dirty */
static int count_dirty_units(struct vmm *vmm, uint64_t gpa, uint64_t size, uint64_t unit)
{
	uint64_t bitmap[512 / 64] = {};
	struct iommu_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get), .hwpt_id = vmm->parent,
		.iova = gpa, .length = size, .page_size = unit,
		.data = (uintptr_t)bitmap,
	};
	int i, sum = 0;

	if (ioctl(vmm->iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get))
		return -1;
	for (i = 0; i < 512 / 64; i++)
		sum += __builtin_popcountll(bitmap[i]);
	return sum;
}

static int count_dirty(struct vmm *vmm, uint64_t gpa, uint64_t size)
{
	return count_dirty_units(vmm, gpa, size, PAGE);
}

/*
 * A large page is reported as a whole once, and then by its written parts. It stays large
 * while one bit of the report covers it.
 */
TEST_F(nested, dirty_tracking_splits_pages)
{
	const uint64_t size = 2 << 20, far = 1 << 30;
	struct iommu_hwpt_set_dirty_tracking set = {
		.size = sizeof(set), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	};
	struct vmm *vmm = &self->vmm;
	uint64_t *memory, *page;
	struct space s;
	int round;

	memory = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	ASSERT_NE(MAP_FAILED, memory);
	memory = (void *)(((uintptr_t)memory + size - 1) & ~(size - 1));
	ASSERT_EQ(0, madvise(memory, size, MADV_HUGEPAGE));
	memset(memory, 0, size);
	page = memory + 77 * PAGE / 8;

	ASSERT_TRUE(map_area(vmm, far, memory, size));
	set.hwpt_id = new_parent(vmm, IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
	ASSERT_NE(0, set.hwpt_id);
	vmm->parent = set.hwpt_id;
	ASSERT_TRUE(attach(vmm, RID, vmm->parent));
	ASSERT_TRUE(new_space(vmm, &s, 1, IOVA));
	*entry(vmm, s.root, IOVA + PAGE, 1, TABLE) = (far + 77 * PAGE) | LEAF;
	ASSERT_EQ(0, ioctl(vmm->iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set));

	EXPECT_EQ(0, count_dirty(vmm, far, size));
	for (round = 0; round < 2; round++) {
		EXPECT_TRUE(writes(self->dev, 1, IOVA + PAGE, page));
		EXPECT_EQ(1, count_dirty_units(vmm, far, size, size));
		EXPECT_EQ(0, count_dirty(vmm, far, size));
	}
	for (round = 0; round < 3; round++) {
		EXPECT_TRUE(writes(self->dev, 1, IOVA + PAGE, page));
		EXPECT_EQ(round ? 1 : 512, count_dirty(vmm, far, size));
		EXPECT_EQ(0, count_dirty(vmm, far, size));
	}
	EXPECT_TRUE(reads(self->dev, 1, IOVA + PAGE, *page));
}

/* A report that cannot be made is an error: it must not look as if nothing was dirty. */
TEST_F(nested, dirty_tracking_errors)
{
	struct iommu_hwpt_set_dirty_tracking set = {
		.size = sizeof(set), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	};
	struct iommu_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get), .length = PAGE, .page_size = PAGE,
	};
	struct vmm *vmm = &self->vmm;
	struct space s;

	set.hwpt_id = new_parent(vmm, IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
	ASSERT_NE(0, set.hwpt_id);
	vmm->parent = set.hwpt_id;
	ASSERT_TRUE(attach(vmm, RID, vmm->parent));
	ASSERT_TRUE(new_space(vmm, &s, 1, IOVA));
	EXPECT_EQ(-1, count_dirty(vmm, 0, PAGE));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_EQ(0, ioctl(vmm->iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set));
	EXPECT_LE(0, count_dirty(vmm, 0, PAGE));

	/* nothing is mapped behind the guest's memory, */
	EXPECT_EQ(-1, count_dirty(vmm, (GUEST_PAGES - 1) * PAGE, 2 * PAGE));
	EXPECT_EQ(EINVAL, errno);

	/* nor where the bitmap should be */
	EXPECT_TRUE(writes(self->dev, 1, IOVA, vmm->guest[s.data]));
	get.hwpt_id = vmm->parent;
	get.iova = s.data * PAGE;
	get.data = (uintptr_t)mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT_EQ(-1, ioctl(vmm->iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get));
	EXPECT_EQ(EFAULT, errno);

	set.flags = 0;
	ASSERT_EQ(0, ioctl(vmm->iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set));
	EXPECT_EQ(-1, count_dirty(vmm, 0, PAGE));
	EXPECT_EQ(EINVAL, errno);
}

/* Supervisor requests reach supervisor pages, if the VMM allows them. */
TEST_F(nested, supervisor_requests)
{
	struct space s;
	unsigned int hwpt;

	ASSERT_TRUE(new_space(&self->vmm, &s, 1, IOVA));
	*entry(&self->vmm, s.root, IOVA, 1, TABLE) = s.data * PAGE | (LEAF & ~(U | W));
	hwpt = nest(&self->vmm, s.root, IOMMU_VTD_S1_SRE);
	ASSERT_NE(0, hwpt);
	ASSERT_TRUE(attach(&self->vmm, 1, hwpt));
	EXPECT_EQ(VTDT_NOT_TRANSLATED, execute(self->dev, VTDT_READ | BY_TLB, 1, IOVA,
					       0).status);
	EXPECT_TRUE(reads_by(self->dev, BY_TLB | VTDT_PRIV, 1, IOVA, mark(s.data)));
	EXPECT_TRUE(writes_by(self->dev, BY_TLB | VTDT_PRIV, 1, IOVA,
			      self->vmm.guest[s.data]));
	/* read-only is read-only for them too with WPE */
	hwpt = nest(&self->vmm, s.root, IOMMU_VTD_S1_SRE | IOMMU_VTD_S1_WPE);
	ASSERT_NE(0, hwpt);
	ASSERT_TRUE(attach(&self->vmm, 1, hwpt));
	EXPECT_EQ(VTDT_NOT_TRANSLATED, execute(self->dev, VTDT_WRITE | BY_TLB | VTDT_PRIV,
					       1, IOVA, 0).status);
}

/* Pages of entries are freed with the last PASID, except the one with the RID's entry. */
TEST_F(space, detached_is_not_present)
{
	ASSERT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(self->s.data)));
	ASSERT_TRUE(detach(&self->vmm, self->s.pasid));
	EXPECT_TRUE(self->s.pasid == RID ?
		    is_refused(self->dev, VTDT_READ, RID, IOVA) :
		    faults(self->dev, VTDT_READ, self->s.pasid, IOVA,
			   self->s.pasid < 64 ? PASID_NOT_PRESENT :
						PASID_TABLE_NOT_PRESENT));
	ASSERT_TRUE(attach(&self->vmm, self->s.pasid, self->s.hwpt));
	EXPECT_TRUE(reads(self->dev, self->s.pasid, IOVA, mark(self->s.data)));
}

/* Without a fault queue, the device cannot make page requests. */
TEST_F(space, page_requests_not_enabled)
{
	EXPECT_EQ(VTDT_NOT_SENT, execute(self->dev, VTDT_PAGE_REQUEST | VTDT_LAST |
					 VTDT_WANT_READ, self->s.pasid, IOVA, 0).status);
}

/* The VMM as the handler of its guest's page requests */
FIXTURE(page_request)
{
	struct vmm vmm;
	struct testdev *dev;
	unsigned int root, data, hwpt;
	struct pollfd queue;
};

FIXTURE_SETUP(page_request)
{
	unsigned int fault;

	ASSERT_TRUE(open_vmm(&self->vmm));
	self->dev = &self->vmm.dev;
	ASSERT_TRUE(new_queue(&self->vmm, &self->queue, &fault));
	self->root = new_page(&self->vmm);
	self->data = new_data(&self->vmm);
	self->hwpt = nest_faulting(&self->vmm, self->root, 0, fault);
	ASSERT_NE(0, self->hwpt);
	ASSERT_TRUE(attach(&self->vmm, 1, self->hwpt));
}

FIXTURE_TEARDOWN(page_request)
{
	close(self->queue.fd);
	close(self->vmm.dev.fd);
	close(self->vmm.iommufd);
}

/* Send the last request of a group, and wait for the response. */
static void start_page_request(struct testdev *dev, unsigned int group, uint64_t addr)
{
	struct vtdt_command c = command(VTDT_PAGE_REQUEST | VTDT_LAST | VTDT_WANT_READ |
					VTDT_WANT_WRITE | VTDT_GROUP(group), 1, addr);

	start(dev, &c);
}

TEST_F(page_request, group)
{
	struct iommu_hwpt_pgfault fault[3] = {};
	struct vtdt_command c;

	c = execute(self->dev, VTDT_TRANSLATE, 1, IOVA, 0);
	EXPECT_EQ(VTDT_NOT_TRANSLATED, c.status);
	c = execute(self->dev, VTDT_PAGE_REQUEST | VTDT_WANT_READ | VTDT_GROUP(5), 1, IOVA, 0);
	EXPECT_EQ(VTDT_OK, c.status);
	EXPECT_EQ(0, poll(&self->queue, 1, 50));
	start_page_request(self->dev, 5, IOVA + PAGE);
	ASSERT_TRUE(comes(&self->queue, 1));
	ASSERT_EQ(2 * sizeof(fault[0]), read(self->queue.fd, fault, sizeof(fault)));
	EXPECT_EQ(IOVA, fault[0].addr);
	EXPECT_EQ(IOMMU_PGFAULT_PERM_READ, fault[0].perm);
	EXPECT_EQ(IOVA + PAGE, fault[1].addr);
	EXPECT_EQ(IOMMU_PGFAULT_PERM_READ | IOMMU_PGFAULT_PERM_WRITE, fault[1].perm);
	EXPECT_EQ(1, fault[1].pasid);
	EXPECT_EQ(5, fault[1].grpid);
	EXPECT_EQ(1, *reg(self->dev, VTDT_BUSY));

	map(&self->vmm, self->root, IOVA, self->data);
	ASSERT_TRUE(respond(&self->queue, fault[1].cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	c = await(self->dev);
	EXPECT_EQ(VTDT_OK, c.status);
	EXPECT_EQ(IOMMUFD_PAGE_RESP_SUCCESS, c.info);
	EXPECT_TRUE(reads_by(self->dev, BY_TLB, 1, IOVA, mark(self->data)));
}

TEST_F(page_request, refused)
{
	struct iommu_hwpt_pgfault fault;
	struct vtdt_command c;

	start_page_request(self->dev, 511, IOVA);
	ASSERT_TRUE(comes(&self->queue, 1));
	ASSERT_EQ(sizeof(fault), read(self->queue.fd, &fault, sizeof(fault)));
	ASSERT_TRUE(respond(&self->queue, fault.cookie, IOMMUFD_PAGE_RESP_INVALID));
	c = await(self->dev);
	EXPECT_EQ(VTDT_OK, c.status);
	EXPECT_EQ(IOMMUFD_PAGE_RESP_INVALID, c.info);
}

/* Requests without PASID have no handler here, but are answered. */
TEST_F(page_request, without_pasid)
{
	struct vtdt_command c;

	c = execute(self->dev, VTDT_PAGE_REQUEST | VTDT_LAST | VTDT_WANT_READ, RID,
		    IOVA, 0);
	EXPECT_EQ(VTDT_OK, c.status);
	EXPECT_EQ(IOMMUFD_PAGE_RESP_INVALID, c.info);
	EXPECT_EQ(0, poll(&self->queue, 1, 50));
}

/* Outstanding requests are answered when the table is detached. */
TEST_F(page_request, detached_during_request)
{
	struct vtdt_command c;

	start_page_request(self->dev, 7, IOVA);
	ASSERT_TRUE(comes(&self->queue, 1));
	ASSERT_TRUE(detach(&self->vmm, 1));
	c = await(self->dev);
	EXPECT_EQ(VTDT_OK, c.status);
	EXPECT_NE(IOMMUFD_PAGE_RESP_SUCCESS, c.info);
}

/* @n reads of 8 bytes at IOVA by PASID 1, in a page of the guest's */
static struct vtdt_command *new_list(struct vmm *vmm, unsigned int n,
				     unsigned int *page)
{
	struct vtdt_command *list;
	unsigned int i;

	*page = new_page(vmm);
	list = (void *)vmm->guest[*page];
	for (i = 0; i < n; i++)
		list[i] = (struct vtdt_command) {
			.op = VTDT_READ | VTDT_IMMEDIATE | VTDT_HAS_PASID,
			.pasid = 1, .addr = IOVA, .length = 8,
		};
	return list;
}

/* The index of the command of a list of @n that completes as number @i */
static unsigned int in_order(unsigned int i, unsigned int n)
{
	return i % 2 ? n - 1 - i / 2 : i / 2;
}

struct replacing {
	struct space s[2];
	uint64_t data[2];
	struct vtdt_command *list;
	unsigned int page;		/* of the list */
};

/*
 * Replace the domain of PASID 1, while the device executes a list, which takes @delay ns
 * a command. How often that was done, the one before it included; 0 if it failed.
 */
static unsigned int replace_during_list(struct vmm *vmm, struct replacing *r, unsigned int delay,
					uint64_t *expected)
{
	unsigned int first, done, turns;
	const unsigned int n = VTDT_SLOTS;

	if (!attach(vmm, 1, r->s[0].hwpt))
		return 0;
	*reg(&vmm->dev, VTDT_DELAY) = delay;
	first = *reg(&vmm->dev, VTDT_COMPLETIONS);
	start_list(&vmm->dev, RID, r->page * PAGE, n);
	for (turns = 1;; turns++) {
		if (!attach(vmm, 1, r->s[turns % 2].hwpt))
			return 0;
		done = *reg(&vmm->dev, VTDT_COMPLETIONS) - first;
		if (done + 2 > n)
			break;
		if (!wait_until(*reg(&vmm->dev, VTDT_COMPLETIONS) - first >= done + 2))
			return 0;
		expected[in_order(done + 1, n)] = r->data[turns % 2];
	}
	await(&vmm->dev);

	return turns;
}

/*
 * A list is executed while the table that it reads by is replaced.  Between two
 * replacements it always makes progress: of two commands that complete then, the
 * second has begun after the first, hence when the new table was in place.
 */
TEST_F(nested, list_while_replacing)
{
	uint64_t expected[VTDT_SLOTS];
	unsigned int i, delay, turns;
	struct replacing r;

	for (i = 0; i < 2; i++) {
		ASSERT_TRUE(new_space(&self->vmm, &r.s[i], 1, IOVA));
		r.data[i] = mark(r.s[i].data);
	}
	r.list = new_list(&self->vmm, VTDT_SLOTS, &r.page);
	/* until the list takes longer than a replacement on this machine */
	for (delay = 2000000, turns = 1; turns == 1 && delay < 1000000000; delay *= 4) {
		memset(expected, 0, sizeof(expected));
		turns = replace_during_list(&self->vmm, &r, delay, expected);
	}
	EXPECT_LT(1, turns);
	EXPECT_EQ(VTDT_LIST_DONE, *reg(self->dev, VTDT_LIST_STATUS));
	for (i = 0; i < VTDT_SLOTS; i++) {
		if (expected[i]) {
			EXPECT_EQ(VTDT_OK, r.list[i].status);
			EXPECT_EQ(expected[i], r.list[i].data);
		} else if (r.list[i].status != VTDT_REFUSED) {	/* while not present */
			EXPECT_EQ(VTDT_OK, r.list[i].status);
			EXPECT_TRUE(r.list[i].data == r.data[0] || r.list[i].data == r.data[1]);
		}
	}
}

/* The list itself is in a PASID's address space. */
TEST_F(nested, list_by_pasid)
{
	const unsigned int n = VTDT_SLOTS;
	struct vtdt_command *list;
	unsigned int i, page;
	struct space s;

	ASSERT_TRUE(new_space(&self->vmm, &s, 1, IOVA));
	list = new_list(&self->vmm, n, &page);
	map(&self->vmm, s.root, IOVA + PAGE, page);
	start_list(self->dev, 1, IOVA + PAGE, n);
	await(self->dev);
	EXPECT_EQ(VTDT_LIST_DONE, *reg(self->dev, VTDT_LIST_STATUS));
	for (i = 0; i < n; i++) {
		ASSERT_EQ(VTDT_OK, list[i].status);
		ASSERT_EQ(mark(s.data), list[i].data);
	}
}

TEST_F(space, interrupt_when_done)
{
	struct pollfd done = { .fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN };

	ASSERT_TRUE(set_trigger(self->dev, VTDT_IRQ_DONE, done.fd));
	EXPECT_EQ(0, poll(&done, 1, 50));
	EXPECT_EQ(VTDT_OK, execute(self->dev, VTDT_READ | PLAIN | VTDT_IRQ,
				   self->s.pasid, IOVA, 0).status);
	EXPECT_TRUE(comes(&done, 1));
}

/* ---- memory of PASIDs, as charged to their user's memory cgroup ---- */

#define MEMCG		"/sys/fs/cgroup/pasids/"
#define MANY		4096U

/* The number in the line of a file that FORMAT matches; -1 if there is none */
static long number_in(const char *path, const char *format)
{
	FILE *file = fopen(path, "r");
	long number = -1;
	char line[128];

	while (file && number < 0 && fgets(line, sizeof(line), file))
		sscanf(line, format, &number);
	if (file)
		fclose(file);
	return number;
}

/* Bytes of the kernel's memory that are charged to the cgroup */
static long charged(void)
{
	return number_in(MEMCG "memory.stat", "kernel %ld");
}

/* Bytes in all slabs, charged or not */
static long in_slabs(void)
{
	return number_in("/proc/meminfo", "Slab: %ld") * 1024;
}

/* What was charged since BEFORE is within these bounds; what RCU frees comes late. */
static bool charged_between(long before, long low, long high)
{
	bool met = wait_until(charged() - before >= low && charged() - before <= high);

	if (!met)
		note("%ld bytes charged, not %ld to %ld\n", charged() - before, low, high);
	return met;
}

FIXTURE(cost)
{
	struct vmm vmm;
	struct space s;
	long before;
};

/* A separate cgroup, and a PASID that was in use once */
FIXTURE_SETUP(cost)
{
	FILE *procs = fopen(MEMCG "cgroup.procs", "w");

	ASSERT_NE(NULL, procs);
	ASSERT_LT(0, fprintf(procs, "%d", getpid()));
	ASSERT_EQ(0, fclose(procs));
	ASSERT_TRUE(open_vmm(&self->vmm));
	ASSERT_TRUE(new_space(&self->vmm, &self->s, 1, IOVA));
	ASSERT_TRUE(detach(&self->vmm, 1));
	self->before = charged();
	ASSERT_LT(0, self->before);
}

FIXTURE_TEARDOWN(cost)
{
	close(self->vmm.dev.fd);
	close(self->vmm.iommufd);
}

/* Each CPU may keep a stock of charged pages and objects. */
#define STOCK		(512 * 1024L)

/* A nested domain on each PASID takes the documented amount, and nothing afterwards */
TEST_F(cost, nested_domain_for_each)
{
	long slabs = in_slabs(), all;
	unsigned int hwpt[MANY], i;

	for (i = 0; i < MANY; i++) {
		hwpt[i] = nest(&self->vmm, self->s.root, 0);
		ASSERT_NE(0, hwpt[i]);
		ASSERT_TRUE(attach(&self->vmm, 1 + i, hwpt[i]));
	}
	all = in_slabs() - slabs;
	note("nested domains on %u PASIDs: %.2f KiB each charged, %.2f in slabs\n", MANY,
	     (charged() - self->before) / 1024. / MANY, all / 1024. / MANY);
	/* With lockdep, locks are larger. */
	EXPECT_TRUE(charged_between(self->before, MANY * 1536L,
				    MANY * (access("/proc/lockdep", F_OK) ? 2304L : 3840L)));
	/*
	 * Everything in slabs is charged; PASID entries, of 64 bytes, are not in slabs. Others
	 * take slabs meanwhile: on a slow kernel more. An uncharged object of 32 bytes is seen.
	 */
	EXPECT_LT(all - (charged() - self->before - MANY * 64L),
		  all / (access("/proc/lockdep", F_OK) ? 64 : 32) + 2 * (long)PAGE);
	for (i = 0; i < MANY; i++) {
		ASSERT_TRUE(detach(&self->vmm, 1 + i));
		ASSERT_TRUE(destroy(&self->vmm, hwpt[i]));
	}
	EXPECT_TRUE(charged_between(self->before, -STOCK, STOCK));
}

/* One domain on PASIDs that are far apart: a page and three nodes of arrays for each */
TEST_F(cost, one_domain_far_apart)
{
	unsigned int i;

	for (i = 0; i < MANY; i++)
		ASSERT_TRUE(attach(&self->vmm, 64 + 64 * i, self->s.hwpt));
	note("one domain on %u PASIDs, 64 apart: %.2f KiB each\n", MANY,
	     (charged() - self->before) / 1024. / MANY);
	EXPECT_TRUE(charged_between(self->before, MANY * (PAGE + 1792L), MANY * (PAGE + 2816L)));

	/* A remaining PASID keeps the pages; detaching the last one frees them. */
	for (i = 1; i < MANY; i++)
		ASSERT_TRUE(detach(&self->vmm, 64 + 64 * i));
	EXPECT_TRUE(charged_between(self->before, MANY * PAGE - STOCK, MANY * PAGE + STOCK));
	ASSERT_TRUE(attach(&self->vmm, RID, self->s.hwpt));
	EXPECT_TRUE(reads(&self->vmm.dev, 64, IOVA, mark(self->s.data)));
	ASSERT_TRUE(detach(&self->vmm, 64));
	EXPECT_TRUE(charged_between(self->before, -STOCK, STOCK));
	EXPECT_TRUE(is_refused(&self->vmm.dev, VTDT_READ, 64, IOVA));
	EXPECT_TRUE(reads(&self->vmm.dev, RID, IOVA, mark(self->s.data)));
	ASSERT_TRUE(attach(&self->vmm, 64, self->s.hwpt));
	EXPECT_TRUE(reads(&self->vmm.dev, 64, IOVA, mark(self->s.data)));
}

/* The next user finds nothing of the old attachments. */
static bool nothing_left(void)
{
	struct vmm vmm;
	unsigned int i;
	bool ok = open_vmm(&vmm);

	ok = ok && *reg(&vmm.dev, VTDT_TLB) == 0;
	for (i = 0; i < ARRAY_SIZE(pasids); i++)
		ok = ok && is_refused(&vmm.dev, VTDT_READ, pasids[i], IOVA);
	ok = ok && is_refused(&vmm.dev, VTDT_READ, RID, IOVA);
	close(vmm.dev.fd);
	close(vmm.iommufd);
	return ok;
}

FIXTURE(close)
{
	struct vmm vmm;
	struct space s[ARRAY_SIZE(pasids)], rid;
};

FIXTURE_SETUP(close)
{
	unsigned int i;

	ASSERT_TRUE(open_vmm(&self->vmm));
	ASSERT_TRUE(new_space(&self->vmm, &self->rid, RID, IOVA));
	for (i = 0; i < ARRAY_SIZE(pasids); i++) {
		ASSERT_TRUE(new_space(&self->vmm, &self->s[i], pasids[i], IOVA));
		ASSERT_TRUE(reads_by(&self->vmm.dev, BY_TLB, pasids[i], IOVA,
				     mark(self->s[i].data)));
	}
}

FIXTURE_TEARDOWN(close)
{
	EXPECT_TRUE(nothing_left());
}

static void close_device(struct vmm *vmm)
{
	munmap((void *)vmm->dev.regs, 0x10000);
	close(vmm->dev.fd);
}

TEST_F(close, device_first)
{
	close_device(&self->vmm);
	close(self->vmm.iommufd);
}

TEST_F(close, iommufd_first)
{
	close(self->vmm.iommufd);
	close_device(&self->vmm);
}

TEST_F(close, after_detaching_the_rid)
{
	ASSERT_TRUE(detach(&self->vmm, RID));
	EXPECT_TRUE(reads(&self->vmm.dev, 1, IOVA, mark(self->s[0].data)));
	close_device(&self->vmm);
	close(self->vmm.iommufd);
}

TEST_F(close, after_detaching_some)
{
	ASSERT_TRUE(detach(&self->vmm, pasids[0]));
	ASSERT_TRUE(detach(&self->vmm, pasids[2]));
	EXPECT_TRUE(destroy(&self->vmm, self->s[0].hwpt));
	close(self->vmm.iommufd);
	close_device(&self->vmm);
}

TEST_HARNESS_MAIN
