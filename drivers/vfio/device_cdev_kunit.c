// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite for attaching and detaching through a device's file: which parts
 * of the user's structure are read, which operation of the driver is called,
 * and what is undone if the result cannot be copied. The driver belongs to the
 * test.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include "vfio.h"

#define OLD_ATTACH_SIZE		12
#define OLD_DETACH_SIZE		8
#define PT_ID			77
#define OUT_PT_ID		78
#define PASID			5000

struct fake {
	struct kunit *test;
	struct vfio_device device;
	struct vfio_device_set set;
	struct vfio_device_file df;
	struct vfio_device_ops ops;
	/* two pages, nothing after them */
	unsigned long memory;
	/* calls of the operations, and their last arguments */
	unsigned int attach, detach, pasid_attach, pasid_detach;
	u32 pt_id, pasid;
	int error;
	bool vanish;		/* the user unmaps the structure meanwhile */
};

static int cdev_called(struct fake *fake, u32 *pt_id)
{
	lockdep_assert_held(&fake->set.lock);
	fake->pt_id = *pt_id;
	if (fake->error)
		return fake->error;

	*pt_id = OUT_PT_ID;
	if (fake->vanish)
		vm_munmap(fake->memory, 2 * PAGE_SIZE);
	return 0;
}

static int fake_attach_ioas(struct vfio_device *vdev, u32 *pt_id)
{
	struct fake *fake = container_of(vdev, struct fake, device);

	fake->attach++;
	return cdev_called(fake, pt_id);
}

static void fake_detach_ioas(struct vfio_device *vdev)
{
	struct fake *fake = container_of(vdev, struct fake, device);

	lockdep_assert_held(&fake->set.lock);
	fake->detach++;
}

static int fake_pasid_attach_ioas(struct vfio_device *vdev, u32 pasid, u32 *pt_id)
{
	struct fake *fake = container_of(vdev, struct fake, device);

	fake->pasid_attach++;
	fake->pasid = pasid;
	return cdev_called(fake, pt_id);
}

static void fake_pasid_detach_ioas(struct vfio_device *vdev, u32 pasid)
{
	struct fake *fake = container_of(vdev, struct fake, device);

	lockdep_assert_held(&fake->set.lock);
	fake->pasid_detach++;
	fake->pasid = pasid;
}

/* The last @size bytes that can be read, with these words in them */
static void __user *user_struct(struct fake *fake, unsigned int size,
				u32 argsz, u32 flags, u32 third, u32 fourth)
{
	const u32 words[] = { argsz, flags, third, fourth };
	void __user *at = (void __user *)(fake->memory + 2 * PAGE_SIZE - size);

	KUNIT_ASSERT_EQ(fake->test, 0, copy_to_user(at, words, size));
	return at;
}

static u32 user_word(struct kunit *test, void __user *at, unsigned int index)
{
	u32 word;

	KUNIT_ASSERT_EQ(test, 0, get_user(word, (u32 __user *)at + index));
	return word;
}

static long cdev_attach_pasid(struct fake *fake, u32 pasid)
{
	return vfio_df_ioctl_attach_pt(&fake->df,
				       user_struct(fake, 16, 16,
						   VFIO_DEVICE_ATTACH_PASID,
						   PT_ID, pasid));
}

static long cdev_detach_pasid(struct fake *fake, u32 pasid)
{
	return vfio_df_ioctl_detach_pt(&fake->df,
				       user_struct(fake, 12, 12,
						   VFIO_DEVICE_DETACH_PASID,
						   pasid, 0));
}

static long cdev_attach(struct fake *fake, unsigned int size, u32 argsz, u32 flags)
{
	return vfio_df_ioctl_attach_pt(&fake->df,
				       user_struct(fake, size, argsz, flags,
						   PT_ID, PASID));
}

static long cdev_detach(struct fake *fake, unsigned int size, u32 argsz, u32 flags)
{
	return vfio_df_ioctl_detach_pt(&fake->df,
				       user_struct(fake, size, argsz, flags,
						   PASID, 0));
}

static void expect_calls(struct kunit *test, unsigned int attach,
			 unsigned int detach, unsigned int pasid_attach,
			 unsigned int pasid_detach)
{
	struct fake *fake = test->priv;

	KUNIT_EXPECT_EQ(test, attach, fake->attach);
	KUNIT_EXPECT_EQ(test, detach, fake->detach);
	KUNIT_EXPECT_EQ(test, pasid_attach, fake->pasid_attach);
	KUNIT_EXPECT_EQ(test, pasid_detach, fake->pasid_detach);
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&fake->set.lock));
}

/* The structures of binaries older than the PASID, and newer ones without it */
static void without_pasid(struct kunit *test)
{
	struct fake *fake = test->priv;
	void __user *at;

	at = user_struct(fake, OLD_ATTACH_SIZE, OLD_ATTACH_SIZE, 0, PT_ID, 0);
	KUNIT_EXPECT_EQ(test, 0, vfio_df_ioctl_attach_pt(&fake->df, at));
	expect_calls(test, 1, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, PT_ID, fake->pt_id);
	KUNIT_EXPECT_EQ(test, OUT_PT_ID, user_word(test, at, 2));

	KUNIT_EXPECT_EQ(test, 0, cdev_detach(fake, OLD_DETACH_SIZE, OLD_DETACH_SIZE, 0));
	expect_calls(test, 1, 1, 0, 0);

	KUNIT_EXPECT_EQ(test, 0, cdev_attach(fake, 16, 16, 0));
	KUNIT_EXPECT_EQ(test, 0, cdev_detach(fake, 12, 12, 0));
	/* larger than what is known */
	KUNIT_EXPECT_EQ(test, 0, cdev_attach(fake, 16, 4000, 0));
	KUNIT_EXPECT_EQ(test, 0, cdev_detach(fake, 12, 4000, 0));
	/* within argsz, and not read */
	KUNIT_EXPECT_EQ(test, 0, cdev_attach(fake, OLD_ATTACH_SIZE, 16, 0));
	KUNIT_EXPECT_EQ(test, 0, cdev_detach(fake, OLD_DETACH_SIZE, 12, 0));
	expect_calls(test, 4, 4, 0, 0);
}

static void with_pasid(struct kunit *test)
{
	struct fake *fake = test->priv;
	void __user *at;

	at = user_struct(fake, 16, 16, VFIO_DEVICE_ATTACH_PASID, PT_ID, PASID);
	KUNIT_EXPECT_EQ(test, 0, vfio_df_ioctl_attach_pt(&fake->df, at));
	expect_calls(test, 0, 0, 1, 0);
	KUNIT_EXPECT_EQ(test, PT_ID, fake->pt_id);
	KUNIT_EXPECT_EQ(test, PASID, fake->pasid);
	KUNIT_EXPECT_EQ(test, OUT_PT_ID, user_word(test, at, 2));
	KUNIT_EXPECT_EQ(test, PASID, user_word(test, at, 3));

	fake->pasid = 0;
	KUNIT_EXPECT_EQ(test, 0, cdev_detach(fake, 12, 12, VFIO_DEVICE_DETACH_PASID));
	expect_calls(test, 0, 0, 1, 1);
	KUNIT_EXPECT_EQ(test, PASID, fake->pasid);
}

static void request_refused(struct kunit *test)
{
	const u32 unknown = ~(u32)VFIO_DEVICE_ATTACH_PASID;
	struct fake *fake = test->priv;
	u32 flag;

	/* too small for the flags */
	KUNIT_EXPECT_EQ(test, -EINVAL, cdev_attach(fake, 16, OLD_ATTACH_SIZE - 1, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, cdev_detach(fake, 12, OLD_DETACH_SIZE - 1, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			cdev_attach(fake, 16, 15, VFIO_DEVICE_ATTACH_PASID));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			cdev_detach(fake, 12, 11, VFIO_DEVICE_DETACH_PASID));

	/* within argsz, but not readable */
	KUNIT_EXPECT_EQ(test, -EFAULT,
			cdev_attach(fake, OLD_ATTACH_SIZE, 16, VFIO_DEVICE_ATTACH_PASID));
	KUNIT_EXPECT_EQ(test, -EFAULT,
			cdev_detach(fake, OLD_DETACH_SIZE, 12, VFIO_DEVICE_DETACH_PASID));

	for (flag = 1; flag; flag <<= 1) {
		if (!(flag & unknown))
			continue;
		KUNIT_EXPECT_EQ(test, -EINVAL, cdev_attach(fake, 16, 16, flag));
		KUNIT_EXPECT_EQ(test, -EINVAL, cdev_detach(fake, 12, 12, flag));
	}
	expect_calls(test, 0, 0, 0, 0);
}

/* Invalid PASIDs do not reach the driver. */
static void no_pasid(struct kunit *test)
{
	struct fake *fake = test->priv;
	u32 pasid;

	for (pasid = -1; pasid >= (u32)-40; pasid--) {
		KUNIT_EXPECT_EQ(test, -EINVAL, cdev_attach_pasid(fake, pasid));
		KUNIT_EXPECT_EQ(test, -EINVAL, cdev_detach_pasid(fake, pasid));
	}
	KUNIT_EXPECT_EQ(test, -EINVAL, cdev_attach_pasid(fake, 1 << 20));
	KUNIT_EXPECT_EQ(test, -EINVAL, cdev_detach_pasid(fake, 1 << 20));
	expect_calls(test, 0, 0, 0, 0);

	KUNIT_EXPECT_EQ(test, 0, cdev_attach_pasid(fake, (1 << 20) - 1));
	KUNIT_EXPECT_EQ(test, 0, cdev_detach_pasid(fake, (1 << 20) - 1));
	expect_calls(test, 0, 0, 1, 1);
}

/*
 * The functions that drivers use for these calls, which have no limit
 * themselves: they handle invalid IDs, and IDs that are not attached.
 */
static void nothing_attached(struct kunit *test)
{
	static const u32 pasids[] = { 0, 1, (1 << 20) - 1, 1 << 20, INT_MAX };
	struct fake *fake = test->priv;
	struct vfio_device *device = &fake->device;
	u32 pasid, pt_id = PT_ID;
	unsigned int i;

	/* A pointer that must not be dereferenced */
	device->iommufd_device = (struct iommufd_device *)fake;
	ida_init(&device->pasids);
	mutex_lock(&fake->set.lock);

	for (pasid = -1; pasid >= (u32)-40; pasid--) {
		KUNIT_EXPECT_EQ(test, -ENOSPC,
				vfio_iommufd_physical_pasid_attach_ioas(device, pasid,
									&pt_id));
		vfio_iommufd_physical_pasid_detach_ioas(device, pasid);
	}
	for (i = 0; i < ARRAY_SIZE(pasids); i++)
		vfio_iommufd_physical_pasid_detach_ioas(device, pasids[i]);

	mutex_unlock(&fake->set.lock);
	KUNIT_EXPECT_TRUE(test, ida_is_empty(&device->pasids));
}

static void driver_without_pasids(struct kunit *test)
{
	struct fake *fake = test->priv;

	fake->ops.pasid_attach_ioas = NULL;
	fake->ops.pasid_detach_ioas = NULL;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			cdev_attach(fake, 16, 16, VFIO_DEVICE_ATTACH_PASID));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			cdev_detach(fake, 12, 12, VFIO_DEVICE_DETACH_PASID));
	expect_calls(test, 0, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, 0, cdev_attach(fake, 16, 16, 0));
	KUNIT_EXPECT_EQ(test, 0, cdev_detach(fake, 12, 12, 0));
	expect_calls(test, 1, 1, 0, 0);
}

static void driver_refuses(struct kunit *test)
{
	struct fake *fake = test->priv;
	void __user *at;

	fake->error = -EBUSY;
	at = user_struct(fake, 16, 16, VFIO_DEVICE_ATTACH_PASID, PT_ID, PASID);
	KUNIT_EXPECT_EQ(test, -EBUSY, vfio_df_ioctl_attach_pt(&fake->df, at));
	KUNIT_EXPECT_EQ(test, PT_ID, user_word(test, at, 2));
	KUNIT_EXPECT_EQ(test, -EBUSY, cdev_attach(fake, 16, 16, 0));
	expect_calls(test, 1, 0, 1, 0);
}

/* An attach whose result cannot be copied is undone, and nothing else. */
static void copy_to_user_fails(struct kunit *test)
{
	struct fake *fake = test->priv;

	fake->vanish = true;
	KUNIT_EXPECT_EQ(test, -EFAULT,
			cdev_attach(fake, 16, 16, VFIO_DEVICE_ATTACH_PASID));
	expect_calls(test, 0, 0, 1, 1);
	KUNIT_EXPECT_EQ(test, PASID, fake->pasid);
}

static void copy_to_user_fails_without_pasid(struct kunit *test)
{
	struct fake *fake = test->priv;

	fake->vanish = true;
	KUNIT_EXPECT_EQ(test, -EFAULT, cdev_attach(fake, 16, 16, 0));
	expect_calls(test, 1, 1, 0, 0);
}

static int cdev_fake_init(struct kunit *test)
{
	struct fake *fake;

	fake = kunit_kzalloc(test, sizeof(*fake), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fake);
	test->priv = fake;
	fake->test = test;

	/* one more page, to be unmapped: nothing else can be mapped there */
	fake->memory = kunit_vm_mmap(test, NULL, 0, 3 * PAGE_SIZE,
				     PROT_READ | PROT_WRITE,
				     MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, 0, fake->memory);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(fake->memory));
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(fake->memory + 2 * PAGE_SIZE, PAGE_SIZE));

	fake->ops.attach_ioas = fake_attach_ioas;
	fake->ops.detach_ioas = fake_detach_ioas;
	fake->ops.pasid_attach_ioas = fake_pasid_attach_ioas;
	fake->ops.pasid_detach_ioas = fake_pasid_detach_ioas;
	mutex_init(&fake->set.lock);
	fake->device.ops = &fake->ops;
	fake->device.dev_set = &fake->set;
	fake->df.device = &fake->device;
	return 0;
}

static struct kunit_case vfio_cdev_cases[] = {
	KUNIT_CASE(without_pasid),
	KUNIT_CASE(with_pasid),
	KUNIT_CASE(request_refused),
	KUNIT_CASE(no_pasid),
	KUNIT_CASE(nothing_attached),
	KUNIT_CASE(driver_without_pasids),
	KUNIT_CASE(driver_refuses),
	KUNIT_CASE(copy_to_user_fails),
	KUNIT_CASE(copy_to_user_fails_without_pasid),
	{}
};

static struct kunit_suite vfio_cdev_suite = {
	.name		= "vfio-cdev",
	.init		= cdev_fake_init,
	.test_cases	= vfio_cdev_cases,
};

kunit_test_suite(vfio_cdev_suite);
