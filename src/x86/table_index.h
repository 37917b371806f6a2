#pragma once

#include "x86/table.h"

namespace vireo::x86 {

/// What rows match on besides encoding, map and opcode, one bit for each value that a thing can have. An
/// instruction has one value of each (without ModRM those of a zero byte); a row refuses values.
namespace trait {
constexpr u64 code_size(CodeSize size) { return u64{1} << static_cast<unsigned>(size); }
constexpr u64 mandatory(Mandatory prefix) {
  return u64{1} << (2 + static_cast<unsigned>(prefix));
}  // none to f2
inline constexpr u64 narrow{1 << 8}, wide_outside64{1 << 9}, wide64{1 << 10};
constexpr u64 vector_length(unsigned bit) { return u64{1 << 11} << bit; }
constexpr u64 operand_size(unsigned bytes) { return u64{bytes / 2} << 13; }
inline constexpr u64 memory_form{1 << 16}, register_form{1 << 17};
inline constexpr u64 rex_b{1 << 18};
constexpr u64 reg(unsigned field) { return u64{1} << (24 + field); }
constexpr u64 rm(unsigned field) { return u64{1} << (32 + field); }
}  // namespace trait

struct Candidate {
  u64 refused{};  // traits
  u16 row{};      // index into table()
};

enum class ModrmUse : u8 { none, registers_or_memory, registers };

/// The rows of one opcode. The first that refuses none of an instruction's traits is the instruction.
struct OpcodeRows {
  u16 first{};
  u8 count{};
  ModrmUse modrm{};
};

constexpr std::size_t opcode_key(Encoding encoding, u8 map, u8 opcode) {
  return (static_cast<std::size_t>(encoding) * 4 + map) * 256 + opcode;
}
inline constexpr std::size_t opcode_keys{2 * 4 * 256};

extern std::array<OpcodeRows, opcode_keys> const opcode_index;  // by opcode_key()
extern Candidate const* const candidate_list;                   // OpcodeRows::first counts from here
extern Row const* const row_list;                               // Candidate::row counts from here

inline std::span<Candidate const> candidates(OpcodeRows rows) {
  return {candidate_list + rows.first, rows.count};
}

}  // namespace vireo::x86
