// SPDX-License-Identifier: GPL-2.0
/*
 * The VFIO driver of a device is taken away while the device pages on demand: unbound, unloaded,
 * or removed with the device.  The user gives the device up when the kernel asks for it, and
 * then nothing waits for workers, and nothing is left.  Prints TAP.
 *
 * TESTDEV belongs to vfio-pci, TESTDEV2 may be given to the module vtd_vfio. The suite "demand"
 * prepares cgroups, and loads page_lock and vtd_vfio.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "vtd_demand_machine.h"

#define CGROUP		"/sys/fs/cgroup/unbind"
#define TIMES		6		/* more than DEMAND_MAX_DYING */

/* Path of a file of the device */
static const char *file_of(const char *device, const char *name)
{
	static char path[100];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, name);
	return path;
}

static bool has(const char *device, const char *name)
{
	return !access(file_of(device, name), F_OK);
}

static bool bind_to(const char *device, const char *driver)
{
	return write_file(file_of(device, "driver_override"), driver) &&
	       (!has(device, "driver") || write_file(file_of(device, "driver/unbind"), device)) &&
	       write_file("/sys/bus/pci/drivers_probe", device) && has(device, "driver");
}

/* Domains that exist; a HWPT that is left has one */
static unsigned int domains(void)
{
	FILE *file = fopen("/sys/kernel/debug/iommu/intel/pgtable_stats", "r");
	unsigned int n = 0;
	char line[300];

	while (file && fgets(line, sizeof(line), file))
		n += !strncmp(line, "dev=", 4);
	if (file)
		fclose(file);
	return n;
}

/* Bytes of the kernel that the process is charged for */
static long kernel_memory(void)
{
	/* Without this, memory.stat may be two seconds old. */
	number_in(CGROUP "/cpu.stat", "usage_usec");
	return number_in(CGROUP "/memory.stat", "sec_pagetables") +
	       number_in(CGROUP "/memory.stat", "slab_unreclaimable");
}

/* ---- ways to take the driver away; they wait for the user ---- */

static bool unbind(const char *device)
{
	return write_file(file_of(device, "driver/unbind"), device);
}

static bool give_back(const char *device)
{
	return bind_to(device, "vfio-pci");
}

static bool remove_device(const char *device)
{
	return write_file(file_of(device, "remove"), "1");
}

static bool find_device(const char *device)
{
	return write_file("/sys/bus/pci/rescan", "1") && bind_to(device, "vfio-pci");
}

static bool unload(const char *device)
{
	return !syscall(SYS_delete_module, "vtd_vfio", O_NONBLOCK);
}

static bool load(const char *device)
{
	int fd = open("/vtd_vfio.ko", O_RDONLY | O_CLOEXEC);
	bool ok = !syscall(SYS_finit_module, fd, "", 0);

	close(fd);
	return ok && bind_to(device, "vtd_vfio");
}

/* ---- what the device does meanwhile ---- */

struct state {
	struct demand d;
	struct late late;
	unsigned long locked;		/* a page of the child */
	pid_t child;
};

/* The process changes pages, so that there are always requests. */
static bool begin_work(struct state *state)
{
	start_transfer(&state->d, VTDT_WRITE, IOVA, SIZE, 1);
	return wait_until(present(state->d.memory)) &&
	       !madvise(state->d.memory, SIZE, MADV_DONTNEED);
}

/* A worker waits for userfaultfd. */
static bool begin_late(struct state *state)
{
	unsigned long address;

	if (!catch_faults(&state->late, state->d.memory, 16 * PAGE))
		return false;
	start_transfer(&state->d, VTDT_WRITE, IOVA, PAGE, 1);
	return wait_for_fault(&state->late, &address);
}

static bool tell_page_lock(const char *what, unsigned long pfn)
{
	char path[100], number[30];

	snprintf(path, sizeof(path), "/sys/module/page_lock/parameters/%s", what);
	sprintf(number, "%lu", pfn);
	return write_file(path, number);
}

static void close_device(struct demand *d)
{
	if (d->vmm.dev.regs) {
		munmap((void *)d->vmm.dev.regs, 0x10000);
		close(d->vmm.dev.fd);
	}
	d->vmm.dev.regs = NULL;
}

/* The child of "begin_locked" lends a page of a memfd to the device, and tells which it is. */
static void lend_page(struct demand *d, int to_parent)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);
	unsigned char *page = d->memory;
	unsigned long pfn;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ftruncate(fd, PAGE) ||
	    mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != page)
		_exit(1);
	*page = 1;
	pfn = pfn_of(page);
	if (madvise(page, PAGE, MADV_DONTNEED) || !map_area(&d->vmm, ELSEWHERE, page, PAGE))
		_exit(2);
	close_device(d);
	close(d->vmm.iommufd);
	if (write(to_parent, &pfn, sizeof(pfn)) != sizeof(pfn))
		_exit(3);
	for (;;)
		pause();
}

/*
 * A worker waits for a page that is locked, which no signal ends, and holds mmap_lock: another
 * process has mapped it.
 */
static bool begin_locked(struct state *state)
{
	int pipes[2];

	if (pipe(pipes))
		return false;
	state->child = fork();
	if (!state->child)
		lend_page(&state->d, pipes[1]);
	close(pipes[1]);
	if (read(pipes[0], &state->locked, sizeof(state->locked)) != sizeof(state->locked) ||
	    !tell_page_lock("hold", state->locked) || !tell_page_lock("lock", state->locked))
		return false;
	close(pipes[0]);
	/* a guest's tables map it as well */
	start_transfer(&state->d, VTDT_READ, ELSEWHERE, PAGE, 1);
	return wait_until(workers_below(FOR_PAGE_LOCK));
}

static bool end_state(struct state *state)
{
	if (state->late.size)
		close(state->late.fd);
	if (!state->child)
		return true;
	return tell_page_lock("unlock", state->locked) && tell_page_lock("drop", state->locked) &&
	       !kill(state->child, SIGKILL) &&
	       waitpid(state->child, NULL, 0) == state->child &&
	       wait_until(!workers_below(FOR_PAGE_LOCK));
}

/* ---- all ways in all states ---- */

FIXTURE(taken_away)
{
	const char *device;
	struct state state;
};

FIXTURE_VARIANT(taken_away)
{
	const char *device, *driver;
	bool (*take)(const char *device);
	bool (*bring)(const char *device);
	bool (*begin)(struct state *state);
};

#define UNBOUND		"TESTDEV", "vfio-pci", unbind, give_back
#define REMOVED		"TESTDEV", "vfio-pci", remove_device, find_device
#define UNLOADED	"TESTDEV2", "vtd_vfio", unload, load

FIXTURE_VARIANT_ADD(taken_away, unbound_at_work) { UNBOUND, begin_work };
FIXTURE_VARIANT_ADD(taken_away, unbound_late) { UNBOUND, begin_late };
FIXTURE_VARIANT_ADD(taken_away, unbound_locked) { UNBOUND, begin_locked };
FIXTURE_VARIANT_ADD(taken_away, removed_at_work) { REMOVED, begin_work };
FIXTURE_VARIANT_ADD(taken_away, removed_late) { REMOVED, begin_late };
FIXTURE_VARIANT_ADD(taken_away, removed_locked) { REMOVED, begin_locked };
FIXTURE_VARIANT_ADD(taken_away, unloaded_at_work) { UNLOADED, begin_work };
FIXTURE_VARIANT_ADD(taken_away, unloaded_late) { UNLOADED, begin_late };
FIXTURE_VARIANT_ADD(taken_away, unloaded_locked) { UNLOADED, begin_locked };

FIXTURE_SETUP(taken_away)
{
	ASSERT_EQ(0, mkdir(CGROUP, 0755));
	ASSERT_TRUE(write_file(CGROUP "/cgroup.procs", "0"));
	self->device = getenv(variant->device);
	ASSERT_TRUE(bind_to(self->device, variant->driver));
	ASSERT_EQ(0, setenv("TESTDEV", self->device, 1));
}

FIXTURE_TEARDOWN(taken_away)
{
	/* It is open if the test has failed, and would have to be waited for. */
	close_device(&self->state.d);
	EXPECT_TRUE(bind_to(self->device, "vfio-pci"));
	ASSERT_TRUE(write_file("/sys/fs/cgroup/cgroup.procs", "0"));
	EXPECT_TRUE(wait_until(!rmdir(CGROUP)));
}

struct taker {
	bool (*take)(const char *device);
	const char *device;
	pthread_t thread;
	volatile bool done, ok;
};

static void *take_away(void *data)
{
	struct taker *taker = data;

	taker->ok = taker->take(taker->device);
	taker->done = true;
	return NULL;
}

/* Have the kernel ask for the device by an eventfd. */
static bool listen_for_request(struct testdev *dev, int event)
{
	struct {
		struct vfio_irq_set set;
		int fd;
	} irq = {
		.set = {
			.argsz = sizeof(irq), .index = VFIO_PCI_REQ_IRQ_INDEX,
			.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			.count = 1,
		},
		.fd = event,
	};

	return !ioctl(dev->fd, VFIO_DEVICE_SET_IRQS, &irq);
}

/*
 * The driver is taken away while the device is used; that completes as soon as the user has
 * closed it. The process and its memory stay. -1 if something fails, else ms.
 */
static long take_once(struct state *state, const char *device, struct taker *taker)
{
	struct pollfd request = { .fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN };
	bool by_request = taker->take != unload, asked, worked;
	long start;

	if (!listen_for_request(&state->d.vmm.dev, request.fd))
		return -1;
	/* A module is in use until then. */
	if (!by_request && (unload(device) || errno != EAGAIN))
		return -1;
	if (by_request && pthread_create(&taker->thread, NULL, take_away, taker))
		return -1;
	asked = !by_request || comes(&request, 1);
	worked = *reg(&state->d.vmm.dev, VTDT_ID) == VTDT_ID_VALUE && !taker->done;
	start = now_ms();
	close_device(&state->d);
	if (!by_request)
		take_away(taker);
	else
		pthread_join(taker->thread, NULL);
	start = now_ms() - start;
	close(request.fd);
	return asked && worked && taker->ok ? start : -1;
}

TEST_F_TIMEOUT(taken_away, and_comes_back, 60)
{
	unsigned int i, before = domains();
	struct state *state = &self->state;
	struct demand *d = &state->d;
	long took, memory = 0;

	for (i = 0; i < TIMES; i++) {
		struct taker taker = { variant->take, self->device };

		*state = (struct state) {};
		ASSERT_TRUE(open_demand(d, i % 2 ? 5 : RID, i % 3 == 2));
		ASSERT_TRUE(variant->begin(state));
		took = take_once(state, self->device, &taker);
		/* at once, not when the page comes */
		ASSERT_LE(0, took);
		EXPECT_GT(8000, took);
		EXPECT_FALSE(has(self->device, "driver"));
		EXPECT_FALSE(has(self->device, "vfio-dev"));
		close(d->vmm.iommufd);
		EXPECT_TRUE(wait_until(domains() <= before));

		/* with another worker that still waits, if the page is locked */
		ASSERT_TRUE(variant->bring(self->device));
		EXPECT_EQ(before, domains());
		EXPECT_TRUE(end_state(state));
		munmap(d->memory, SIZE);
		if (d->tables)
			munmap(d->tables, SZ_2M);

		ASSERT_TRUE(open_demand(d, RID, false));
		EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE, 2));
		EXPECT_TRUE(holds(d->memory, IOVA, SIZE, 2));
		close_device(d);
		close(d->vmm.iommufd);
		munmap(d->memory, SIZE);
		sleep_ms(100);
		memory = i == TIMES / 2 - 1 ? kernel_memory() : memory;
	}
	EXPECT_TRUE(wait_until(kernel_memory() - memory < 8 * 1024));
	note("%ld bytes leaked\n", kernel_memory() - memory);
}

TEST_HARNESS_MAIN
