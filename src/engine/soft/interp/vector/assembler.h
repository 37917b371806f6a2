#pragma once

#include <array>
#include <initializer_list>

#include "vocab/bytes.h"

namespace vireo::engine::soft::vector {

/// Bytes of one thunk under construction; none needs more than `capacity`.
template <std::size_t capacity>
class BasicAssembler {
 public:
  void bytes(std::initializer_list<u8> list) {
    for (auto const byte : list) buffer_[size_++] = byte;
  }
  void bytes(u8 const* from, std::size_t length) {
    for (std::size_t i = 0; i < length; i++) buffer_[size_++] = from[i];
  }
  void u32_value(std::size_t value) {
    store_le<u32>(&buffer_[size_], static_cast<u32>(value));
    size_ += 4;
  }

  // ---- [rdi + offset]: the vCPU's state; a legacy form each, then a VEX one where upper halves matter ----
  void load_xmm(u8 reg, std::size_t offset) { legacy_move(0x10, reg, offset); }
  void store_xmm(u8 reg, std::size_t offset) { legacy_move(0x11, reg, offset); }
  void vex_load_xmm(u8 reg, std::size_t offset) {  // vmovups
    bytes({0xc4, vex_byte1(reg, 1), 0x78, 0x10, modrm(reg)});
    u32_value(offset);
  }
  void vex_store_xmm(u8 reg, std::size_t offset) {
    bytes({0xc4, vex_byte1(reg, 1), 0x78, 0x11, modrm(reg)});
    u32_value(offset);
  }
  void insert_high(u8 reg, std::size_t offset) {  // vinsertf128 reg, reg, [], 1
    bytes({0xc4, vex_byte1(reg, 3), static_cast<u8>(((~reg & 0xf) << 3) | 0x05), 0x18, modrm(reg)});
    u32_value(offset);
    bytes({1});
  }
  void extract_high(u8 reg, std::size_t offset) {  // vextractf128 [], reg, 1
    bytes({0xc4, vex_byte1(reg, 3), 0x7d, 0x19, modrm(reg)});
    u32_value(offset);
    bytes({1});
  }
  void load_gpr(u8 reg, std::size_t offset) {  // rax..rdi only, 64 bits
    bytes({0x48, 0x8b, modrm(reg)});
    u32_value(offset);
  }
  void store_gpr(u8 reg, std::size_t offset) {
    bytes({0x48, 0x89, modrm(reg)});
    u32_value(offset);
  }
  /// A 0F-map instruction with ModRM.reg as opcode extension on [rdi + offset].
  void extended(std::initializer_list<u8> opcode, u8 extension, std::size_t offset) {
    bytes(opcode);
    bytes({modrm(extension)});
    u32_value(offset);
  }

  ConstBytes code() const { return std::as_bytes(std::span{buffer_.data(), size_}); }

 private:
  static u8 modrm(u8 reg) { return static_cast<u8>(0x87 | ((reg & 7) << 3)); }  // mod 10, rm rdi
  static u8 vex_byte1(u8 reg, u8 map) { return static_cast<u8>((reg >= 8 ? 0x60 : 0xe0) | map); }
  void legacy_move(u8 opcode, u8 reg, std::size_t offset) {
    if (reg >= 8) bytes({0x44});
    bytes({0x0f, opcode, modrm(reg)});
    u32_value(offset);
  }

  std::array<u8, capacity> buffer_{};
  std::size_t size_{};
};
using Assembler = BasicAssembler<256>;

}  // namespace vireo::engine::soft::vector
