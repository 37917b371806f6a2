#include "engine/soft/translate/verifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "engine/soft/translate/trace.h"
#include "x86/decoder.h"
#include "x86/table.h"

namespace vireo::engine::soft::translate {

namespace {

constexpr u64 most_steps{1'000'000'000};  // a loop that polls is left after milliseconds
constexpr u64 page_mask{page_size - 1};

/// Without what depends on where x87 code ran, and without padding.
ExtendedState comparable(ExtendedState state) {
  state.fop = 0;
  state.fip = state.fdp = 0;
  state.mxcsr_mask = 0;
  state.reserved1 = 0;
  std::memset(state.reserved2, 0, sizeof state.reserved2);
  state.xstate_bv = state.xcomp_bv = 0;
  std::memset(state.reserved3, 0, sizeof state.reserved3);
  for (auto& st : state.st) std::memset(st.bytes + 10, 0, 6);
  return state;
}
bool same_vectors(ExtendedState const& a, ExtendedState const& b) {
  if (std::memcmp(&a, &b, sizeof a) == 0) return true;
  auto const left = comparable(a), right = comparable(b);
  return std::memcmp(&left, &right, sizeof left) == 0;
}

/// Shifts by a count of zero leave the flags; so do repeated string instructions.
bool may_keep_flags(x86::Instruction const& insn) {
  return x86::shifts_or_rotates(insn.operation) || x86::row_of(insn).has(x86::Attribute::repeatable);
}

}  // namespace

Verifier::Verifier(Cpu& cpu) : cpu_{cpu} {
  cpu_.mmu.flush_all();
  cpu_.mmu.set_store_log(&log_);
}
Verifier::~Verifier() { cpu_.mmu.set_store_log(nullptr); }

void Verifier::begin() {
  cpu_.mmu.forget_stacks();
  before_ = cpu_.state;
  log_.begin();
}

bool Verifier::check(Stretch const& stretch) {
  ++stretches_;
  translated_ = cpu_.state;
  cpu_.state = before_;
  cpu_.take_bases_over();
  log_.rewind();
  auto const start = before_.rip;
  auto const end = start + stretch.block->length;
  steps_ = 0;
  for (; !agrees(stretch); ++steps_) {
    auto const rip = cpu_.state.rip;
    auto const inside = rip >= start && rip < end;
    if (!inside) return disagree(stretch, "the interpreter leaves the block with another state");
    if (steps_ == most_steps) return disagree(stretch, "the interpreter never comes to that state");
    if (rip == translated_.rip && stretch.kind == ExitKind::interpret) {
      return disagree(stretch, "the interpreter comes to the same instruction with another state");
    }
    path_[steps_ % path_.size()] = rip;
    if (interpreter_.step(cpu_) != RunExit::budget) return disagree(stretch, "the interpreter stops");
  }
  log_.end();
  return true;
}

// All that translated code may change.
bool Verifier::agrees(Stretch const& stretch) {
  auto const& a = translated_;
  auto const& b = cpu_.state;
  auto const gs = x86::SegmentRegister::gs;
  return a.rip == b.rip && a.gpr == b.gpr && a.seg(gs).base == b.seg(gs).base &&
         a.kernel_gs_base == b.kernel_gs_base && flags_agree(stretch) && same_vectors(a.extended, b.extended) &&
         log_.same();
}

bool Verifier::flags_agree(Stretch const& stretch) {
  auto difference = translated_.rflags ^ cpu_.state.rflags;
  if (difference == 0) [[likely]]
    return true;
  difference &= ~u64{undefined_flags(stretch)};
  if (difference == 0) return true;
  // Flags that the code there overwrites before it reads them may be stale.
  if ((difference & ~u64{x86::arithmetic_flags}) != 0) return false;
  return (difference & flags_alive(stretch)) == 0;
}

/// Those that the code from the exit on reads, as the translator sees it.
u32 Verifier::flags_alive(Stretch const& stretch) {
  auto const code = code_at(stretch, translated_.rip);
  if (code.bytes.empty()) return x86::arithmetic_flags;
  analyse(code, stretch.mode, *stretch.features, region_);
  return region_.live_flags;
}

/// Guest code from `rip` on, in the page of the block.
GuestCode Verifier::code_at(Stretch const& stretch, u64 rip) {
  auto const& page = *stretch.block->page;
  auto const offset = stretch.block->start + (rip - before_.rip);
  if (offset >= page_size) return {};
  // SOUND: the page of guest memory that the block was made of.
  auto const first = std::span{reinterpret_cast<u8 const*>(page.host), page_size};
  auto const begin = static_cast<u32>(offset);
  auto const in_first = page_size - offset;
  if (page.second_host == nullptr || in_first >= crossing_.size())
    return {first, begin, page.second_host == nullptr};
  std::memcpy(crossing_.data(), first.data() + offset, in_first);
  std::memcpy(crossing_.data() + in_first, page.second_host, crossing_.size() - in_first);
  return {crossing_, 0, false};
}

/// Those that the manual leaves open after the instructions of this stretch.
u32 Verifier::undefined_flags(Stretch const& stretch) {
  auto undefined = u32{0};
  for (auto i = steps_ - std::min<u64>(steps_, path_.size()); i < steps_; ++i) {
    auto const code = code_at(stretch, path_[i % path_.size()]);
    if (code.bytes.empty()) continue;
    auto const left = code.bytes.subspan(code.begin);
    auto const bytes = left.first(std::min<std::size_t>(left.size(), 15));
    auto insn = x86::Instruction{};
    if (x86::decode(bytes, stretch.mode.code_size, stretch.mode.protected_mode, insn) != x86::DecodeStatus::ok)
      continue;
    auto const& flags = x86::row_of(insn).flags;
    if (!may_keep_flags(insn)) undefined &= ~u32{flags.written};
    undefined |= flags.undefined;
  }
  return undefined;
}

bool Verifier::disagree(Stretch const& stretch, char const* what) {
  auto const byte = log_.difference();
  log_.end();
  report_ = fmt::format("verify: block {} at {:#x} ({} bytes), exit {} at {:#x}: {}\n", stretch.number,
                        before_.rip, stretch.block->length, name(stretch.kind), translated_.rip, what);
  report_ += "guest code:\n" + guest_text(*stretch.block, before_.rip, stretch.mode);
  report_ += fmt::format("host code, entered {}:\n",
                         stretch.saved_flags_entry ? "with the flags saved" : "with the flags in RFLAGS");
  report_ += bytes_text(stretch.host_code);
  report_ += compared_text(before_, translated_, cpu_.state);
  if (!same_vectors(translated_.extended, cpu_.state.extended)) {
    report_ += vectors_text(translated_.extended, cpu_.state.extended);
  }
  if (byte.at != nullptr) {
    report_ += fmt::format("memory, page offset {:#x}: translated {:#04x}, interpreted {:#04x}\n",
                           // SOUND: printed only.
                           reinterpret_cast<u64>(byte.at) & page_mask, static_cast<u8>(byte.first),
                           static_cast<u8>(byte.second));
  }
  return false;
}

}  // namespace vireo::engine::soft::translate
