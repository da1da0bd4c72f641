// SPDX-License-Identifier: GPL-2.0
/*
 * A device that is reset, or in a low power state: its translations, page requests and
 * attachments.  Prints TAP.
 */
#include <sys/wait.h>

#include "../../../drivers/iommu/iommufd/iommufd_test.h"
#include "vtd_iopf.h"

#define ADDR(page)	((page) * PAGE)

FIXTURE(reset)
{
	struct vm vm;
	unsigned int page;
};

FIXTURE_VARIANT(reset)
{
	unsigned int pasid;
};

FIXTURE_VARIANT_ADD(reset, rid) { RID };
FIXTURE_VARIANT_ADD(reset, pasid) { 0x12345 };

/* A domain without nesting that maps one page, and a queue for requests of other pages */
FIXTURE_SETUP(reset)
{
	struct vm *vm = &self->vm;

	ASSERT_TRUE(open_vm(vm, getenv("TESTDEV"), variant->pasid));
	self->page = new_data(&vm->vmm);
	ASSERT_TRUE(map_page(&vm->vmm, self->page));
	vm->hwpt = new_paging(&vm->vmm, 0, vm->fault[FIRST]);
	ASSERT_NE(0, vm->hwpt);
	ASSERT_TRUE(attach_vm(vm, vm->hwpt));
}

FIXTURE_TEARDOWN(reset)
{
	close_vm(&self->vm);
}

static bool reset_device(struct vm *vm)
{
	return !ioctl(vm->dev->fd, VFIO_DEVICE_RESET);
}

/* The status of a read of the test's page; with VTDT_ATS, the device's TLB caches it. */
static unsigned int reads(struct vm *vm, unsigned int page, unsigned int how)
{
	struct vtdt_command c = execute(vm->dev, VTDT_READ | how, vm->pasid, ADDR(page), 0);

	return c.status == VTDT_OK && c.data != mark(page) ? VTDT_PENDING : c.status;
}

/* After a reset DMA works, and the device's TLB is enabled and invalidated again. */
TEST_F(reset, translates_as_before)
{
	struct vm *vm = &self->vm;
	int i;

	for (i = 0; i < 2; i++) {
		EXPECT_EQ(VTDT_OK, reads(vm, self->page, BY_TLB));
		EXPECT_EQ(VTDT_OK, reads(vm, self->page, PLAIN));
		EXPECT_EQ(1, *reg(vm->dev, VTDT_TLB));
		ASSERT_TRUE(i ? unmap_area(&vm->vmm, ADDR(self->page), PAGE) :
				reset_device(vm));
		EXPECT_EQ(0, *reg(vm->dev, VTDT_TLB));
	}
	EXPECT_EQ(VTDT_NOT_TRANSLATED, reads(vm, self->page, BY_TLB));
	EXPECT_EQ(VTDT_REFUSED, reads(vm, self->page, PLAIN));
}

/* A request from before the reset and the same one after it have separate answers. */
TEST_F(reset, ignores_old_answers)
{
	struct part before, after;
	struct vm *vm = &self->vm;

	start_request(vm, 5, IOVA, READ);
	ASSERT_TRUE(receive(vm, FIRST, &before, 1));
	ASSERT_TRUE(reset_device(vm));
	start_request(vm, 5, IOVA, READ);
	ASSERT_TRUE(receive(vm, FIRST, &after, 1));
	EXPECT_TRUE(reply(vm, FIRST, &before, INVALID));
	EXPECT_TRUE(is_pending(vm, 0));
	EXPECT_TRUE(reply(vm, FIRST, &after, SUCCESS));
	EXPECT_EQ(SUCCESS, answer(vm, 0));
	EXPECT_EQ(0, *reg(vm->dev, VTDT_CREDITS));
}

/* A reset takes requests that were not read out of the fault queue. */
TEST_F(reset, discards_open_requests)
{
	struct vm *vm = &self->vm;
	struct part part;
	int i;

	for (i = 0; i < 3; i++) {
		start_request(vm, i, IOVA, READ);
		EXPECT_TRUE(comes(&vm->queue[FIRST], 1));
		ASSERT_TRUE(reset_device(vm));
		EXPECT_EQ(0, *reg(vm->dev, VTDT_CREDITS));
		EXPECT_EQ(0, poll(&vm->queue[FIRST], 1, 0));
	}
	start_request(vm, 7, IOVA, READ);
	ASSERT_TRUE(receive(vm, FIRST, &part, 1));
	EXPECT_EQ(7, part.fault[0].grpid);
	ASSERT_TRUE(reply(vm, FIRST, &part, SUCCESS));
	EXPECT_EQ(SUCCESS, answer(vm, 0));
}

#define GROUPS		60
#define MAX_REQUESTS	512	/* that one device may have outstanding */

/* Of requests that were read, but never answered, only the latest are kept. */
TEST_F(reset, limits_unanswered_requests)
{
	struct vtdt_command c[GROUPS];
	struct vm *vm = &self->vm;
	struct part first, part;
	int i, n;

	for (n = 0; n <= 2 * MAX_REQUESTS; n += GROUPS) {
		for (i = 0; i < GROUPS; i++)
			c[i] = page_request(vm, i, IOVA, VTDT_LAST | READ);
		send_list(vm, c, GROUPS);
		for (i = 0; i < GROUPS; i++)
			ASSERT_TRUE(receive(vm, FIRST, n || i ? &part : &first, 1));
		ASSERT_TRUE(reset_device(vm));
	}
	/* the first was dropped, the last was kept */
	EXPECT_FALSE(reply(vm, FIRST, &first, SUCCESS));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_TRUE(reply(vm, FIRST, &part, SUCCESS));
}

/* How many groups a queue keeps, whether they are answered or not; -1 if it is not known */
static int kept(struct vm *vm, int level)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd), .op = IOMMU_TEST_OP_FAULT_GROUPS, .id = vm->fault[level],
	};

	return ioctl(vm->vmm.iommufd, IOMMU_TEST_CMD, &cmd) ? -1 : (int)cmd.fault_groups.out_nr;
}

/* Requests that user space does not read are kept up to a limit, too. */
TEST_F(reset, limits_unread_requests)
{
	struct vtdt_command c[GROUPS];
	long before = counter("flat");
	struct vm *vm = &self->vm;
	int i, n, most = 0;

	for (n = GROUPS; n <= 3 * MAX_REQUESTS; n += GROUPS) {
		for (i = 0; i < GROUPS; i++)
			c[i] = page_request(vm, i, IOVA, VTDT_LAST | READ);
		send_list(vm, c, GROUPS);
		ASSERT_TRUE(counts("flat", before + n));
		ASSERT_TRUE(reset_device(vm));
		if (kept(vm, FIRST) > most)
			most = kept(vm, FIRST);
	}
	/* requests of the last reset, and those made since the limit was last checked */
	EXPECT_LE(GROUPS, most);
	EXPECT_GE(MAX_REQUESTS + GROUPS, most);
}

/* Does the IOMMU have a PASID entry of the device? */
static bool entry_is_visible(struct vm *vm)
{
	FILE *file = fopen("/sys/kernel/debug/iommu/intel/dmar_translation_struct", "r");
	const char *name = strchr(vm->dev->name, ':') + 1;
	char line[300], bdf[32];
	bool found = false;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%31s", bdf) == 1 && !strcmp(bdf, name))
			found = true;
	}
	if (file)
		fclose(file);
	return found;
}

static pid_t start_reset(struct vm *vm)
{
	pid_t child = fork();

	if (!child)
		_exit(!reset_device(vm));
	return child;
}

static bool has_passed(pid_t child)
{
	int status;

	return waitpid(child, &status, 0) == child && !status;
}

/* Is the device being reset? */
static bool is_being_reset(struct vm *vm)
{
	if (attach(&vm->vmm, 0x54321, vm->hwpt)) {
		detach(&vm->vmm, 0x54321);
		return false;
	}
	return errno == EBUSY;
}

static bool has_begun(struct vm *vm, pid_t child)
{
	siginfo_t info = {};

	while (!is_being_reset(vm))
		if (waitid(P_PID, child, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid)
			return false;
	return true;
}

/*
 * During the reset, which takes 0.1 s, nothing is attached or translated. A domain that is
 * detached meanwhile stays detached; the others are restored. What a slow machine does
 * after the reset says nothing: it has another try.
 */
TEST_F(reset, attach_during_reset)
{
	bool during = false, visible = true, replaced = true, detached = false, unmapped = false;
	struct vm *vm = &self->vm;
	const unsigned int other = 0x777;	/* LISTS */
	int tries, error = 0;
	pid_t child;

	EXPECT_TRUE(entry_is_visible(vm));
	for (tries = 0; tries < 200 && !during; tries++) {
		child = start_reset(vm);
		if (has_begun(vm, child)) {
			replaced = attach(&vm->vmm, variant->pasid, vm->vmm.parent);
			error = errno;
			visible = entry_is_visible(vm);
			detached = detach(&vm->vmm, other);
			unmapped = unmap_area(&vm->vmm, ADDR(vm->list_page), PAGE);
			during = is_being_reset(vm);
			if (!during) {
				ASSERT_TRUE(map_page(&vm->vmm, vm->list_page));
				ASSERT_TRUE(attach(&vm->vmm, other, vm->hwpt));
				ASSERT_TRUE(attach(&vm->vmm, variant->pasid, vm->hwpt));
			}
		}
		ASSERT_TRUE(has_passed(child));
	}
	ASSERT_TRUE(during);
	EXPECT_FALSE(replaced);
	EXPECT_EQ(EBUSY, error);
	EXPECT_FALSE(visible);
	EXPECT_TRUE(detached);
	EXPECT_TRUE(unmapped);
	EXPECT_TRUE(entry_is_visible(vm));
	EXPECT_EQ(VTDT_OK, reads(vm, self->page, BY_TLB));
	EXPECT_EQ(VTDT_REFUSED, execute(vm->dev, VTDT_READ | PLAIN, other, ADDR(self->page),
					0).status);
	ASSERT_TRUE(attach(&vm->vmm, other, vm->hwpt));
	EXPECT_EQ(VTDT_OK, execute(vm->dev, VTDT_READ | BY_TLB, other, ADDR(self->page),
				   0).status);
}

/* A device that has D3hot */
FIXTURE(low_power)
{
	struct vm vm;
	unsigned int page;
};

FIXTURE_VARIANT(low_power)
{
	unsigned int pasid;
};

FIXTURE_VARIANT_ADD(low_power, rid) { RID };
FIXTURE_VARIANT_ADD(low_power, pasid) { 0x12345 };

FIXTURE_SETUP(low_power)
{
	struct vm *vm = &self->vm;

	ASSERT_TRUE(open_vm(vm, getenv("PMDEV"), variant->pasid));
	self->page = new_data(&vm->vmm);
	ASSERT_TRUE(map_page(&vm->vmm, self->page));
	vm->hwpt = new_paging(&vm->vmm, 0, 0);
	ASSERT_NE(0, vm->hwpt);
	ASSERT_TRUE(attach_vm(vm, vm->hwpt));
}

FIXTURE_TEARDOWN(low_power)
{
	close_vm(&self->vm);
}

/* Where the configuration space of the device begins in its file */
static off_t config_of(struct vm *vm)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};

	return ioctl(vm->dev->fd, VFIO_DEVICE_GET_REGION_INFO, &info) ? -1 : info.offset;
}

static bool set_power_state(struct vm *vm, uint16_t state)
{
	off_t config = config_of(vm);
	int fd = vm->dev->fd;
	uint8_t pos, cap[2];	/* its ID, and where the next one is */

	if (pread(fd, &pos, 1, config + PCI_CAPABILITY_LIST) != 1)
		return false;
	for (; pos && pread(fd, cap, 2, config + pos) == 2; pos = cap[1])
		if (cap[0] == PCI_CAP_ID_PM)
			return pwrite(fd, &state, 2, config + pos + PCI_PM_CTRL) == 2;

	return false;
}

/* An invalidation that the device would drop is not sent, and the TLB is emptied. */
TEST_F(low_power, unmap_in_d3hot)
{
	struct vm *vm = &self->vm;

	EXPECT_EQ(VTDT_OK, reads(vm, self->page, BY_TLB));
	EXPECT_EQ(1, *reg(vm->dev, VTDT_TLB));
	ASSERT_TRUE(set_power_state(vm, 3));
	EXPECT_FALSE(entry_is_visible(vm));
	EXPECT_TRUE(unmap_area(&vm->vmm, ADDR(self->page), PAGE));
	ASSERT_TRUE(set_power_state(vm, 0));
	EXPECT_TRUE(entry_is_visible(vm));
	EXPECT_EQ(0, *reg(vm->dev, VTDT_TLB));
	EXPECT_EQ(VTDT_NOT_TRANSLATED, reads(vm, self->page, BY_TLB));
	EXPECT_TRUE(map_page(&vm->vmm, self->page));
	EXPECT_EQ(VTDT_OK, reads(vm, self->page, BY_TLB));
}

/* A guest attaches domains before its driver brings the device back to D0. */
TEST_F(low_power, attach_in_d3hot)
{
	struct vm *vm = &self->vm;

	ASSERT_TRUE(set_power_state(vm, 3));
	EXPECT_TRUE(detach(&vm->vmm, variant->pasid));
	EXPECT_TRUE(attach(&vm->vmm, variant->pasid, vm->hwpt));
	ASSERT_TRUE(set_power_state(vm, 0));
	EXPECT_EQ(VTDT_OK, reads(vm, self->page, BY_TLB));
	EXPECT_TRUE(unmap_area(&vm->vmm, ADDR(self->page), PAGE));
	EXPECT_EQ(0, *reg(vm->dev, VTDT_TLB));
	EXPECT_EQ(VTDT_NOT_TRANSLATED, reads(vm, self->page, BY_TLB));
}

static bool reset_by_root(struct vm *vm)
{
	char path[100];
	bool done;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", vm->dev->name);
	fd = open(path, O_WRONLY);
	done = fd >= 0 && write(fd, "1", 1) == 1;
	close(fd);
	return done;
}

/* A reset, which begins in D0, by the user and through sysfs */
TEST_F(low_power, reset_in_d3hot)
{
	struct vm *vm = &self->vm;

	ASSERT_TRUE(set_power_state(vm, 3));
	ASSERT_TRUE(reset_device(vm));
	EXPECT_EQ(VTDT_OK, reads(vm, self->page, BY_TLB));
	ASSERT_TRUE(set_power_state(vm, 3));
	ASSERT_TRUE(reset_by_root(vm));
	EXPECT_FALSE(entry_is_visible(vm));
	ASSERT_TRUE(set_power_state(vm, 0));
	EXPECT_EQ(VTDT_OK, reads(vm, self->page, BY_TLB));
	EXPECT_EQ(1, *reg(vm->dev, VTDT_TLB));
}

TEST_HARNESS_MAIN
