// SPDX-License-Identifier: GPL-2.0
/*
 * Hostile users: processes of two threads make random valid and invalid calls of iommufd
 * and VFIO, while their devices do DMA and request pages through tables of garbage.  Some
 * of the domains are paged on demand.  RLIMIT_MEMLOCK, RLIMIT_NOFILE and memory are low for
 * some users, allocations in the kernel fail, and forked children go on using the files, or
 * keep them over exec.  Users are killed at random, and devices are reset, unbound and removed through sysfs.  A single
 * call may succeed or fail.  But a killed process has to exit, no page may stay pinned, and
 * afterwards each device has to work for the next user.  The suite checks the kernel's log
 * for warnings.  Prints TAP.
 *
 * ATTACKED names the devices, SECONDS is the duration (20), SEED the seed of the random
 * numbers (the time).
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "vtd_vmm.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25	/* Linux 6.1 */
#endif

#define USERS		4
#define DEVICES		4
#define CALLS		3000	/* of a user that is not killed before */
#define HANDLES		64	/* iommufd hands out small numbers, lowest first */
#define AREAS		8	/* of 2 MiB each, where users map memory */
#define AREA		(GUEST_PAGES * PAGE)

static const char *devices[DEVICES];
static unsigned int n_devices;

/* Approximate number of successful calls of each kind, in all processes */
static struct counts {
	unsigned long users, mapped, parents, nested, attached, detached, answered,
		      resets, transfers, failed, children, removed, demand, small,
		      cut;
} *counts;

/* The threads of a process share this, deliberately without a lock. */
struct user {
	struct vmm vmm;
	struct pollfd queue;
	unsigned int fault, recent[8];	/* IDs of the queue, and of domains */
	const char *device;
};

static __thread uint64_t state;

static uint64_t draw(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state * 0x2545f4914f6cdd1d >> 11) % n;
}

static bool one_in(unsigned int n)
{
	return !draw(n);
}

/* Any 64-bit value; those near 0 and near the largest one come more often. */
static uint64_t any(void)
{
	switch (draw(4)) {
	case 0: return draw(64);
	case 1: return -draw(64);
	case 2: return 1UL << draw(64);
	default: return state;
	}
}

static unsigned int some_id(void)
{
	return one_in(30) ? any() : 1 + draw(HANDLES);
}

static unsigned int some_domain(struct user *user)
{
	return one_in(4) ? some_id() : user->recent[draw(8)];
}

static unsigned int some_queue(struct user *user)
{
	return one_in(10) ? some_id() : one_in(3) ? 0 : user->fault;
}

static void remember(struct user *user, unsigned int domain)
{
	if (domain)
		user->recent[draw(8)] = domain;
}

static unsigned int some_pasid(void)
{
	static const unsigned int known[] = { RID, RID, 0, 1, 2, 0xffff, 0xfffff };

	return one_in(20) ? any() : known[draw(7)];
}

static uint64_t some_address(void)
{
	return one_in(20) ? any() : draw(AREAS * AREA) & -8UL;
}

/* ---- calls ---- */

static void open_again(struct user *user)
{
	struct testdev *dev = &user->vmm.dev;

	if (dev->regs)
		munmap((void *)dev->regs, 2 * PAGE);
	dev->regs = NULL;
	if (dev->fd > 0)
		close(dev->fd);
	dev->fd = -1;
	open_device(dev, user->device, user->vmm.iommufd);
}

static void alloc_ioas(struct user *user)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	if (!ioctl(user->vmm.iommufd, IOMMU_IOAS_ALLOC, &alloc) && one_in(2))
		user->vmm.ioas = alloc.out_ioas_id;
}

static void map_something(struct user *user)
{
	uint64_t offset = draw(GUEST_PAGES) * PAGE;
	uint64_t length = one_in(3) ? AREA - offset : PAGE * (1 + draw(4));

	if (offset + length > AREA)
		length = AREA - offset;
	counts->mapped += map_area(&user->vmm,
				   one_in(30) ? any() : draw(AREAS) * AREA + offset,
				   (void *)user->vmm.guest + offset,
				   one_in(30) ? any() : length);
}

/* More areas than a process may have in its HWPTs that are paged on demand, in time */
static void map_many(struct user *user)
{
	unsigned int i;

	for (i = 0; i < 512; i++)
		counts->mapped += map_area(&user->vmm, (AREAS + i) * AREA,
					   user->vmm.guest[i % GUEST_PAGES], PAGE);
}

static void unmap_something(struct user *user)
{
	if (one_in(4))
		unmap_area(&user->vmm, 0, ALL);
	else
		unmap_area(&user->vmm, some_address() & -PAGE,
			   one_in(10) ? any() : PAGE * (1 + draw(GUEST_PAGES)));
}

static void copy_something(struct user *user)
{
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy), .flags = RW | IOMMU_IOAS_MAP_FIXED_IOVA,
		.dst_ioas_id = some_id(), .src_ioas_id = some_id(), .length = PAGE,
		.dst_iova = some_address() & -PAGE, .src_iova = some_address() & -PAGE,
	};

	ioctl(user->vmm.iommufd, IOMMU_IOAS_COPY, &copy);
}

/* The IOAS loses its large pages, so that VFIO's calls can unmap a part of an area. */
static void cut_areas(struct user *user)
{
	struct iommu_option option = {
		.size = sizeof(option), .option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_SET, .object_id = user->vmm.ioas, .val64 = one_in(4),
	};
	struct iommu_vfio_ioas ioas = {
		.size = sizeof(ioas), .ioas_id = user->vmm.ioas, .op = IOMMU_VFIO_IOAS_SET,
	};
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = some_address() & -PAGE,
		.size = PAGE * (1 + draw(GUEST_PAGES)),
	};

	ioctl(user->vmm.iommufd, IOMMU_OPTION, &option);
	ioctl(user->vmm.iommufd, IOMMU_VFIO_IOAS, &ioas);
	counts->cut += !ioctl(user->vmm.iommufd, VFIO_IOMMU_UNMAP_DMA, &unmap) && unmap.size;
}

static void alloc_paging(struct user *user)
{
	unsigned int flags = one_in(20) ? any() : draw(2) * IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	unsigned int id;

	if (one_in(3))
		flags = IOMMU_HWPT_ALLOC_DEMAND;
	if (one_in(2))
		id = new_parent(&user->vmm, flags);
	else
		id = new_paging(&user->vmm, flags, some_queue(user));
	remember(user, id);
	counts->parents += !!id;
	counts->demand += id && flags == IOMMU_HWPT_ALLOC_DEMAND;
	if (id && one_in(2))
		user->vmm.parent = id;
}

static void alloc_nested(struct user *user)
{
	unsigned int root = draw(one_in(10) ? 1 << 20 : GUEST_PAGES);
	unsigned int id = nest_faulting(&user->vmm, root, one_in(10) ? any() : 0,
					some_queue(user));

	remember(user, id);
	counts->nested += !!id;
}

static void attach_something(struct user *user)
{
	counts->attached += attach(&user->vmm, some_pasid(), some_domain(user));
}

static void detach_something(struct user *user)
{
	counts->detached += detach(&user->vmm, some_pasid());
}

static void destroy_something(struct user *user)
{
	destroy(&user->vmm, some_id());
}

static void invalidate_something(struct user *user)
{
	invalidate(&user->vmm, some_domain(user), some_address(), one_in(3) ? ALL : any(),
		   one_in(10) ? any() : draw(2));
}

static void open_queue(struct user *user)
{
	struct pollfd queue;
	unsigned int id;

	if ((user->queue.fd > 0 && !one_in(20)) || !new_queue(&user->vmm, &queue, &id))
		return;
	if (user->queue.fd > 0)
		close(user->queue.fd);
	user->queue = queue;
	user->fault = id;
}

static void answer_something(struct user *user)
{
	struct iommu_hwpt_pgfault fault[4];
	struct pollfd queue = user->queue;
	ssize_t length;

	if (queue.fd <= 0)
		return;
	if (one_in(10))
		respond(&queue, any(), any());
	if (poll(&queue, 1, 0) <= 0)
		return;
	length = read(queue.fd, fault, sizeof(fault));
	while (length >= (ssize_t)sizeof(*fault)) {
		length -= sizeof(*fault);
		if (!one_in(4))
			counts->answered += respond(&queue,
				fault[length / sizeof(*fault)].cookie,
				one_in(10) ? any() : draw(2));
	}
}

static void track_dirty_pages(struct user *user)
{
	static __thread uint64_t bitmap[AREAS * AREA / 64];	/* for any page size */
	struct iommu_hwpt_set_dirty_tracking set = {
		.size = sizeof(set), .hwpt_id = some_domain(user), .flags = draw(2),
	};
	struct iommu_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get), .hwpt_id = some_domain(user), .flags = draw(2),
		.length = AREAS * AREA, .page_size = one_in(2) ? PAGE : 1UL << draw(24),
		.data = (uintptr_t)bitmap,
	};

	if (one_in(2))
		ioctl(user->vmm.iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set);
	else
		ioctl(user->vmm.iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get);
}

static void reset_device(struct user *user)
{
	counts->resets += !ioctl(user->vmm.dev.fd, VFIO_DEVICE_RESET);
}

/* Change mappings and protections of the process, which calls MMU notifiers. */
static void move_memory(struct user *user)
{
	static const int advice[] = { MADV_DONTNEED, MADV_FREE, MADV_PAGEOUT, MADV_HUGEPAGE,
				      MADV_COLLAPSE, MADV_POPULATE_WRITE };
	void *page = user->vmm.guest + draw(GUEST_PAGES);
	size_t length = PAGE << draw(10);

	if (page + length > (void *)user->vmm.guest + AREA)
		length = PAGE;
	if (one_in(8)) {
		mprotect(page, length, PROT_READ);
		mprotect(page, length, PROT_READ | PROT_WRITE);
	} else {
		madvise(page, length, advice[draw(6)]);
	}
}

/* Discard the memory behind the mappings, or change a table in it. */
static void change_memory(struct user *user)
{
	uint64_t *table = user->vmm.guest[draw(GUEST_PAGES)];
	unsigned int i, first = draw(512), step = one_in(2) ? 1 : -1;

	if (one_in(20))
		madvise(user->vmm.guest + draw(GUEST_PAGES), PAGE, MADV_DONTNEED);
	for (i = 0; i < 8; i++)
		table[(first + i * step) % 512] = draw(GUEST_PAGES) * PAGE |
			(one_in(20) ? any() : LEAF & ~(draw(2) * D));
}

static void do_dma(struct user *user)
{
	struct testdev dev = user->vmm.dev;
	struct vtdt_command c = command(one_in(20) ? any() : 1 + draw(4), some_pasid(),
					some_address());

	if (!dev.regs)
		return;
	if (one_in(2))
		c.op |= VTDT_ATS | (draw(2) ? VTDT_PAGE_IN : 0);
	if ((c.op & 0xff) == VTDT_PAGE_REQUEST)
		c.op |= VTDT_WANT_READ | draw(2) * VTDT_WANT_WRITE |
			draw(2) * VTDT_LAST | VTDT_GROUP(draw(16));
	c.length = one_in(4) ? 8 * PAGE : 8;
	*reg(&dev, VTDT_DELAY) = draw(3) * 10000;
	start(&dev, &c);
	counts->transfers += *reg(&dev, VTDT_STATUS) == VTDT_OK;
}

static void (*const calls[])(struct user *user) = {
	alloc_ioas, map_something, map_something, map_something, unmap_something,
	copy_something, alloc_paging, alloc_paging, alloc_nested, alloc_nested,
	alloc_nested, attach_something, attach_something, attach_something,
	attach_something, detach_something, destroy_something, destroy_something,
	invalidate_something, open_queue, answer_something, answer_something,
	answer_something, track_dirty_pages, change_memory, change_memory, move_memory,
	cut_areas,
	do_dma, do_dma, do_dma, do_dma, do_dma, do_dma,
};

/* ---- users ---- */

static void make_call(struct user *user)
{
	if (one_in(300))
		open_again(user);
	else if (one_in(300))
		reset_device(user);
	else if (one_in(1000))
		map_many(user);
	else
		calls[draw(sizeof(calls) / sizeof(*calls))](user);
}

/* One of the first nine allocations of the call fails, if it makes that many. */
static void make_failing_call(struct user *user)
{
	int fd = open("/proc/thread-self/fail-nth", O_RDWR);
	char n[2] = { '1' + draw(9) };

	if (fd < 0)
		return;
	if (write(fd, n, 1) == 1)
		make_call(user);
	counts->failed += pread(fd, n, 1, 0) == 1 && *n == '0';
	if (pwrite(fd, "0", 1, 0) < 0)
		errno = 0;
	close(fd);
}

/* Its files stay open, while the areas that it has mapped belong to memory that is gone. */
static void exec_sleep(struct user *user)
{
	int i;

	for (i = 0; i < 10; i++)
		map_something(user);
	fcntl(user->vmm.iommufd, F_SETFD, 0);
	fcntl(user->vmm.dev.fd, F_SETFD, 0);
	execlp("sleep", "sleep", "60", NULL);
}

/* The child shares its parent's files, but not its memory, and is killed with it. */
static void fork_child(struct user *user)
{
	pid_t parent = getpid();
	int i;

	if (fork())
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(60);
	if (one_in(3) && getppid() == parent)
		exec_sleep(user);
	for (i = 0; i < CALLS / 10 && getppid() == parent; i++)
		make_call(user);
	counts->children++;
	_exit(0);
}

static void *make_calls(void *arg)
{
	struct user *user = arg;
	int i;

	state = state ?: (uintptr_t)&state ^ now_ms();
	for (i = 0; i < CALLS; i++) {
		if (one_in(1000))
			fork_child(user);
		else if (one_in(20))
			make_failing_call(user);
		else
			make_call(user);
	}
	return NULL;
}

static void limit(int resource, rlim_t most)
{
	struct rlimit limit = { most, most };

	setrlimit(resource, &limit);
}

#define CGROUP		"/sys/fs/cgroup/attacked"

/* All users with little memory share a cgroup, if the suite has mounted any. */
static void limit_memory(void)
{
	int fd;

	mkdir(CGROUP, 0755);
	fd = open(CGROUP "/memory.max", O_WRONLY);
	if (fd < 0 || write(fd, "6M", 2) != 2)
		return;
	close(fd);
	fd = open(CGROUP "/cgroup.procs", O_WRONLY);
	counts->small += write(fd, "0", 1) == 1;
	close(fd);
}

/* The other thread has closed the device that this one uses. */
static void exit_at_signal(int signal)
{
	_exit(0);
}

static void run_user(void)
{
	struct user user = { .device = devices[draw(n_devices)] };
	pthread_t other;
	int i, page;

	alarm(60);
	signal(SIGSEGV, exit_at_signal);
	signal(SIGBUS, exit_at_signal);
	signal(SIGCHLD, SIG_IGN);
	if (one_in(4))
		limit(RLIMIT_MEMLOCK, draw(2 * AREA));
	if (one_in(4))
		limit_memory();
	open_guest(&user.vmm, user.device);
	if (!user.vmm.ioas)
		alloc_ioas(&user);
	if (one_in(4))
		limit(RLIMIT_NOFILE, 3 + draw(8));
	for (page = 0; page < GUEST_PAGES; page++)
		for (i = 0; i < 4; i++)
			change_memory(&user);
	pthread_create(&other, NULL, make_calls, &user);
	make_calls(&user);
	/* Sometimes this thread exits first, which ends both. */
	if (one_in(2))
		pthread_join(other, NULL);
	_exit(0);
}

static pid_t start_process(void (*work)(void))
{
	uint64_t seed = draw(~0UL) | 1;
	pid_t pid = fork();

	if (pid)
		return pid;
	state = seed;
	work();
	_exit(0);
}

/* ---- the administrator ---- */

static void write_sysfs(const char *name, const char *file, const char *text)
{
	char path[100];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", name, file);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		errno = 0;
	close(fd);
}

static void probe_again(const char *name)
{
	int fd = open("/sys/bus/pci/drivers_probe", O_WRONLY);

	if (fd < 0)
		return;
	if (write(fd, name, strlen(name)) < 0)
		errno = 0;
	close(fd);
}

static void remove_and_rescan(const char *name)
{
	int fd;

	write_sysfs(name, "remove", "1");
	fd = open("/sys/bus/pci/rescan", O_WRONLY);
	if (fd < 0)
		return;
	counts->removed += write(fd, "1", 1) == 1;
	close(fd);
	write_sysfs(name, "driver_override", "vfio-pci");
	probe_again(name);
}

/* Unbinding and removing wait until the device's user has exited. */
static void act_as_admin(void)
{
	const char *name = devices[draw(n_devices)];

	if (one_in(4)) {
		remove_and_rescan(name);
	} else if (one_in(3)) {
		write_sysfs(name, "driver/unbind", name);
		probe_again(name);
	} else {
		write_sysfs(name, "reset", "1");
	}
}

static bool has_exited(pid_t pid)
{
	return waitpid(pid, NULL, WNOHANG) == pid;
}

/* The console tells where they wait. */
static void show_blocked_tasks(void)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY);

	if (fd < 0)
		return;
	if (write(fd, "w", 1) < 0)
		errno = 0;
	close(fd);
}

static bool kill_and_reap(pid_t pid)
{
	kill(pid, SIGKILL);
	if (wait_until(has_exited(pid)))
		return true;
	note("process %d does not exit\n", pid);
	show_blocked_tasks();
	return false;
}

/* Returns whether all killed processes have exited. */
static bool attack(long seconds)
{
	pid_t users[USERS] = {}, admin = 0;
	long end = now_ms() + seconds * 1000;
	bool good = true;
	int i;

	while (now_ms() < end && good) {
		for (i = 0; i < USERS; i++) {
			if (users[i] && !has_exited(users[i]))
				continue;
			users[i] = start_process(run_user);
			counts->users++;
		}
		if (!admin || has_exited(admin))
			admin = one_in(4) ? start_process(act_as_admin) : 0;
		sleep_ms(draw(300));
		i = draw(USERS);
		if (one_in(2)) {
			good = kill_and_reap(users[i]);
			users[i] = 0;
		}
	}
	for (i = 0; i < USERS; i++)
		good &= !users[i] || kill_and_reap(users[i]);
	return good && (!admin || wait_until(has_exited(admin)));
}

/* ---- afterwards ---- */

static long counter(const char *name)
{
	char line[100];
	FILE *f = fopen("/proc/vmstat", "r");
	size_t length = strlen(name);
	long value = -1;

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, name, length) && line[length] == ' ')
			value = atol(line + length);
	}
	if (f)
		fclose(f);
	return value;
}

static bool nothing_is_pinned(void)
{
	return counter("nr_foll_pin_acquired") == counter("nr_foll_pin_released");
}

static void expect_dma(const char *name)
{
	struct vmm vmm;
	unsigned int page;

	if (!open_guest(&vmm, name) || !map_guest(&vmm))
		_exit(1);
	vmm.parent = new_parent(&vmm, 0);
	page = new_data(&vmm);
	if (!vmm.parent || !attach(&vmm, RID, vmm.parent))
		_exit(2);
	if (execute(&vmm.dev, VTDT_READ | PLAIN, RID, page * PAGE, 0).data != mark(page))
		_exit(3);
	_exit(0);
}

/* Calls of each kind have succeeded: not everything was refused. */
static bool something_happened(void)
{
	note("%lu users, %lu areas mapped, %lu domains, %lu of them nested, %lu on demand\n",
	     counts->users, counts->mapped, counts->parents + counts->nested,
	     counts->nested, counts->demand);
	note("%lu attached, %lu detached, %lu page requests answered, %lu resets\n",
	     counts->attached, counts->detached, counts->answered, counts->resets);
	note("%lu transfers seen complete, %lu allocations failed, %lu children\n",
	     counts->transfers, counts->failed, counts->children);
	note("%lu devices removed and rescanned\n", counts->removed);
	note("%lu areas cut, %lu users with little memory\n", counts->cut, counts->small);
	return counts->mapped && counts->nested && counts->demand && counts->attached &&
	       counts->detached && counts->answered && counts->resets &&
	       counts->transfers;
}

static bool all_devices_work(void)
{
	unsigned int i;
	int status;
	pid_t pid;

	for (i = 0; i < n_devices; i++) {
		probe_again(devices[i]);
		pid = fork();
		if (!pid)
			expect_dma(devices[i]);
		if (waitpid(pid, &status, 0) != pid || status) {
			note("%s: status %x\n", devices[i], status);
			return false;
		}
	}
	return true;
}

static void result(bool good, const char *what)
{
	static int n;

	printf("%sok %d %s\n", good ? "" : "not ", ++n, what);
}

int main(void)
{
	char *list = getenv("ATTACKED"), *name;
	const char *seconds = getenv("SECONDS"), *seed = getenv("SEED");

	for (name = strtok(list, " "); name && n_devices < DEVICES;
	     name = strtok(NULL, " "))
		devices[n_devices++] = name;
	counts = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) << 16 | 1;
	printf("TAP version 13\n1..4\n# SEED=%lu\n", state);
	fflush(stdout);
	result(n_devices && attack(seconds ? atol(seconds) : 20), "killed_users_exit");
	result(something_happened(), "calls_succeed");
	result(wait_until(nothing_is_pinned()), "nothing_stays_pinned");
	result(all_devices_work(), "devices_work_for_the_next_user");
	return 0;
}
