#include "engine/soft/translate/translator.h"

// 16- and 32-bit code.
namespace vireo::engine::soft::translate {

using x86::SegmentRegister;

namespace {
constexpr u32 tag_shift{40};
constexpr std::size_t most_tags{4096};
constexpr u64 no_limit{0xffff'ffff};
}  // namespace

/// Linear addresses of code do not wrap.
bool Translator::legacy_translatable() const {
  auto const& cs = cpu_.state.cs();
  return cs.base <= no_limit && cs.base + cs.limit <= no_limit;
}

void Translator::complete_legacy(CodeMode& mode) const {
  auto const& cs = cpu_.state.cs();
  mode.protected_mode = cpu_.protected_mode();
  mode.flat_code = mode.code_size == x86::CodeSize::bits32 && cs.base == 0 && cs.limit == no_limit;
  mode.flat = cpu_.flat_segments();
  mode.stack_size = cpu_.stack_address_size();
}

void Translator::enter_legacy(u16 mode) {
  for (auto i = u8{}; i < 6; ++i) {
    auto const segment = static_cast<SegmentRegister>(i);
    context_->segment_base[i] = cpu_.state.seg(segment).base;
    context_->read_end[i] = cpu_.end_of(segment, Access::read);
    context_->write_end[i] = cpu_.end_of(segment, Access::write);
  }
  context_->code_tag = code_tag(mode);
}

/// Jumps remember targets by linear address. With this they hold for one CS and mode only, and several may
/// share a window.
u64 Translator::code_tag(u16 mode) {
  auto const& cs = cpu_.state.cs();
  if (code_tags_.size() == most_tags) {
    tables_.clear_all();
    code_tags_.clear();
  }
  auto const at = code_tags_.try_emplace({cs.base, cs.limit, mode}, code_tags_.size() + 1).first;
  return at->second << tag_shift | cs.base;
}

u64 Translator::rip_at(PageCode const& page, i64 offset) const {
  auto const linear = place_of(page) + static_cast<u64>(offset);
  if (cpu_.code64()) return linear;
  return static_cast<u32>(linear - cpu_.state.cs().base);
}

u64 Translator::code_left() const {
  if (cpu_.code64()) return ~u64{};
  auto const limit = u64{cpu_.state.cs().limit};
  if (limit == no_limit) return ~u64{};
  return cpu_.state.rip > limit ? 0 : limit - cpu_.state.rip + 1;
}

}  // namespace vireo::engine::soft::translate
