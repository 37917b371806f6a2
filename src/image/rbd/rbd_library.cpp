#include "image/rbd/rbd_library.h"

#if VIREO_HAS_RBD
#  include <dlfcn.h>

#  include <mutex>

namespace vireo::image::rbd {
namespace {

template <typename F>
bool find(void* from, char const* name, F& function) {
  // SOUND: the library's own header gives the function of that name this type.
  function = reinterpret_cast<F>(::dlsym(from, name));
  return function != nullptr;
}

std::string load(Library& into) {
  auto* const rados = ::dlopen("librados.so.2", RTLD_NOW | RTLD_LOCAL);
  auto* const rbd = rados != nullptr ? ::dlopen("librbd.so.1", RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (rbd == nullptr) {
    auto const* const why = ::dlerror();  // NOLINT(concurrency-mt-unsafe): under the once flag
    return why != nullptr ? why : "librbd is not there";
  }
  auto const complete =
      find(rados, "rados_create", into.rados_create) &&
      find(rados, "rados_conf_read_file", into.rados_conf_read_file) &&
      find(rados, "rados_conf_set", into.rados_conf_set) && find(rados, "rados_connect", into.rados_connect) &&
      find(rados, "rados_shutdown", into.rados_shutdown) &&
      find(rados, "rados_ioctx_create", into.rados_ioctx_create) &&
      find(rados, "rados_ioctx_destroy", into.rados_ioctx_destroy) &&
      find(rbd, "rbd_create", into.rbd_create) && find(rbd, "rbd_remove", into.rbd_remove) &&
      find(rbd, "rbd_open", into.rbd_open) && find(rbd, "rbd_open_read_only", into.rbd_open_read_only) &&
      find(rbd, "rbd_close", into.rbd_close) && find(rbd, "rbd_get_size", into.rbd_get_size) &&
      find(rbd, "rbd_resize", into.rbd_resize) && find(rbd, "rbd_read", into.rbd_read) &&
      find(rbd, "rbd_write", into.rbd_write) && find(rbd, "rbd_discard", into.rbd_discard) &&
      find(rbd, "rbd_write_zeroes", into.rbd_write_zeroes) && find(rbd, "rbd_flush", into.rbd_flush) &&
      find(rbd, "rbd_diff_iterate2", into.rbd_diff_iterate2) &&
      find(rbd, "rbd_lock_acquire", into.rbd_lock_acquire) &&
      find(rbd, "rbd_lock_release", into.rbd_lock_release);
  return complete ? "" : "librbd is too old";
}

}  // namespace

Result<Library const*> library() {
  static auto loaded = Library{};
  static auto failure = std::string{};
  static auto once = std::once_flag{};
  std::call_once(once, [] { failure = load(loaded); });
  if (failure.empty()) return &loaded;
  return fail(Errc::unsupported, "disks of Ceph's need librbd1: " + failure);
}

}  // namespace vireo::image::rbd
#endif
