// SPDX-License-Identifier: GPL-2.0
/*
 * On resume from S3, restores registers of QEMU's q35 that reset has cleared: those of
 * MMCONFIG and of ACPI. This is the firmware's task, but SeaBIOS writes them by MMCONFIG,
 * which is disabled then. This module writes them by ports, before any device is resumed.
 */
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/syscore_ops.h>

static struct {
	const unsigned int devfn;
	const int reg;
	struct pci_dev *dev;
	u32 val;
} regs[] = {
	{ PCI_DEVFN(0, 0), 0x60 },	/* PCIEXBAR: MMCONFIG */
	{ PCI_DEVFN(31, 0), 0x40 },	/* PMBASE: PM1, among others */
	{ PCI_DEVFN(31, 0), 0x44 },	/* ACPI_CNTL: whether there is any */
	{ PCI_DEVFN(31, 0), 0xf0 },	/* RCBA */
};

/* The number of resets: shows that the machine has really slept. */
static unsigned int resets;
module_param(resets, uint, 0444);

static void firmware_resume(void *data)
{
	unsigned int i;
	u32 val;

	pci_read_config_dword(regs[0].dev, regs[0].reg, &val);
	resets += val != regs[0].val;
	for (i = 0; i < ARRAY_SIZE(regs); i++)
		pci_write_config_dword(regs[i].dev, regs[i].reg, regs[i].val);
}

static const struct syscore_ops firmware_ops = {
	.resume	= firmware_resume,
};

static struct syscore firmware = {
	.ops = &firmware_ops,
};

static int __init firmware_resume_init(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(regs); i++) {
		regs[i].dev = pci_get_domain_bus_and_slot(0, 0, regs[i].devfn);
		if (!regs[i].dev)
			return -ENODEV;
		pci_read_config_dword(regs[i].dev, regs[i].reg, &regs[i].val);
	}
	register_syscore(&firmware);
	return 0;
}
module_init(firmware_resume_init);

MODULE_DESCRIPTION("Firmware's part of a resume, for tests");
MODULE_LICENSE("GPL");
