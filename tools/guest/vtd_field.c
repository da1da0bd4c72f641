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
TEST(resets_beside_closes)
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

#define AREAS	8192
#define APART	0x200000UL		/* a page table for each */
#define FIRST	0x100000000UL		/* behind the window of interrupts */

static void stay_on_cpu_0(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
}

/* Another process on the same CPU is scheduled during a single call. */
TEST(unmap_gives_way)
{
	volatile unsigned long *turns;
	unsigned long before, after;
	struct vmm vmm;
	unsigned int i;
	pid_t child;

	turns = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, turns);
	ASSERT_TRUE(open_vmm(&vmm));
	stay_on_cpu_0();
	for (i = 0; i < AREAS; i++)
		ASSERT_TRUE(map_area(&vmm, FIRST + i * APART, vmm.guest[0], PAGE));
	child = fork();
	if (!child) {
		while (getppid() != 1) {
			sleep_ms(1);
			++*turns;
		}
		_exit(0);
	}
	ASSERT_TRUE(wait_until(*turns > 10));
	before = *turns;
	ASSERT_TRUE(unmap_area(&vmm, FIRST, AREAS * APART));
	after = *turns;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	EXPECT_LE(before + 10, after);
	close(vmm.dev.fd);
	close(vmm.iommufd);
}

TEST_HARNESS_MAIN
