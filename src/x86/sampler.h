#pragma once

#include <array>
#include <random>

#include "x86/table.h"

namespace vireo::x86 {

/// Draws encodings from the table, for tests: 15 bytes that begin with one encoding of `row` (what follows
/// ModRM is random), now and then with prefixes that it does not need.
class Sampler {
 public:
  explicit Sampler(u64 seed) : random_{seed} {}

  std::array<u8, 15> sample(Row const& row, CodeSize code_size);
  std::array<u8, 15> noise(CodeSize code_size);  // random bytes, often prefixes and escapes in front

  u64 number() { return random_(); }
  u64 below(u64 bound) { return random_() % bound; }
  bool one_in(u64 n) { return below(n) == 0; }

 private:
  struct Buffer {
    std::array<u8, 15> bytes{};
    std::size_t size{};
    void add(u64 byte) {
      if (size < bytes.size()) bytes[size++] = static_cast<u8>(byte);
    }
  };
  u8 modrm(Row const& row);
  void add_vex(Row const& row, CodeSize code_size, Buffer& out);
  void add_legacy(Row const& row, CodeSize code_size, Buffer& out);

  std::mt19937_64 random_;
};

}  // namespace vireo::x86
