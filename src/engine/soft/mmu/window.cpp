#include "engine/soft/mmu/window.h"

#include <sys/mman.h>

#include <new>

namespace vireo::engine::soft {

Windows::Windows() {
  constexpr auto length = count * sizeof(Window);
  // SOUND: a fresh private mapping of our own; the destructor unmaps it.
  auto* const at =
      ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc{};
  ::madvise(at, length, MADV_DONTDUMP);
  // SOUND: a Window is an aggregate of integers, aligned to a page, which a mapping's zeroes make; zero is the
  // invalid tag of every entry but the first.
  first_ = static_cast<Window*>(at);
  for (auto i = u8{}; i < count; ++i) {
    first_[i].tlb[0] = Window::empty(0);
    first_[i].writes[0].tag = Window::no_tag(0);
    first_[i].stack = no_stack();
  }
}

StackPages Windows::no_stack() const {
  // SOUND: a distance, as a number; what it is added to lies in the page `nowhere`.
  auto const distance = reinterpret_cast<u64>(nowhere_.data()) - StackPages::nowhere;
  return {.read_distance = distance, .write_distance = distance};
}

Windows::~Windows() { ::munmap(first_, count * sizeof(Window)); }

}  // namespace vireo::engine::soft
