# SPDX-License-Identifier: GPL-2.0
# Builds the guest's initrd: called by mkinitrd.sh with OBJ (the kernel's object folder)
# and OUT (where to build).
GUEST := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
SRC   := $(realpath $(OBJ)/source)
SELF  := $(SRC)/tools/testing/selftests
BUSYBOX := $(shell command -v busybox)

CFLAGS := -static -O2 -Wall -Wno-unused-function -D_GNU_SOURCE= -isystem $(OUT)/include \
	  -I$(SELF) -I$(GUEST)
PROGRAMS := vfio_edu field next_kernel vtd_nested vtd_iopf vtd_iopf_abuse vtd_reset vtd_demand \
	    vtd_demand_reset vtd_demand_fail vtd_demand_wait vtd_demand_unbind vtd_demand_soak \
	    vtd_unpinned demand_bench pasid_bench vtd_dirty vtd_field \
	    vtd_suspend suspend vtd_sriov vtd_soak vtd_attack iommufd iommufd_fail_nth dma_map_benchmark \
	    pasid_example demand_example demand_example_dma instructions memory hmm-tests
ROOTFS := $(shell find $(GUEST)/rootfs -type f)

MODULES := edu_dma vtd_dma vtd_vfio external_port fault_creds firmware_resume \
	   page_lock slow_notifier
KERNEL_MODULES := $(addprefix $(OBJ)/lib/,test_hmm.ko test_ida.ko)

# For a kernel without the series: programs that use only its interfaces
ifeq ($(GUEST_FOR),mainline)
PROGRAMS := vfio_edu vtd_mainline vtd_nested next_kernel
MODULES := edu_dma
KERNEL_MODULES := $(OBJ)/lib/test_ida.ko
endif

$(OUT)/initrd: $(PROGRAMS:%=$(OUT)/bin/%) $(MODULES:%=$(OUT)/%.ko) $(KERNEL_MODULES) $(ROOTFS) $(GUEST)/../vtd-report $(BUSYBOX) $(GUEST)/initrd.mk
	rm -rf $(OUT)/root
	mkdir -p $(OUT)/root/bin $(OUT)/root/dev $(OUT)/root/proc \
		$(OUT)/root/sys $(OUT)/root/tmp $(OUT)/root/mnt
	cp -r $(GUEST)/rootfs/. $(OUT)/root
	cp $(BUSYBOX) $(GUEST)/../vtd-report $(PROGRAMS:%=$(OUT)/bin/%) $(OUT)/root/bin
	cp $(MODULES:%=$(OUT)/%.ko) $(KERNEL_MODULES) $(OUT)/root
	ln -s busybox $(OUT)/root/bin/sh
	cd $(OUT)/root && find . | cpio --quiet -o -H newc -R 0:0 >$@.new
	mv $@.new $@

# The kernel's own headers: those of the series may be newer than the system's.
$(OUT)/include.stamp: $(wildcard $(SRC)/include/uapi/linux/iommufd.h $(SRC)/include/uapi/linux/vfio.h)
	$(MAKE) -s -C $(OBJ) headers_install INSTALL_HDR_PATH=$(OUT)
	touch $@

$(OUT)/bin/instructions: $(GUEST)/instructions.c
EDU := $(addprefix $(GUEST)/,clock.h edu.h fault_log.h vfio_cdev.h vfio_edu.h)
$(OUT)/bin/vfio_edu: $(GUEST)/vfio_edu.c $(EDU)
$(OUT)/bin/field: $(GUEST)/field.c $(EDU)
$(OUT)/bin/next_kernel: $(GUEST)/next_kernel.c
VMM := $(addprefix $(GUEST)/,clock.h vfio_cdev.h vtd_testdev.h vtd_vmm.h)
$(OUT)/bin/vtd_nested: $(GUEST)/vtd_nested.c $(GUEST)/fault_log.h $(VMM)
$(OUT)/bin/vtd_dirty: $(GUEST)/vtd_dirty.c $(VMM)
$(OUT)/bin/vtd_soak: $(GUEST)/vtd_soak.c $(VMM)
$(OUT)/bin/vtd_attack: $(GUEST)/vtd_attack.c $(VMM)
$(OUT)/bin/vtd_attack: CFLAGS += -pthread
$(OUT)/bin/vtd_sriov: $(GUEST)/vtd_sriov.c $(VMM)
IOPF := $(GUEST)/vtd_iopf.h $(VMM)
$(OUT)/bin/vtd_iopf: $(GUEST)/vtd_iopf.c $(IOPF)
$(OUT)/bin/vtd_iopf_abuse: $(GUEST)/vtd_iopf_abuse.c $(IOPF)
$(OUT)/bin/vtd_reset: $(GUEST)/vtd_reset.c $(IOPF) $(SRC)/drivers/iommu/iommufd/iommufd_test.h
$(OUT)/bin/vtd_field: $(GUEST)/vtd_field.c $(VMM)
$(OUT)/bin/suspend: $(GUEST)/suspend.c $(GUEST)/suspend.h $(EDU)
$(OUT)/bin/vtd_suspend: $(GUEST)/vtd_suspend.c $(GUEST)/suspend.h $(IOPF)
$(OUT)/bin/vtd_mainline: $(GUEST)/vtd_mainline.c $(IOPF)
$(OUT)/bin/vtd_mainline: CFLAGS += -pthread
DEMAND := $(GUEST)/vtd_demand.h $(VMM)
$(OUT)/bin/vtd_demand: $(GUEST)/vtd_demand.c $(GUEST)/vtd_demand_machine.h $(DEMAND) \
		      $(SRC)/drivers/iommu/iommufd/iommufd_test.h
$(OUT)/bin/vtd_demand_fail: $(GUEST)/vtd_demand_fail.c $(GUEST)/vtd_demand_machine.h $(DEMAND)
$(OUT)/bin/vtd_demand_reset: $(GUEST)/vtd_demand_reset.c $(GUEST)/vtd_demand_machine.h $(DEMAND)
$(OUT)/bin/vtd_demand_wait: $(GUEST)/vtd_demand_wait.c $(GUEST)/vtd_demand_machine.h $(DEMAND)
$(OUT)/bin/vtd_demand_unbind: $(GUEST)/vtd_demand_unbind.c $(GUEST)/vtd_demand_machine.h $(DEMAND)
$(OUT)/bin/vtd_demand_soak: $(GUEST)/vtd_demand_soak.c $(DEMAND)
$(OUT)/bin/vtd_unpinned: $(GUEST)/vtd_unpinned.c $(DEMAND)
$(OUT)/bin/demand_bench: $(GUEST)/demand_bench.c $(DEMAND)
$(OUT)/bin/pasid_bench: $(GUEST)/pasid_bench.c $(VMM)
$(addprefix $(OUT)/bin/,vtd_demand vtd_demand_wait vtd_demand_unbind vtd_demand_soak vtd_unpinned): CFLAGS += -pthread
$(OUT)/bin/memory: $(GUEST)/memory.c $(GUEST)/clock.h
$(OUT)/bin/hmm-tests: $(SELF)/mm/hmm-tests.c $(SRC)/lib/test_hmm_uapi.h
$(OUT)/bin/hmm-tests: CFLAGS += -idirafter $(SRC)
$(OUT)/bin/iommufd: $(SELF)/iommu/iommufd.c $(SELF)/iommu/iommufd_utils.h \
		    $(SRC)/drivers/iommu/iommufd/iommufd_test.h
$(OUT)/bin/iommufd_fail_nth: $(SELF)/iommu/iommufd_fail_nth.c \
		    $(SELF)/iommu/iommufd_utils.h \
		    $(SRC)/drivers/iommu/iommufd/iommufd_test.h
# Programs that use the kselftest harness
HARNESSED := $(addprefix $(OUT)/bin/,vfio_edu field vtd_nested vtd_iopf vtd_iopf_abuse vtd_reset \
	       vtd_demand vtd_demand_fail vtd_demand_wait vtd_demand_unbind vtd_demand_reset vtd_field vtd_suspend suspend vtd_mainline vtd_sriov vtd_unpinned demand_example_dma iommufd \
	       iommufd_fail_nth memory hmm-tests)
$(HARNESSED): CFLAGS += -include selftest_timeout.h
$(HARNESSED): $(GUEST)/selftest_timeout.h
# Only if the selftests are newer than the kernel's interface
HW_INFO := IOMMU_HW_INFO_FLAG_INPUT_TYPE
ifneq ($(shell grep -l $(HW_INFO) $(SELF)/iommu/iommufd_utils.h),)
ifeq ($(shell grep -l $(HW_INFO) $(SRC)/include/uapi/linux/iommufd.h),)
$(OUT)/bin/iommufd $(OUT)/bin/iommufd_fail_nth: CFLAGS += -include selftest_compat.h
$(OUT)/bin/iommufd $(OUT)/bin/iommufd_fail_nth: $(GUEST)/selftest_compat.h
endif
endif
$(OUT)/bin/pasid_example: $(SRC)/Documentation/arch/x86/intel-iommu-pasid-example.c
DEMAND_EXAMPLE := $(SRC)/Documentation/userspace-api/iommufd-demand-example.c
$(OUT)/bin/demand_example: $(DEMAND_EXAMPLE)
$(OUT)/bin/demand_example_dma: $(GUEST)/demand_example_dma.c $(DEMAND_EXAMPLE) $(VMM)
$(OUT)/bin/demand_example_dma: CFLAGS += -I$(dir $(DEMAND_EXAMPLE))
$(OUT)/bin/demand_example_dma: INCLUDED := $(DEMAND_EXAMPLE)
# The interface of this module is in private headers of the kernel.
$(OUT)/bin/dma_map_benchmark: $(SELF)/dma/dma_map_benchmark.c
$(OUT)/bin/dma_map_benchmark: CFLAGS += -idirafter $(SRC)/include

$(PROGRAMS:%=$(OUT)/bin/%): $(OUT)/include.stamp
	mkdir -p $(@D)
	$(CC) $(CFLAGS) $(filter-out $(INCLUDED),$(filter %.c,$^)) -o $@

# Always call kbuild, which finds out what is out of date. It builds next to the sources.
$(MODULES:%=$(OUT)/%.ko): $(OUT)/%.ko: FORCE
	mkdir -p $(OUT)/$*
	cp -u $(addprefix $(GUEST)/,dma_test.h edu.h vtd_testdev.h) $(OUT)
	cp -u $(GUEST)/$*/Kbuild $(GUEST)/$*/*.[ch] $(OUT)/$*
	$(MAKE) -s -C $(OBJ) M=$(OUT)/$* modules
	cmp -s $(OUT)/$*/$*.ko $@ || cp $(OUT)/$*/$*.ko $@
FORCE:
.PHONY: FORCE
.DELETE_ON_ERROR:
