/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Demand paging of HWPTs; see demand_private.h.
 */
#ifndef __IOMMUFD_DEMAND_H
#define __IOMMUFD_DEMAND_H

#include <linux/types.h>

struct device;
struct io_pagetable;
struct iommufd_attach_handle;
struct iommufd_demand;
struct iommufd_device;
struct iommufd_group;
struct iommufd_hw_pagetable;
struct iommufd_hwpt_paging;
struct iopf_group;
struct iopt_area;
struct iopt_pages;

#ifdef CONFIG_IOMMUFD_DEMAND
int iommufd_demand_alloc(struct iommufd_hwpt_paging *hwpt);
void iommufd_demand_free(struct iommufd_demand *demand);
bool iommufd_demand_capable(struct iommufd_device *idev);
int iommufd_demand_check_bind(struct iommufd_group *igroup, struct device *dev);
int iommufd_demand_prepare_attach(struct iommufd_hw_pagetable *hwpt,
				  struct iommufd_device *idev);
void iommufd_demand_release_device(struct iommufd_device *idev);
int iommufd_demand_init(void);
void iommufd_demand_exit(void);
int iommufd_demand_iopf_handler(struct iopf_group *group);
void iommufd_demand_drop_faults(struct iommufd_demand *demand,
				struct iommufd_attach_handle *handle,
				struct iommufd_device *idev);

int iopt_demand_add(struct io_pagetable *iopt, struct iommufd_demand *demand);
void iopt_demand_remove(struct io_pagetable *iopt, struct iommufd_demand *demand,
			struct list_head *unmapped);
int iopt_demand_add_area(struct iopt_area *area, struct iopt_pages *pages);
void iopt_demand_remove_area(struct iopt_area *area);
void iopt_demand_unmap_area(struct iopt_area *area, struct list_head *unmapped);
void iopt_demand_free_areas(struct list_head *unmapped);
void iopt_demand_free_empty_tables(struct io_pagetable *iopt);
#else
static inline int iommufd_demand_alloc(struct iommufd_hwpt_paging *hwpt)
{
	return -EOPNOTSUPP;
}

static inline void iommufd_demand_free(struct iommufd_demand *demand) {}

static inline bool iommufd_demand_capable(struct iommufd_device *idev)
{
	return false;
}

static inline int iommufd_demand_check_bind(struct iommufd_group *igroup,
					    struct device *dev)
{
	return 0;
}

static inline int iommufd_demand_prepare_attach(struct iommufd_hw_pagetable *hwpt,
						struct iommufd_device *idev)
{
	return 0;
}

static inline void iommufd_demand_release_device(struct iommufd_device *idev) {}

static inline int iommufd_demand_init(void)
{
	return 0;
}

static inline void iommufd_demand_exit(void) {}

static inline void iommufd_demand_drop_faults(struct iommufd_demand *demand,
					      struct iommufd_attach_handle *handle,
					      struct iommufd_device *idev)
{
}

static inline int iopt_demand_add(struct io_pagetable *iopt,
				  struct iommufd_demand *demand)
{
	return -EOPNOTSUPP;
}

static inline void iopt_demand_remove(struct io_pagetable *iopt,
				      struct iommufd_demand *demand,
				      struct list_head *unmapped)
{
}

static inline int iopt_demand_add_area(struct iopt_area *area,
				       struct iopt_pages *pages)
{
	return 0;
}

static inline void iopt_demand_remove_area(struct iopt_area *area) {}

static inline void iopt_demand_unmap_area(struct iopt_area *area,
					  struct list_head *unmapped)
{
}

static inline void iopt_demand_free_areas(struct list_head *unmapped) {}
static inline void iopt_demand_free_empty_tables(struct io_pagetable *iopt) {}
#endif

#endif /* __IOMMUFD_DEMAND_H */
