#pragma once

// Ceph's client as its headers describe it, when they are there at build time. The library itself is loaded
// when a disk is first opened: it brings 55 others along.
#if __has_include(<rbd/librbd.h>)
#  define VIREO_HAS_RBD 1
#  include <rados/librados.h>
#  include <rbd/librbd.h>

#  include "vocab/result.h"

namespace vireo::image::rbd {

struct Library {
  decltype(&::rados_create) rados_create{};
  decltype(&::rados_conf_read_file) rados_conf_read_file{};
  decltype(&::rados_conf_set) rados_conf_set{};
  decltype(&::rados_connect) rados_connect{};
  decltype(&::rados_shutdown) rados_shutdown{};
  decltype(&::rados_ioctx_create) rados_ioctx_create{};
  decltype(&::rados_ioctx_destroy) rados_ioctx_destroy{};
  decltype(&::rbd_create) rbd_create{};
  decltype(&::rbd_remove) rbd_remove{};
  decltype(&::rbd_open) rbd_open{};
  decltype(&::rbd_open_read_only) rbd_open_read_only{};
  decltype(&::rbd_close) rbd_close{};
  decltype(&::rbd_get_size) rbd_get_size{};
  decltype(&::rbd_resize) rbd_resize{};
  decltype(&::rbd_read) rbd_read{};
  decltype(&::rbd_write) rbd_write{};
  decltype(&::rbd_discard) rbd_discard{};
  decltype(&::rbd_write_zeroes) rbd_write_zeroes{};
  decltype(&::rbd_flush) rbd_flush{};
  decltype(&::rbd_diff_iterate2) rbd_diff_iterate2{};
  decltype(&::rbd_lock_acquire) rbd_lock_acquire{};
  decltype(&::rbd_lock_release) rbd_lock_release{};
};
/// Loaded the first time, and never let go. Errc::unsupported when it is not there.
Result<Library const*> library();

}  // namespace vireo::image::rbd
#else
#  define VIREO_HAS_RBD 0
#endif
