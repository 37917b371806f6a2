#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <span>
#include <string>

#include "vocab/integers.h"
#include "x86/registers.h"

namespace vireo::engine::soft::translate {

/// What Zydis makes of one instruction.
struct ZydisView {
  bool valid{};
  ZydisDecodedInstruction insn{};
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands{};
  std::string mnemonic() const { return valid ? ZydisMnemonicGetString(insn.mnemonic) : "(invalid)"; }
};

inline ZydisView zydis_view(std::span<u8 const> bytes, x86::CodeSize code_size) {
  static constexpr std::array machine_modes{ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32,
                                            ZYDIS_MACHINE_MODE_LONG_64};
  static constexpr std::array stack_widths{ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64};
  auto const mode = static_cast<u8>(code_size);
  auto decoder = ZydisDecoder{};
  ZydisDecoderInit(&decoder, machine_modes[mode], stack_widths[mode]);
  for (auto const extension : {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET, ZYDIS_DECODER_MODE_CLDEMOTE})
    ZydisDecoderEnableMode(&decoder, extension, ZYAN_FALSE);
  auto view = ZydisView{};
  view.valid = ZYAN_SUCCESS(
      ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &view.insn, view.operands.data()));
  return view;
}

/// All of `code` in Intel syntax, one instruction a line, branch targets relative to its beginning.
inline std::string zydis_text(std::span<u8 const> code) {
  auto formatter = ZydisFormatter{};
  ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
  ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE, ZYDIS_PADDING_DISABLED);
  ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_DISP_PADDING, ZYDIS_PADDING_DISABLED);
  ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_IMM_PADDING, ZYDIS_PADDING_DISABLED);
  ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE);
  ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_FORCE_SIZE, ZYAN_TRUE);
  auto text = std::string{};
  for (auto at = 0uz; at < code.size();) {
    auto const view = zydis_view(code.subspan(at), x86::CodeSize::bits64);
    if (!view.valid) return text + "(invalid)\n";
    auto line = std::array<char, 256>{};
    ZydisFormatterFormatInstruction(&formatter, &view.insn, view.operands.data(),
                                    view.insn.operand_count_visible, line.data(), line.size(), at, nullptr);
    text += std::string{line.data()} + "\n";
    at += view.insn.length;
  }
  return text;
}

}  // namespace vireo::engine::soft::translate
