// SPDX-License-Identifier: GPL-2.0
/*
 * A test for each fix in series/mainline, which fails without it.  Uses only the
 * kernel's own interfaces.  TESTDEV and TESTDEV2 are ordinary, TESTDEV3 has no PRI,
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

static int log_at_end(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	lseek(fd, 0, SEEK_END);
	return fd;
}

/* Whether there are lines with @what since then; closes it */
static bool log_tells(int log, const char *what)
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

/* ---- what the driver does, by its tracepoints ---- */

static void trace(const char *event, bool on)
{
	char path[200];

	snprintf(path, sizeof(path), TRACING "%s/enable", event);
	if (!write_file(path, on ? "1" : "0"))
		note("no %s\n", path);
}

static void trace_anew(void)
{
	write_file(TRACING "trace", "");
	trace(DRIVER "qi_submit", true);
	trace(DRIVER "cache_tag_assign", true);
	trace(DRIVER "cache_tag_unassign", true);
}

#define MOST_EVENTS	500

/* The events since then, without what is before their names; NULL at the end */
static char **traced(void)
{
	static char lines[MOST_EVENTS][200], *events[MOST_EVENTS + 1];
	FILE *file;
	int n = 0;

	trace(DRIVER "qi_submit", false);
	trace(DRIVER "cache_tag_assign", false);
	trace(DRIVER "cache_tag_unassign", false);
	file = fopen(TRACING "trace", "r");
	while (file && n < MOST_EVENTS && fgets(lines[n], sizeof(lines[n]), file)) {
		char *name = lines[n][0] == '#' ? NULL : strstr(lines[n], ": ");

		if (name)
			events[n++] = name + 2;
	}
	if (file)
		fclose(file);
	events[n] = NULL;
	return events;
}

/* The first of them, from @from on, with both of these; -1 if there is none */
static int event_with(char **events, int from, const char *what, const char *more)
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

/* What the guest's table maps is behind the RID; it nests on a second level. */
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

/* Page requests of a PASID come to a queue. */
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

/* The device's TLB has what it asked for with PASID 0 until it is unmapped. */
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

/* Cache tags are there before the entry, and until it is invalidated. */
TEST_F(plain, cache_tags_while_it_translates)
{
	const char *setup = "intel_pasid_setup_first_level";
	char **events;
	int tag;

	ASSERT_TRUE(write_file(TRACING "kprobe_events",
			       "p:mainline/setup intel_pasid_setup_first_level"));
	trace_anew();
	ASSERT_TRUE(detach(&self->vmm, RID));
	events = traced();
	tag = event_with(events, 0, "cache_tag_unassign", "");
	ASSERT_LE(0, tag);
	EXPECT_EQ(-1, event_with(events, tag, "pc_inv", ""));

	trace("events/mainline/setup", true);
	trace_anew();
	ASSERT_TRUE(attach(&self->vmm, RID, self->vmm.parent));
	trace("events/mainline/setup", false);
	events = traced();
	write_file(TRACING "kprobe_events", "");
	tag = event_with(events, 0, "cache_tag_assign", "");
	ASSERT_LE(0, tag);
	EXPECT_LE(tag, event_with(events, 0, "setup:", setup));
}

/* A range wider than the IOMMU's largest address mask is invalidated all the same. */
TEST_F(guest, wide_invalidation)
{
	unsigned int first = new_data(&self->vmm), second = new_data(&self->vmm);
	int log = log_at_end();
	unsigned int hwpt;

	map(&self->vmm, self->root, IOVA, first);
	hwpt = nest(&self->vmm, self->root, 0);
	ASSERT_NE(0, hwpt);
	ASSERT_TRUE(attach(&self->vmm, RID, hwpt));
	ASSERT_EQ(mark(first), execute(self->dev, VTDT_READ | PLAIN, RID, IOVA, 0).data);
	map(&self->vmm, self->root, IOVA, second);
	/* 16 GiB around it */
	ASSERT_TRUE(invalidate(&self->vmm, hwpt, IOVA & ~(16 * (1UL << 30) - 1), 4 << 20, 0));
	EXPECT_EQ(mark(second), execute(self->dev, VTDT_READ | PLAIN, RID, IOVA, 0).data);
	EXPECT_FALSE(log_tells(log, "Invalidation Queue Error"));
}

/* ---- iommu/vt-d: attaching ---- */

/* A refused attach does not change the device. */
TEST(old_domain_stays)
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

/* One process attaches and detaches while another switches dirty tracking. */
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

/* ---- iommu/vt-d: a guest's data ---- */

static bool nests(struct vmm *vmm, uint64_t root, uint64_t flags, unsigned int width,
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

	EXPECT_TRUE(nests(vmm, root, 0, 48, 0));
	EXPECT_TRUE(nests(vmm, root | 1, 0, 48, EINVAL));
	EXPECT_TRUE(nests(vmm, root | 0x800, 0, 48, EINVAL));
	EXPECT_TRUE(nests(vmm, 1UL << 57, 0, 48, EINVAL));
	EXPECT_TRUE(nests(vmm, root, 0, 39, EINVAL));
	EXPECT_TRUE(nests(vmm, root, 0, 57, EINVAL));
	EXPECT_TRUE(nests(vmm, root, 1 << 3, 48, EOPNOTSUPP));
	EXPECT_TRUE(nests(vmm, root, 1UL << 63, 48, EOPNOTSUPP));
}

TEST_F(guest, ranges_that_are_none)
{
	const uint64_t pages = 1UL << 52;	/* as many as there are */
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

/* An attach that cannot be reported is undone, and nothing else is. */
TEST_F(plain, unreported_attach)
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

TEST(pasids_that_cannot_be_enabled)
{
	struct iommu_hw_info info = { .size = sizeof(info) };
	int log = log_at_end();
	struct vmm vmm;

	ASSERT_TRUE(open_guest(&vmm, getenv("NOACS")));
	info.dev_id = vmm.dev.dev_id;
	ASSERT_EQ(0, ioctl(vmm.iommufd, IOMMU_GET_HW_INFO, &info));
	EXPECT_EQ(0, info.out_max_pasid_log2);
	EXPECT_FALSE(info.out_capabilities &
		     (IOMMU_HW_CAP_PCI_PASID_EXEC | IOMMU_HW_CAP_PCI_PASID_PRIV));
	EXPECT_FALSE(log_tells(log, "WARNING"));
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

/* A close waits for those that use the device at this moment, and no longer. */
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

/*
 * Requests go on for half a minute, while the machine is made to crash: then nobody is
 * told of them.
 */
TEST_F(requests, left_behind)
{
	struct vm *vm = &self->vm;
	struct vtdt_command c[VTDT_SLOTS];
	int i;

	if (!getenv("LEAVE"))
		SKIP(return, "not asked for");
	for (i = 0; i < VTDT_SLOTS; i++)
		c[i] = page_request(vm, i, IOVA, VTDT_LAST | READ);
	*reg(vm->dev, VTDT_DELAY) = 500000000;
	send_list(vm, c, VTDT_SLOTS);
	close(open("/tmp/left", O_WRONLY | O_CREAT, 0600));
	sleep_ms(1000000);
}

/* What was read from the queue, what was not, and what comes later */
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

/* What is drained is what the PASID had, not the RID. */
TEST_F(requests, drained_by_the_pasids_domain)
{
	struct vm *vm = &self->vm;
	int entry, iotlb;
	char **events;

	trace_anew();
	ASSERT_TRUE(detach(self->vmm, vm->pasid));
	events = traced();
	entry = event_with(events, 0, "pc_inv", "");
	ASSERT_LE(0, entry);
	/* the fence that draining begins with, and what is behind it */
	iotlb = event_with(events, entry, "inv_wait", "") + 1;
	ASSERT_LT(0, iotlb);
	EXPECT_NE(NULL, strstr(events[iotlb], "p_iotlb_inv")) TH_LOG("%s", events[iotlb]);
	EXPECT_EQ(domain_id(events[entry]), domain_id(events[iotlb]));
}

/* Memory is short for a group: the answer is a failure by PCIe's number. */
TEST_F(requests, aborted)
{
	struct vm *vm = &self->vm;
	char **events;
	int response;

	ASSERT_TRUE(write_file("/sys/kernel/debug/failslab/times", "1"));
	ASSERT_TRUE(write_file("/sys/kernel/debug/failslab/probability", "100"));
	trace_anew();
	EXPECT_NE(SUCCESS, request(vm, 1, IOVA, READ));
	write_file("/sys/kernel/debug/failslab/probability", "0");
	events = traced();
	response = event_with(events, 0, "page_grp_resp", "");
	ASSERT_LE(0, response);
	EXPECT_EQ(15, first_word(events[response]) >> 12 & 15);
}

/* Requests go on while what they are reported to comes and goes. */
TEST_F(requests, replaced_meanwhile)
{
	struct vm *vm = &self->vm;
	int log = log_at_end(), i, j;
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
	EXPECT_FALSE(log_tells(log, "WARNING"));
}

/* A nested domain takes over from one that had page requests; then the device goes. */
TEST(nested_after_page_requests)
{
	const char *device = getenv("TESTDEV2");
	int log = log_at_end();
	char path[100];
	struct vm vm;

	ASSERT_TRUE(open_requests(&vm, device, RID));
	vm.vmm.parent = new_parent(&vm.vmm, 0);
	ASSERT_TRUE(attach(&vm.vmm, RID, nest(&vm.vmm, new_page(&vm.vmm), 0)));
	close_vm(&vm);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", device);
	ASSERT_TRUE(write_file(path, "1"));
	EXPECT_FALSE(log_tells(log, "WARNING"));
}

TEST_HARNESS_MAIN
