#include "host/file_view.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <string_view>

#include "host/system_error.h"
#include "vocab/numbers.h"

#ifndef MADV_POPULATE_READ
#  define MADV_POPULATE_READ 22  // Linux 5.14
#endif

namespace vireo::host {
namespace {

constexpr u64 page{4096};

void say_and_end(int) {
  constexpr auto text = std::string_view{"vireo: a file got shorter, or its disk failed, while it was read\n"};
  static_cast<void>(!::write(2, text.data(), text.size()));
  ::_exit(1);
}

void end_tidily_when_a_file_shrinks() {
  static auto once = std::once_flag{};
  std::call_once(once, [] {
    struct sigaction now{};
    if (::sigaction(SIGBUS, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) std::signal(SIGBUS, say_and_end);
  });
}

}  // namespace

Result<FileView> FileView::create(File const& file) {
  auto const size = TRY(file.size());
  if (file.kind() != File::Kind::regular || size == 0)
    return fail(Errc::unsupported, file.path() + ": no view");
  // SOUND: mapped for reading at a place of the kernel's choice; only bytes that populated() found there are
  // read.
  auto* const start = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.fd(), 0);
  if (start == MAP_FAILED) return fail_errno(errno, file.path() + ": view");
  end_tidily_when_a_file_shrinks();
  return FileView{Bytes{static_cast<std::byte*>(start), size}};
}

FileView::~FileView() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

ConstBytes FileView::populated(u64 at, u64 length) const {
  if (at >= bytes_.size()) return {};
  auto const part = bytes_.subspan(at, std::min<u64>(length, bytes_.size() - at));
  auto const start = align_down(at, page);
  auto const end = std::min<u64>(align_up(at + part.size(), page), align_up(bytes_.size(), page));
  auto const found = ::madvise(bytes_.data() + start, end - start, MADV_POPULATE_READ) == 0;
  return found ? ConstBytes{part} : ConstBytes{};
}

}  // namespace vireo::host
