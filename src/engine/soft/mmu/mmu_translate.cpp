#include "engine/soft/interp/fault.h"
#include "engine/soft/mmu/mmu.h"

// The half of translation that throws; mmu_walk.cpp is the other.
namespace vireo::engine::soft {

Fault Mmu::make_fault(u64 linear, Access access, Rights rights, u32 code) const {
  if (access == Access::write) code |= x86::pf_write;
  if (rights == Rights::user) code |= x86::pf_user;
  if (access == Access::execute && (mode_.no_execute || mode_.smep)) code |= x86::pf_fetch;
  return {.vector = x86::Vector::pf, .has_error_code = true, .error_code = code, .address = linear};
}

void Mmu::page_fault(u64 linear, Access access, Rights rights, u32 code) {
  forget_directories();
  drop_pages(linear, 1,
             *space_);  // SDM vol. 3, 4.10.4.1: a page fault invalidates what was cached for its address
  throw make_fault(linear, access, rights, code);
}

std::optional<Fault> Mmu::find_fault(u64 linear, Access access, Rights rights) noexcept {
  auto found = Walk{.quiet = true};
  if (unreported_.count != 0 || usable(find_cached(linear), access, rights)) return {};
  if (walk(linear, access, rights, found)) return {};
  forget_directories();
  drop_pages(linear, 1, *space_);
  return make_fault(linear, access, rights, found.error_code);
}

Mmu::Translation Mmu::translate(u64 linear, Access access, Rights rights) {
  for (; unreported_.count > 0; --unreported_.count) {
    code_pages_->stored(unreported_.entries[unreported_.count - 1], sizeof(u64), member_);
  }
  auto* cached = find_cached(linear);
  if (!usable(cached, access, rights)) {
    auto found = Walk{};
    if (!walk(linear, access, rights, found)) page_fault(linear, access, rights, found.error_code);
    if (cached != nullptr && cached->host != found.result.host) drop_pages(linear, 1, *space_);
    cached = &insert(found.result, cached);
  }
  auto const unseen = fill(linear, access, rights, *cached);
  auto const reachable =
      cached->host != nullptr && (access != Access::write || (cached->flags() & host_writable));
  auto const offset = linear % page_size;
  return {.physical = cached->physical() + offset,
          .host = reachable ? cached->host + offset : nullptr,
          .watched = code_pages_ != nullptr && !unseen};
}

}  // namespace vireo::engine::soft
