/* SPDX-License-Identifier: GPL-2.0 */
/* A PCI device's VFIO character device: found, and made ready for DMA. */
#ifndef VFIO_CDEV_H
#define VFIO_CDEV_H

#include <dirent.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Opens the device that PCI calls @name. Returns -1 if there is none. */
static int open_cdev(const char *name)
{
	char path[300];
	struct dirent *entry;
	int fd = -1;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", name);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "vfio", 4))
			continue;
		snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	closedir(dir);
	return fd;
}

/* Maps BAR 0 and switches bus mastering on. Returns NULL if that fails. */
static void *start_cdev(int fd)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info), .index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	uint16_t command;
	void *regs;

	if (ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &info))
		return NULL;
	regs = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, info.offset);
	if (regs == MAP_FAILED)
		return NULL;

	info.index = VFIO_PCI_CONFIG_REGION_INDEX;
	if (ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &info) ||
	    pread(fd, &command, 2, info.offset + PCI_COMMAND) != 2)
		return NULL;
	command |= PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY;
	if (pwrite(fd, &command, 2, info.offset + PCI_COMMAND) != 2)
		return NULL;
	return regs;
}

#endif
