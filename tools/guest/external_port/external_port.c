// SPDX-License-Identifier: GPL-2.0
/*
 * Marks a port as external, as firmware does with a Thunderbolt port: PCI does not trust
 * devices that are found behind it from then on.
 */
#include <linux/module.h>
#include <linux/pci.h>

static char *port;
module_param(port, charp, 0);

static int __init external_port_init(void)
{
	struct device *dev = bus_find_device_by_name(&pci_bus_type, NULL, port);

	if (!dev)
		return -ENODEV;
	to_pci_dev(dev)->external_facing = 1;
	put_device(dev);
	return 0;
}
module_init(external_port_init);

MODULE_DESCRIPTION("External-facing port, for tests");
MODULE_LICENSE("GPL");
