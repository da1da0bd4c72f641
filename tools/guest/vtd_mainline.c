// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the fixes in series/mainline: each fails without its fix.  They use only
 * mainline's ABI.  TESTDEV and TESTDEV2 are ordinary devices, TESTDEV3 has no PRI, and
 * NOACS is behind a port without ACS.  Prints TAP.
 */
#include <pthread.h>
#include <sys/wait.h>

#include "vtd_iopf.h"

#define TRACING	"/sys/kernel/tracing/"
#define DRIVER	"events/intel_iommu/"

static bool write_file(const char *name, const char *what)
{
	int fd = open(name, O_WRONLY | O_TRUNC);
	bool ok = fd >= 0 && write(fd, what, strlen(what)) == (ssize_t)strlen(what);

	close(fd);
	return ok;
}

/* ---- messages of the kernel ---- */

static int open_log_at_end(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	lseek(fd, 0, SEEK_END);
	return fd;
}

/* Is @what in a line since open_log_at_end()? Closes the log. */
static bool log_has_line(int log, const char *what)
{
	char line[1024];
	bool found = false;
	ssize_t n;

	while ((n = read(log, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		line[n > 0 ? n : 0] = 0;
		if (!strstr(line, what))
			continue;
		note("%.*s\n", (int)strcspn(line, "\n"), line);
		found = true;
	}
	close(log);
	return found;
}

/* ---- tracepoints of the driver ---- */

static void enable_event(const char *event, bool on)
{
	char path[200];

	snprintf(path, sizeof(path), TRACING "%s/enable", event);
	if (!write_file(path, on ? "1" : "0"))
		note("no %s\n", path);
}

static void start_tracing(void)
{
	write_file(TRACING "trace", "");
	enable_event(DRIVER "qi_submit", true);
	enable_event(DRIVER "cache_tag_assign", true);
	enable_event(DRIVER "cache_tag_unassign", true);
}

#define MAX_EVENTS	500

/* The events since start_tracing(), each from its name on; the last one is NULL */
static char **stop_tracing(void)
{
	static char lines[MAX_EVENTS][200], *events[MAX_EVENTS + 1];
	FILE *file;
	int n = 0;

	enable_event(DRIVER "qi_submit", false);
	enable_event(DRIVER "cache_tag_assign", false);
	enable_event(DRIVER "cache_tag_unassign", false);
	file = fopen(TRACING "trace", "r");
	while (file && n < MAX_EVENTS && fgets(lines[n], sizeof(lines[n]), file)) {
		char *name = lines[n][0] == '#' ? NULL : strstr(lines[n], ": ");

		if (name)
			events[n++] = name + 2;
	}
	if (file)
		fclose(file);
	events[n] = NULL;
	return events;
}

/* The first event from @from on that contains @what and @more; -1 if there is none */
static int find_event(char **events, int from, const char *what, const char *more)
{
	int i;

	for (i = from; events[i]; i++) {
		if (strstr(events[i], what) && strstr(events[i], more))
			return i;
	}
	return -1;
}

/* The first quadword of a descriptor */
static uint64_t first_word(const char *event)
{
	const char *word = strstr(event, ": 0x");

	return word ? strtoull(word + 2, NULL, 16) : 0;
}

static unsigned int domain_id(const char *event)
{
	return first_word(event) >> 16 & 0xffff;
}

/* ---- machines ---- */

FIXTURE(plain)
{
	struct vmm vmm;
	struct testdev *dev;
	unsigned int data;
};

/* A page of data is mapped for the RID. */
FIXTURE_SETUP(plain)
{
	struct vmm *vmm = &self->vmm;

	self->dev = &vmm->dev;
	ASSERT_TRUE(open_guest(vmm, getenv("TESTDEV")));
	self->data = new_data(vmm);
	ASSERT_TRUE(map_page(vmm, self->data));
	vmm->parent = new_paging(vmm, 0, 0);
	ASSERT_NE(0, vmm->parent);
	ASSERT_TRUE(attach(vmm, RID, vmm->parent));
}

FIXTURE_TEARDOWN(plain)
{
	close(self->vmm.dev.fd);
	close(self->vmm.iommufd);
}

static bool reads(struct testdev *dev, unsigned int pasid, unsigned int page)
{
	struct vtdt_command c = execute(dev, VTDT_READ | PLAIN, pasid, page * PAGE, 0);

	if (c.status == VTDT_OK && c.data == mark(page))
		return true;
	note("PASID %#x, status %u\n", pasid, c.status);
	return false;
}

/* A guest's memory in a nest parent, and an empty table for a nested domain */
FIXTURE(guest)
{
	struct vmm vmm;
	struct testdev *dev;
	unsigned int root;
};

FIXTURE_SETUP(guest)
{
	struct vmm *vmm = &self->vmm;

	self->dev = &vmm->dev;
	ASSERT_TRUE(open_guest(vmm, getenv("TESTDEV")));
	ASSERT_TRUE(map_guest(vmm));
	vmm->parent = new_parent(vmm, 0);
	ASSERT_NE(0, vmm->parent);
	self->root = new_page(vmm);
}

FIXTURE_TEARDOWN(guest)
{
	close(self->vmm.dev.fd);
	close(self->vmm.iommufd);
}

/* A PASID with a fault queue */
FIXTURE(requests)
{
	struct vm vm;
	struct vmm *vmm;
};

static bool open_requests(struct vm *vm, const char *device, unsigned int pasid)
{
	struct vmm *vmm = &vm->vmm;

	*vm = (struct vm) { .dev = &vmm->dev, .pasid = pasid };
	vm->queue[SECOND].fd = -1;
	if (!open_guest(vmm, device) ||
	    !new_queue(vmm, &vm->queue[FIRST], &vm->fault[FIRST]))
		return false;
	vm->list_page = new_page(vmm);
	vmm->parent = new_paging(vmm, 0, 0);
	vm->hwpt = new_paging(vmm, 0, vm->fault[FIRST]);
	/* After a crash, the RID has to be attached first. */
	return map_page(vmm, vm->list_page) && vmm->parent && vm->hwpt &&
	       attach(vmm, RID, vmm->parent) && attach(vmm, LISTS, vmm->parent) &&
	       attach_vm(vm, vm->hwpt);
}

FIXTURE_SETUP(requests)
{
	self->vmm = &self->vm.vmm;
	ASSERT_TRUE(open_requests(&self->vm, getenv("TESTDEV"), 1));
}

FIXTURE_TEARDOWN(requests)
{
	close_vm(&self->vm);
}

/* ---- iommu/vt-d: caches ---- */

/* Unmapping invalidates what the device's TLB has cached for PASID 0. */
TEST_F(plain, device_tlb_of_pasid_0)
{
	const unsigned int how = VTDT_READ | BY_TLB;
	struct vtdt_command c = execute(self->dev, how, 0, self->data * PAGE, 0);

	ASSERT_EQ(VTDT_OK, c.status);
	ASSERT_EQ(mark(self->data), c.data);
	ASSERT_TRUE(unmap_area(&self->vmm, self->data * PAGE, PAGE));
	EXPECT_EQ(VTDT_NOT_TRANSLATED, execute(self->dev, how, 0, self->data * PAGE, 0).status);
	EXPECT_EQ(0, *reg(self->dev, VTDT_TLB));
}

/* Cache tags are assigned before the entry is set up, and kept until it is invalidated. */
TEST_F(plain, cache_tags_while_rid_translates)
{
	const char *setup = "intel_pasid_setup_first_level";
	char **events;
	int tag;

	ASSERT_TRUE(write_file(TRACING "kprobe_events",
			       "p:mainline/setup intel_pasid_setup_first_level"));
	start_tracing();
	ASSERT_TRUE(detach(&self->vmm, RID));
	events = stop_tracing();
	tag = find_event(events, 0, "cache_tag_unassign", "");
	ASSERT_LE(0, tag);
	EXPECT_EQ(-1, find_event(events, tag, "pc_inv", ""));

	enable_event("events/mainline/setup", true);
	start_tracing();
	ASSERT_TRUE(attach(&self->vmm, RID, self->vmm.parent));
	enable_event("events/mainline/setup", false);
	events = stop_tracing();
	write_file(TRACING "kprobe_events", "");
	tag = find_event(events, 0, "cache_tag_assign", "");
	ASSERT_LE(0, tag);
	EXPECT_LE(tag, find_event(events, 0, "setup:", setup));
}

/* The range exceeds the largest address mask of the IOMMU: all of it is invalidated. */
TEST_F(guest, invalidation_beyond_mamv)
{
	unsigned int first = new_data(&self->vmm), second = new_data(&self->vmm);
	int log = open_log_at_end();
	unsigned int hwpt;

	map(&self->vmm, self->root, IOVA, first);
	hwpt = nest(&self->vmm, self->root, 0);
	ASSERT_NE(0, hwpt);
	ASSERT_TRUE(attach(&self->vmm, RID, hwpt));
	ASSERT_EQ(mark(first), execute(self->dev, VTDT_READ | PLAIN, RID, IOVA, 0).data);
	map(&self->vmm, self->root, IOVA, second);
	/* the 16 GiB around IOVA */
	ASSERT_TRUE(invalidate(&self->vmm, hwpt, IOVA & ~(16 * (1UL << 30) - 1), 4 << 20, 0));
	EXPECT_EQ(mark(second), execute(self->dev, VTDT_READ | PLAIN, RID, IOVA, 0).data);
	EXPECT_FALSE(log_has_line(log, "Invalidation Queue Error"));
}

/* ---- iommu/vt-d: attaching ---- */

/* If an attach is refused, the old domain stays attached. */
TEST(refused_attach_keeps_old_domain)
{
	unsigned int data, fault;
	struct pollfd queue;
	struct vmm vmm;

	ASSERT_TRUE(open_guest(&vmm, getenv("TESTDEV3")));
	data = new_data(&vmm);
	ASSERT_TRUE(map_page(&vmm, data));
	vmm.parent = new_paging(&vmm, 0, 0);
	ASSERT_TRUE(attach(&vmm, RID, vmm.parent));
	ASSERT_TRUE(reads(&vmm.dev, RID, data));
	ASSERT_TRUE(new_queue(&vmm, &queue, &fault));
	EXPECT_FALSE(attach(&vmm, RID, new_paging(&vmm, 0, fault)));
	EXPECT_TRUE(reads(&vmm.dev, RID, data));
}

/* One process attaches and detaches while another one toggles dirty tracking. */
TEST_F(guest, dirty_tracking_while_attaching)
{
	struct iommu_hwpt_set_dirty_tracking set = { .size = sizeof(set) };
	int i, refused = 0;
	pid_t child;

	set.hwpt_id = new_parent(&self->vmm, IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
	ASSERT_NE(0, set.hwpt_id);
	child = fork();
	if (!child) {
		while (getppid() != 1) {
			attach(&self->vmm, 1, set.hwpt_id);
			detach(&self->vmm, 1);
		}
		_exit(0);
	}
	for (i = 0; i < 5000; i++) {
		set.flags = i & 1 ? 0 : IOMMU_HWPT_DIRTY_TRACKING_ENABLE;
		if (ioctl(self->vmm.iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set))
			refused++;
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	EXPECT_EQ(0, refused);
}

/* ---- iommufd: reports of dirty pages ---- */

/* A nest parent that tracks dirty pages, and that the RID of the device is attached to */
static bool track_dirty_pages(struct vmm *vmm)
{
	struct iommu_hwpt_set_dirty_tracking set = {
		.size = sizeof(set), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	};

	set.hwpt_id = new_parent(vmm, IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
	vmm->parent = set.hwpt_id;
	return vmm->parent && attach(vmm, RID, vmm->parent) &&
	       !ioctl(vmm->iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set);
}

static int get_dirty_pages(struct vmm *vmm, uint64_t iova, uint64_t length, void *bitmap)
{
	struct iommu_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get), .hwpt_id = vmm->parent, .iova = iova,
		.length = length, .page_size = PAGE, .data = (uintptr_t)bitmap,
	};

	return ioctl(vmm->iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get);
}

/* A report ends at a hole. */
TEST_F(guest, dirty_pages_around_a_hole)
{
	struct vmm *vmm = &self->vmm;
	uint64_t bits[1] = {};

	ASSERT_TRUE(track_dirty_pages(vmm));
	EXPECT_EQ(0, get_dirty_pages(vmm, 0, 2 * PAGE, bits));
	ASSERT_TRUE(unmap_area(vmm, PAGE, PAGE));
	EXPECT_EQ(-1, get_dirty_pages(vmm, 0, 3 * PAGE, bits));
	EXPECT_EQ(EINVAL, errno);
}

/* The bitmap cannot be written. */
TEST_F(guest, dirty_pages_without_bitmap)
{
	struct vmm *vmm = &self->vmm;
	unsigned int data = new_page(vmm);
	void *nothing = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_TRUE(track_dirty_pages(vmm));
	ASSERT_EQ(VTDT_OK, execute(self->dev, VTDT_WRITE | PLAIN, RID, data * PAGE, 1).status);
	EXPECT_EQ(-1, get_dirty_pages(vmm, data * PAGE, PAGE, nothing));
	EXPECT_EQ(EFAULT, errno);
}

/* Each half of a large page is reported, and no more than that. */
TEST_F(guest, dirty_halves_of_a_large_page)
{
	const uint64_t size = 2 << 20, half = size / 2, iova = 1 << 30;
	const int words = half / PAGE / 64;
	struct vmm *vmm = &self->vmm;
	int part, i;
	char *memory;

	memory = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	ASSERT_NE(MAP_FAILED, memory);
	memory = (void *)(((uintptr_t)memory + size - 1) & ~(size - 1));
	ASSERT_EQ(0, madvise(memory, size, MADV_HUGEPAGE));
	memset(memory, 0, size);
	ASSERT_TRUE(map_area(vmm, iova, memory, size));
	ASSERT_TRUE(track_dirty_pages(vmm));
	for (part = 0; part < 2; part++) {
		uint64_t bits[5] = {};

		ASSERT_EQ(VTDT_OK, execute(self->dev, VTDT_WRITE | PLAIN, RID,
					   iova + part * half, 1).status);
		ASSERT_EQ(0, get_dirty_pages(vmm, iova + part * half, half, bits));
		for (i = 0; i < words; i++)
			EXPECT_EQ(~0UL, bits[i]) TH_LOG("half %d", part);
		EXPECT_EQ(0, bits[words]) TH_LOG("half %d", part);
	}
}

/* ---- iommu/vt-d: arguments of user space ---- */

static bool nesting_gives(struct vmm *vmm, uint64_t root, uint64_t flags, unsigned int width,
			  int error)
{
	struct iommu_hwpt_vtd_s1 data = {
		.pgtbl_addr = root, .addr_width = width, .flags = flags,
	};
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .dev_id = vmm->dev.dev_id, .pt_id = vmm->parent,
		.data_type = IOMMU_HWPT_DATA_VTD_S1,
		.data_len = sizeof(data), .data_uptr = (uintptr_t)&data,
	};
	int ret = ioctl(vmm->iommufd, IOMMU_HWPT_ALLOC, &alloc);

	if (ret ? errno == error : !error)
		return true;
	note("root %#lx, flags %#lx, width %u: %d\n", root, flags, width, ret ? errno : 0);
	return false;
}

TEST_F(guest, nested_data_is_checked)
{
	struct vmm *vmm = &self->vmm;
	const uint64_t root = self->root * PAGE;

	EXPECT_TRUE(nesting_gives(vmm, root, 0, 48, 0));
	EXPECT_TRUE(nesting_gives(vmm, root | 1, 0, 48, EINVAL));
	EXPECT_TRUE(nesting_gives(vmm, root | 0x800, 0, 48, EINVAL));
	EXPECT_TRUE(nesting_gives(vmm, 1UL << 57, 0, 48, EINVAL));
	EXPECT_TRUE(nesting_gives(vmm, root, 0, 39, EINVAL));
	EXPECT_TRUE(nesting_gives(vmm, root, 0, 57, EINVAL));
}

TEST_F(guest, reserved_field_of_nested_data)
{
	const uint64_t root = self->root * PAGE;
	struct iommu_hwpt_vtd_s1 data = {
		.pgtbl_addr = root, .addr_width = 48, .__reserved = 1,
	};
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .dev_id = self->dev->dev_id,
		.pt_id = self->vmm.parent, .data_type = IOMMU_HWPT_DATA_VTD_S1,
		.data_len = sizeof(data), .data_uptr = (uintptr_t)&data,
	};

	EXPECT_EQ(-1, ioctl(self->vmm.iommufd, IOMMU_HWPT_ALLOC, &alloc));
	EXPECT_EQ(EOPNOTSUPP, errno);
	data.__reserved = 0;
	EXPECT_EQ(0, ioctl(self->vmm.iommufd, IOMMU_HWPT_ALLOC, &alloc));

	/* nor unknown flags */
	EXPECT_TRUE(nesting_gives(&self->vmm, root, 1 << 3, 48, EOPNOTSUPP));
	EXPECT_TRUE(nesting_gives(&self->vmm, root, 1UL << 63, 48, EOPNOTSUPP));
}

TEST_F(guest, empty_and_overflowing_ranges)
{
	const uint64_t pages = 1UL << 52;	/* of a 64-bit address space */
	unsigned int hwpt = nest(&self->vmm, self->root, 0);

	ASSERT_NE(0, hwpt);
	EXPECT_TRUE(invalidate(&self->vmm, hwpt, 0, ALL, 0));
	EXPECT_TRUE(invalidate(&self->vmm, hwpt, -PAGE, 1, 0));
	EXPECT_FALSE(invalidate(&self->vmm, hwpt, 0, 0, 0));
	EXPECT_FALSE(invalidate(&self->vmm, hwpt, PAGE, 0, 0));
	EXPECT_FALSE(invalidate(&self->vmm, hwpt, 0, pages, 0));
	EXPECT_FALSE(invalidate(&self->vmm, hwpt, 0, pages + 1, 0));
	EXPECT_FALSE(invalidate(&self->vmm, hwpt, -PAGE, 2, 0));
}

/* ---- vfio and iommufd ---- */

/* The PASID is detached again if copy_to_user() fails; the RID stays attached. */
TEST_F(plain, attach_undone_after_efault)
{
	struct vfio_device_attach_iommufd_pt *arg = (void *)self->vmm.guest[GUEST_PAGES - 1];

	*arg = (struct vfio_device_attach_iommufd_pt) {
		.argsz = sizeof(*arg), .flags = VFIO_DEVICE_ATTACH_PASID,
		.pasid = 1, .pt_id = self->vmm.parent,
	};
	ASSERT_EQ(0, mprotect(arg, PAGE, PROT_READ));
	ASSERT_EQ(-1, ioctl(self->dev->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, arg));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_TRUE(reads(self->dev, RID, self->data));
	EXPECT_EQ(VTDT_REFUSED, execute(self->dev, VTDT_READ | PLAIN, 1, self->data * PAGE,
					0).status);
}

TEST_F(plain, pasid_0_is_refused)
{
	ASSERT_TRUE(detach(&self->vmm, RID));
	EXPECT_FALSE(attach(&self->vmm, 0, self->vmm.parent));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_TRUE(attach(&self->vmm, RID, self->vmm.parent));
	EXPECT_TRUE(reads(self->dev, RID, self->data));
}

TEST(hw_info_if_pasid_is_not_enabled)
{
	struct iommu_hw_info info = { .size = sizeof(info) };
	int log = open_log_at_end();
	struct vmm vmm;

	ASSERT_TRUE(open_guest(&vmm, getenv("NOACS")));
	info.dev_id = vmm.dev.dev_id;
	ASSERT_EQ(0, ioctl(vmm.iommufd, IOMMU_GET_HW_INFO, &info));
	EXPECT_EQ(0, info.out_max_pasid_log2);
	EXPECT_FALSE(info.out_capabilities &
		     (IOMMU_HW_CAP_PCI_PASID_EXEC | IOMMU_HW_CAP_PCI_PASID_PRIV));
	EXPECT_FALSE(log_has_line(log, "WARNING"));
}

struct allocator {
	struct vmm *vmm;
	volatile unsigned int dev_id;
	volatile bool stop;
};

static void *allocate(void *data)
{
	struct allocator *a = data;

	while (!a->stop) {
		struct iommu_hwpt_alloc alloc = {
			.size = sizeof(alloc), .dev_id = a->dev_id, .pt_id = a->vmm->ioas,
		};

		if (!ioctl(a->vmm->iommufd, IOMMU_HWPT_ALLOC, &alloc))
			destroy(a->vmm, alloc.out_hwpt_id);
	}
	return NULL;
}

/* Closing the device waits for calls in progress, and no longer. */
TEST(closed_while_hwpts_are_allocated)
{
	const char *name = getenv("TESTDEV3");
	struct allocator a = {};
	long start, worst = 0;
	pthread_t thread[2];
	struct vmm vmm;
	int i;

	ASSERT_TRUE(open_guest(&vmm, name));
	a.vmm = &vmm;
	a.dev_id = vmm.dev.dev_id;
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, allocate, &a));
	for (i = 0; i < 30 && worst < 30000; i++) {
		sleep_ms(1 + i % 3);
		munmap((void *)vmm.dev.regs, 0x10000);
		start = now_ms();
		close(vmm.dev.fd);
		if (now_ms() - start > worst)
			worst = now_ms() - start;
		ASSERT_TRUE(open_device(&vmm.dev, name, vmm.iommufd));
		a.dev_id = vmm.dev.dev_id;
	}
	a.stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	TH_LOG("a close took up to %ld ms", worst);
	EXPECT_GT(30000, worst);
}

/* BAR 0 of a device, from its configuration space */
static uint32_t read_bar(const char *device)
{
	uint32_t bar = 0;
	char path[100];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", device);
	fd = open(path, O_RDONLY);
	if (pread(fd, &bar, sizeof(bar), 0x10) != sizeof(bar))
		bar = 0;
	close(fd);
	return bar & ~15;
}

/* For 30 seconds one process resets the device by sysfs, and another one opens it. */
TEST(reset_while_device_is_opened)
{
	const char *name = getenv("NOACS");
	long end = now_ms() + 30000;
	uint32_t bar = read_bar(name);
	int opened = 0;
	char path[100];
	struct vmm vmm;
	pid_t child;

	ASSERT_NE(0, bar);
	ASSERT_TRUE(open_guest(&vmm, name));
	munmap((void *)vmm.dev.regs, 0x10000);
	close(vmm.dev.fd);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", name);
	child = fork();
	if (!child) {
		while (getppid() != 1) {
			write_file(path, "1");
			usleep(rand() % 3000);
		}
		_exit(0);
	}
	while (now_ms() < end && read_bar(name) == bar) {
		struct vfio_device_bind_iommufd bind = {
			.argsz = sizeof(bind), .iommufd = vmm.iommufd,
		};
		int fd = open_cdev(name);

		/* fails while the device is being reset */
		if (!ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind))
			opened++;
		close(fd);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	TH_LOG("opened %d times", opened);
	EXPECT_LT(0, opened);
	EXPECT_EQ(bar, read_bar(name));
}

/* ---- page requests ---- */

TEST_F(requests, are_served)
{
	struct vm *vm = &self->vm;
	struct part part;

	start_request(vm, 9, IOVA, READ);
	ASSERT_TRUE(receive(vm, FIRST, &part, 1));
	EXPECT_TRUE(reply(vm, FIRST, &part, SUCCESS));
	EXPECT_EQ(SUCCESS, answer(vm, 0));
}

/* Not a test by itself: the device makes requests for 30 s, in which the machine crashes. */
TEST_F(requests, pending_at_crash)
{
	struct vm *vm = &self->vm;
	struct vtdt_command c[VTDT_SLOTS];
	int i;

	if (!getenv("LEAVE"))
		SKIP(return, "only with LEAVE=1");
	for (i = 0; i < VTDT_SLOTS; i++)
		c[i] = page_request(vm, i, IOVA, VTDT_LAST | READ);
	*reg(vm->dev, VTDT_DELAY) = 500000000;
	send_list(vm, c, VTDT_SLOTS);
	close(open("/tmp/left", O_WRONLY | O_CREAT, 0600));
	sleep_ms(1000000);
}

/* All are answered: one that was read, one that was not, and one that comes later. */
TEST_F(requests, queue_is_closed)
{
	struct vm *vm = &self->vm;
	struct vtdt_command c[2];
	struct part part;

	c[0] = page_request(vm, 1, IOVA, VTDT_LAST | READ);
	c[1] = page_request(vm, 2, IOVA, VTDT_LAST | READ);
	send_list(vm, c, 2);
	ASSERT_TRUE(receive(vm, FIRST, &part, 1));
	close_queue(vm, FIRST);
	EXPECT_EQ(INVALID, answer(vm, 0));
	EXPECT_EQ(INVALID, answer(vm, 1));
	EXPECT_EQ(INVALID, request(vm, 3, IOVA, READ));
}

/* Two PASIDs may use a group index at the same time. */
TEST_F(requests, same_group_of_two_pasids)
{
	struct vm *vm = &self->vm;
	struct iommu_hwpt_pgfault fault[2];
	struct vtdt_command c;
	struct part part;

	ASSERT_TRUE(attach(self->vmm, 2, vm->hwpt));
	c = execute(vm->dev, VTDT_PAGE_REQUEST | READ | VTDT_GROUP(5), 1, IOVA, 0);
	ASSERT_EQ(VTDT_OK, c.status);
	c = command(VTDT_PAGE_REQUEST | READ | VTDT_LAST | VTDT_GROUP(5), 2, IOVA + PAGE);
	start(vm->dev, &c);
	ASSERT_TRUE(comes(&vm->queue[FIRST], 1));
	ASSERT_EQ((ssize_t)sizeof(fault[0]),
		  read(vm->queue[FIRST].fd, fault, sizeof(fault)));
	EXPECT_EQ(2, fault[0].pasid);
	EXPECT_EQ(IOVA + PAGE, fault[0].addr);
	EXPECT_TRUE(respond(&vm->queue[FIRST], fault[0].cookie, INVALID));
	await(vm->dev);

	start_request(vm, 5, IOVA + 2 * PAGE, READ);
	ASSERT_TRUE(receive(vm, FIRST, &part, 2));
	EXPECT_EQ(IOVA, part.fault[0].addr);
	EXPECT_TRUE(reply(vm, FIRST, &part, SUCCESS));
	EXPECT_EQ(SUCCESS, answer(vm, 0));
}

/* Draining invalidates the domain of the PASID, not that of the RID. */
TEST_F(requests, drained_with_pasids_domain_id)
{
	struct vm *vm = &self->vm;
	int entry, iotlb;
	char **events;

	start_tracing();
	ASSERT_TRUE(detach(self->vmm, vm->pasid));
	events = stop_tracing();
	entry = find_event(events, 0, "pc_inv", "");
	ASSERT_LE(0, entry);
	/* draining begins with a wait descriptor; the invalidation follows */
	iotlb = find_event(events, entry, "inv_wait", "") + 1;
	ASSERT_LT(0, iotlb);
	EXPECT_NE(NULL, strstr(events[iotlb], "p_iotlb_inv")) TH_LOG("%s", events[iotlb]);
	EXPECT_EQ(domain_id(events[entry]), domain_id(events[iotlb]));
}

/* A group for which there is no memory is answered with Response Failure (1111b). */
TEST_F(requests, failure_without_memory)
{
	struct vm *vm = &self->vm;
	char **events;
	int response;

	ASSERT_TRUE(write_file("/sys/kernel/debug/failslab/times", "1"));
	ASSERT_TRUE(write_file("/sys/kernel/debug/failslab/probability", "100"));
	start_tracing();
	EXPECT_NE(SUCCESS, request(vm, 1, IOVA, READ));
	write_file("/sys/kernel/debug/failslab/probability", "0");
	events = stop_tracing();
	response = find_event(events, 0, "page_grp_resp", "");
	ASSERT_LE(0, response);
	EXPECT_EQ(15, first_word(events[response]) >> 12 & 15);
}

/* Page requests arrive while fault-capable domains are attached and detached. */
TEST_F(requests, domain_replaced_during_requests)
{
	struct vm *vm = &self->vm;
	int log = open_log_at_end(), i, j;
	struct vtdt_command c[32];
	pid_t child;

	child = fork();
	if (!child) {
		while (getppid() != 1) {
			attach_vm(vm, self->vmm->parent);
			attach_vm(vm, vm->hwpt);
			detach(self->vmm, vm->pasid);
			attach_vm(vm, vm->hwpt);
		}
		_exit(0);
	}
	for (i = 0; i < 300; i++) {
		for (j = 0; j < 32; j++)
			c[j] = page_request(vm, j, IOVA, VTDT_LAST | READ);
		send_list(vm, c, 32);
		for (j = 0; j < 32; j++)
			EXPECT_NE(SUCCESS, answer(vm, j));
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	EXPECT_FALSE(log_has_line(log, "WARNING"));
}

/* A nested domain replaces a fault-capable one; then the device is removed. */
TEST(nested_replaces_fault_capable)
{
	const char *device = getenv("TESTDEV2");
	int log = open_log_at_end();
	char path[100];
	struct vm vm;

	ASSERT_TRUE(open_requests(&vm, device, RID));
	vm.vmm.parent = new_parent(&vm.vmm, 0);
	ASSERT_TRUE(attach(&vm.vmm, RID, nest(&vm.vmm, new_page(&vm.vmm), 0)));
	close_vm(&vm);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", device);
	ASSERT_TRUE(write_file(path, "1"));
	EXPECT_FALSE(log_has_line(log, "WARNING"));
}

TEST_HARNESS_MAIN
