#include "engine/soft/interp/lower.h"

#include <array>
#include <cstring>
#include <new>

#include "engine/soft/interp/families.h"
#include "observe/log.h"
#include "x86/decoder.h"
#include "x86/table.h"

namespace vireo::engine::soft {
namespace {

using x86::DecodeStatus;
using x86::Feature;
using x86::Instruction;
using x86::Operation;

void undefined(Cpu&, Instruction const&, void const*) { raise_ud(); }
void protection_fault(Cpu&, Instruction const&, void const*) { raise_gp(); }

bool offered(Cpu const& cpu, Feature feature) { return feature == Feature::always || cpu.has(feature); }

std::string hex(Instruction const& insn) {
  auto text = std::string{};
  for (auto i = 0u; i < insn.length; ++i) text += fmt::format("{:02x} ", insn.bytes[i]);
  return text;
}

void generic_next(Cpu& cpu, Step const* step, u64 rip) {
  cpu.state.rip = rip + step->end;
  auto const& generic = *step->generic;
  generic.lowered.handler(cpu, generic.instruction, generic.lowered.extra);
  if (cpu.code_written) [[unlikely]]
    return;
  ++step;
  return step->function(cpu, step, rip);
}
void generic_last(Cpu& cpu, Step const* step, u64 rip) {
  cpu.state.rip = rip + step->end;
  auto const& generic = *step->generic;
  generic.lowered.handler(cpu, generic.instruction, generic.lowered.extra);
}
void end_of_block(Cpu& cpu, Step const* step, u64 rip) { cpu.state.rip = rip + step->end; }

/// What a failed decode does when it is reached.
Lowered lower_failure(DecodeStatus status) {
  return {.handler = status == DecodeStatus::too_long ? protection_fault : undefined, .ends_block = true};
}

/// Branches and repeated strings change RIP and nothing else that the run loop remembers.
bool is_special(Instruction const& insn) {
  using enum Operation;
  switch (insn.operation) {
    case jcc:
    case jcxz:
    case loop:
    case loope:
    case loopne:
    case jmp_near:
    case call_near:
    case ret_near:
    case movs:
    case cmps:
    case stos:
    case lods:
    case scas: return false;
    default: return true;
  }
}

}  // namespace

Lowered lower(Cpu const& cpu, Instruction& insn) {
  if (insn.operation == Operation::tzcnt && !cpu.has(Feature::bmi1))
    insn.operation = Operation::bsf;
  else if (insn.operation == Operation::lzcnt && !cpu.has(Feature::abm))
    insn.operation = Operation::bsr;
  else if (insn.operation == Operation::prefetchw)
    insn.operation = Operation::nop;
  else if (auto const& row = row_of(insn); !offered(cpu, row.feature) || !offered(cpu, row.second_feature)) {
    return {.handler = undefined, .ends_block = true};
  }
  for (auto const family : {lower_integer, lower_vector, lower_system, lower_segmentation}) {
    auto lowered = family(insn);
    if (lowered.handler == nullptr) continue;
    lowered.ends_block |= row_of(insn).ends_block();
    return lowered;
  }
  VIREO_LOG_GUEST(observe::Level::warning, "interp", "not implemented, raises #UD: {} ({})", disassemble(insn),
                  hex(insn));
  return {.handler = undefined, .ends_block = true};
}

Block* make_block(Cpu const& cpu, BlockCache& cache, u8 const* code, u32 length, u64 key, BlockShape shape) {
  auto bytes = std::array<u8, Block::max_steps * 15>{};
  // Once: another vCPU may write meanwhile, and what is decoded must be what is compared later.
  std::memcpy(bytes.data(), code, std::min<std::size_t>(length, bytes.size()));
  auto steps = std::array<Step, Block::max_steps + 1>{};
  auto count = 0u;
  auto at = 0u;
  auto ends = false;
  auto special = false;
  auto const max = shape == BlockShape::single ? 1 : Block::max_steps;
  while (!ends && count < max && at < length) {
    auto insn = Instruction{};
    auto const left = std::min(length - at, 15u);
    auto const status = decode({&bytes[at], left}, cpu.code_size(), cpu.protected_mode(), insn);
    if (status == DecodeStatus::truncated) break;
    auto const decoded = status == DecodeStatus::ok;
    if (!decoded && insn.length == 0) insn.length = 1;
    auto& step = steps[count];
    auto const lowered = decoded ? lower(cpu, insn) : lower_failure(status);
    step.length = insn.length;
    step.end = static_cast<u16>(at + insn.length);
    ends = lowered.ends_block;
    if (!decoded || lowered.handler == undefined || !lower_fast(insn, step)) {
      step.generic = new (cache.allocate(sizeof(GenericInstruction))) GenericInstruction{lowered, insn};
      step.function = ends ? generic_last : generic_next;
    }
    special |= ends && (!decoded || is_special(insn));
    at += insn.length;
    ++count;
  }
  if (count == 0) return nullptr;

  steps[count].function = end_of_block;
  steps[count].end = static_cast<u16>(at);
  auto const steps_bytes = (count + 1) * sizeof(Step);
  auto const fits = at <= Block::inline_bytes;
  auto* const block = new (cache.allocate(sizeof(Block) + steps_bytes + (fits ? 0 : at))) Block{};
  block->key = key;
  block->links[0] = block->links[1] = cache.none();
  block->byte_count = static_cast<u16>(at);
  block->step_count = static_cast<u16>(count);
  block->bytes_offset = static_cast<u16>(fits ? offsetof(Block, first_bytes) : sizeof(Block) + steps_bytes);
  block->kind = special ? Block::Kind::special : Block::Kind::plain;
  // SOUND: Step is trivially copyable and the storage has room for the steps and the bytes.
  std::memcpy(static_cast<void*>(block->steps()), steps.data(), steps_bytes);
  std::memcpy(block->bytes(), bytes.data(), at);
  return block;
}

void make_uncached(Cpu& cpu, u64 linear, UncachedBlock& into) {
  auto& [block, steps, storage] = into;
  auto bytes = std::array<u8, 15>{};
  auto& insn = storage.instruction;
  auto count = 0u;
  auto status = DecodeStatus::truncated;
  while (status == DecodeStatus::truncated && count < bytes.size()) {
    auto const at = cpu.code64() ? linear + count : static_cast<u32>(linear + count);
    auto const code = cpu.code_at(at);
    if (code.host == nullptr) {
      bytes[count++] = cpu.fetch_mmio(at);
    } else {
      auto const part = std::min<u32>(code.length, static_cast<u32>(bytes.size()) - count);
      std::memcpy(bytes.data() + count, code.host, part);
      count += part;
    }
    insn = {};
    status = decode({bytes.data(), count}, cpu.code_size(), cpu.protected_mode(), insn);
  }
  if (insn.length == 0) insn.length = 1;
  auto const decoded = status == DecodeStatus::ok;
  storage.lowered = decoded ? lower(cpu, insn) : lower_failure(status);
  block.byte_count = insn.length;
  block.step_count = 1;
  block.kind = storage.lowered.ends_block && (!decoded || is_special(insn)) ? Block::Kind::special
                                                                            : Block::Kind::uncached;
  std::memcpy(block.first_bytes, insn.bytes.data(), insn.length);
  block.bytes_offset = offsetof(Block, first_bytes);
  steps[0] = {.function = storage.lowered.ends_block ? generic_last : generic_next,
              .generic = &storage,
              .end = insn.length,
              .length = insn.length};
  steps[1] = {.function = end_of_block, .immediate = 0, .end = insn.length};
}

u32 step_at(Block const& block, u64 offset) {
  for (auto i = 0u; i < block.step_count; ++i) {
    if (block.steps()[i].end == offset) return i;
  }
  return block.step_count - 1u;
}

}  // namespace vireo::engine::soft
