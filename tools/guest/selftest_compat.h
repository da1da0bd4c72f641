/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Point releases of 6.12 (6.12.117 at least) got newer iommufd selftests than
 * the kernel beside them offers, and these do not compile.  The names that are
 * missing, so that what 6.12 has is tested: GET_HW_INFO takes no input type (a
 * flag that asks for one is refused, as the test expects of a wrong type).
 */
#define in_data_type			out_data_type
#define IOMMU_HW_INFO_TYPE_DEFAULT	IOMMU_HW_INFO_TYPE_SELFTEST
#define IOMMU_HW_INFO_FLAG_INPUT_TYPE	1
