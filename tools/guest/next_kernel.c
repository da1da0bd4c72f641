// SPDX-License-Identifier: GPL-2.0
/*
 * next_kernel KERNEL INITRD COMMAND-LINE [crash]: starts another kernel, or crashes this
 * one, which starts it as well.
 */
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	unsigned long flags;
	int kernel, initrd;
	bool crash;

	if (argc < 4)
		return 2;
	crash = argc > 4 && !strcmp(argv[4], "crash");
	flags = crash ? KEXEC_FILE_ON_CRASH : 0;
	kernel = open(argv[1], O_RDONLY);
	initrd = open(argv[2], O_RDONLY);
	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[3]) + 1, argv[3], flags)) {
		perror("kexec_file_load");
		return 1;
	}
	if (crash && write(open("/proc/sysrq-trigger", O_WRONLY), "c", 1) < 0)
		perror("sysrq-trigger");
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		LINUX_REBOOT_CMD_KEXEC, NULL);
	perror("reboot");
	return 1;
}
