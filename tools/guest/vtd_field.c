// SPDX-License-Identifier: GPL-2.0
/*
 * Problems that users of device assignment have reported.  Prints TAP.
 */
#include <sched.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "vtd_vmm.h"

/* ---- resets from sysfs ---- */

static bool write_sysfs(const char *device, const char *name, const char *what)
{
	char path[100];
	bool ok;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, name);
	fd = open(path, O_WRONLY);
	ok = fd >= 0 && write(fd, what, strlen(what)) == (ssize_t)strlen(what);
	close(fd);
	return ok;
}

/* The value of the device's register, not the kernel's copy */
static uint32_t first_bar(const char *device)
{
	char path[100];
	uint32_t bar = 0;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", device);
	fd = open(path, O_RDONLY);
	if (pread(fd, &bar, sizeof(bar), 0x10) != sizeof(bar))
		bar = 0;
	close(fd);
	return bar;
}

static void close_guest(struct vmm *vmm)
{
	munmap((void *)vmm->dev.regs, 0x10000);
	close(vmm->dev.fd);
	close(vmm->iommufd);
	munmap(vmm->guest, GUEST_PAGES * PAGE);
}

/*
 * Closing also resets the device, which takes 0.1 s. A reset from sysfs that waits for
 * that saves the state only after the close has restored it. If there is no TLB to
 * disable, it saves it at once.
 */
TEST(reset_during_close)
{
	const char *device = getenv("NOTLB");
	uint32_t bar = first_bar(device);
	struct vmm vmm;
	int i, status;
	pid_t child;

	ASSERT_NE(0, bar);
	for (i = 0; i < 40; i++) {
		ASSERT_TRUE(open_guest(&vmm, device));
		child = fork();
		if (!child) {
			close_guest(&vmm);	/* the parent's is the last close */
			sleep_ms(10 + i % 8 * 10);
			_exit(!write_sysfs(device, "reset", "1"));
		}
		sleep_ms(5);
		close_guest(&vmm);
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_EQ(0, status);
		EXPECT_EQ(bar, first_bar(device)) TH_LOG("round %d", i);
	}
}

/* ---- others run while much is unmapped ---- */

#define FIRST	0x100000000UL		/* behind the window of interrupts */

static void stay_on_cpu_0(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
}

/* How many turns another process of the same CPU has during a single call */
static long turns_during_unmap(struct vmm *vmm, uint64_t length)
{
	volatile long *turns;
	long before;
	pid_t child;
	bool ok;

	turns = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (turns == MAP_FAILED)
		return -1;
	stay_on_cpu_0();
	child = fork();
	if (!child) {
		while (getppid() != 1) {
			sleep_ms(1);
			++*turns;
		}
		_exit(0);
	}
	ok = wait_until(*turns > 10);
	before = *turns;
	ok = ok && unmap_area(vmm, FIRST, length);
	before = *turns - before;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return ok ? before : -1;
}

/* No domain has them, so that nothing is done for each but to free it. */
TEST(unmap_areas_reschedules)
{
	const unsigned int areas = 50000;
	struct vmm vmm;
	unsigned int i;

	ASSERT_TRUE(open_guest(&vmm, getenv("TESTDEV")));
	for (i = 0; i < areas; i++)
		ASSERT_TRUE(map_area(&vmm, FIRST + i * PAGE, vmm.guest[0], PAGE));
	EXPECT_LE(10, turns_during_unmap(&vmm, areas * PAGE));
	close_guest(&vmm);
}

/*
 * One area of 1 GiB, of small pages of which no two are neighbours, so that there are
 * many batches of them. They are the same 2 MiB over and over.
 */
TEST(unmap_pages_reschedules)
{
	const size_t size = 1UL << 30, part = 2UL << 20;
	int file = memfd_create("pages", 0);
	struct vmm vmm;
	char *memory;
	size_t i;

	ASSERT_EQ(0, ftruncate(file, part));
	for (i = 0; i < part / PAGE; i++)
		ASSERT_EQ(1, pwrite(file, "", 1, i * 177 * PAGE % part));
	memory = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, memory);
	for (i = 0; i < size; i += part)
		ASSERT_NE(MAP_FAILED, mmap(memory + i, part, PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_FIXED, file, 0));
	ASSERT_TRUE(open_vmm(&vmm));
	ASSERT_TRUE(map_area(&vmm, FIRST, memory, size));
	EXPECT_LE(10, turns_during_unmap(&vmm, size));
	close_guest(&vmm);
	munmap(memory, size);
	close(file);
}

TEST_HARNESS_MAIN
