#include "x86/decoder.h"
#include "x86/table.h"

using namespace vireo;

/// The first byte chooses the mode. Whatever the bytes, decoding ends, stays within 15 bytes and can be written
/// as text.
extern "C" int LLVMFuzzerTestOneInput(u8 const* data, std::size_t size) {
  if (size == 0) return 0;
  auto insn = x86::Instruction{};
  auto const code_size = static_cast<x86::CodeSize>(data[0] % 3);
  auto const status = x86::decode({data + 1, size - 1}, code_size, data[0] & 4, insn);
  if (insn.length > 15 || insn.length > size - 1) __builtin_trap();
  if (status == x86::DecodeStatus::ok && (insn.length == 0 || x86::disassemble(insn).empty())) __builtin_trap();
  return 0;
}
