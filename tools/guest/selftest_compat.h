/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Point releases of 6.12 (6.12.117 at least) have iommufd selftests that are
 * newer than their kernel and do not compile. Define the missing names, to test
 * what 6.12 has: GET_HW_INFO takes no input type (a flag that asks for one is
 * refused, as the test expects of a wrong type).
 */
#define in_data_type			out_data_type
#define IOMMU_HW_INFO_TYPE_DEFAULT	IOMMU_HW_INFO_TYPE_SELFTEST
#define IOMMU_HW_INFO_FLAG_INPUT_TYPE	1
