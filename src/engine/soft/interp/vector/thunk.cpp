#include "engine/soft/interp/vector/thunk.h"

#include <cpuid.h>
#include <signal.h>
#include <ucontext.h>

#include <map>
#include <mutex>

#include "engine/soft/interp/vector/assembler.h"
#include "x86/table.h"

namespace vireo::engine::soft::vector {
namespace {

using x86::Instruction;
using x86::OperandKind;
using x86::Operation;
using x86::RegisterFile;

constexpr std::size_t code_limit{16 * 1024 * 1024};
constexpr std::size_t slot_size{256};
constexpr std::size_t slots_limit{1024 * 1024};

constexpr auto extended_offset = offsetof(VcpuState, extended);
constexpr auto mxcsr_offset = extended_offset + offsetof(ExtendedState, mxcsr);
constexpr auto rflags_offset = offsetof(VcpuState, rflags);
constexpr std::size_t xmm_offset(u8 reg) { return extended_offset + offsetof(ExtendedState, xmm) + 16u * reg; }
constexpr std::size_t ymm_high_offset(u8 reg) {
  return extended_offset + offsetof(ExtendedState, ymm_high) + 16u * reg;
}
constexpr std::size_t gpr_offset(u8 reg) { return offsetof(VcpuState, gpr) + 8u * reg; }

bool is_string_compare(Operation operation) {
  return operation == Operation::pcmpestri || operation == Operation::pcmpestrm ||
         operation == Operation::pcmpistri || operation == Operation::pcmpistrm;
}
/// Legacy forms that read XMM0 without naming it.
bool reads_xmm0(Instruction const& insn) {
  if (insn.prefixes.vex) return false;
  return insn.operation == Operation::pblendvb || insn.operation == Operation::blendvps ||
         insn.operation == Operation::blendvpd || insn.operation == Operation::sha256rnds2;
}
bool writes_xmm0(Operation operation) {
  return operation == Operation::pcmpestrm || operation == Operation::pcmpistrm;
}

/// One thunk's code, put together from the instruction's operands.
class ThunkWriter {
 public:
  explicit ThunkWriter(Instruction const& insn)
      : insn_{insn}, row_{x86::row_of(insn)}, form_{host_form(insn)} {}

  Assembler const& write() {
    collect();
    auto const kind = thunk_kind(insn_);
    if (kind == ThunkKind::x87) out_.extended({0x48, 0x0f, 0xae}, 1, extended_offset);  // fxrstor64
    if (kind == ThunkKind::simd_float) enter_mxcsr();
    if (kind != ThunkKind::x87) load_vectors();
    if (row_.flags.read != 0 || (kind == ThunkKind::x87 && row_.flags.written != 0)) load_flags();
    load_gprs();
    out_.bytes(form_.bytes.data(), form_.length);
    store_gprs();
    if (row_.flags.written != 0) store_flags();
    if (kind == ThunkKind::simd_float) out_.extended({0x0f, 0xae}, 3, mxcsr_offset);  // stmxcsr
    if (kind != ThunkKind::x87) store_vectors();
    if (kind == ThunkKind::x87) {
      out_.extended({0x48, 0x0f, 0xae}, 0, extended_offset);  // fxsave64
      out_.bytes({0xdb, 0xe3});                               // fninit
    }
    if (wide_) out_.bytes({0xc5, 0xf8, 0x77});  // vzeroupper
    out_.bytes({0x31, 0xc0, 0xc3});             // xor eax, eax; ret
    return out_;
  }

 private:
  void collect() {
    for (std::size_t i = 0; i < insn_.operand_count; i++) {
      auto const& operand = insn_.operands[i];
      if (operand.kind == OperandKind::vector) {
        used_ |= 1u << operand.reg;
        if (operand.written) written_ |= 1u << operand.reg;
        wide_ |= operand.size == 32;
      }
      if (operand.kind == OperandKind::gpr && !is_string_compare(insn_.operation)) {
        gpr_ = operand.reg;
        gpr_written_ = operand.written;
        gpr_read_ = operand.read;
      }
    }
    if (reads_xmm0(insn_)) used_ |= 1;
    if (writes_xmm0(insn_.operation)) written_ |= 1;
    wide_ |= insn_.prefixes.vex && insn_.prefixes.vex_length != 0;
  }

  /// The guest's MXCSR stays in the host's register from one thunk to the next: its flags do no harm to C++
  /// code, and the handler puts the control bits back where they are not the usual ones.
  void enter_mxcsr() {
    out_.bytes({0x0f, 0xae, 0x5c, 0x24, 0xf8});        // stmxcsr [rsp - 8]
    out_.extended({0x8b}, x86::rax, mxcsr_offset);     // mov eax, [state.mxcsr]
    out_.bytes({0x3b, 0x44, 0x24, 0xf8, 0x74, 0x07});  // cmp eax, [rsp - 8]; je over the load
    out_.extended({0x0f, 0xae}, 2, mxcsr_offset);      // ldmxcsr
  }

  void load_vectors() {
    for (u8 reg = 0; reg < 16; reg++) {
      if ((used_ & (1u << reg)) == 0) continue;
      if (insn_.prefixes.vex)
        out_.vex_load_xmm(reg, xmm_offset(reg));
      else
        out_.load_xmm(reg, xmm_offset(reg));
      if (wide_) out_.insert_high(reg, ymm_high_offset(reg));
    }
  }
  void store_vectors() {
    for (u8 reg = 0; reg < 16; reg++) {
      if ((written_ & (1u << reg)) == 0) continue;
      if (!insn_.prefixes.vex) {
        out_.store_xmm(reg, xmm_offset(reg));
        continue;
      }
      out_.vex_store_xmm(reg, xmm_offset(reg));
      out_.extract_high(reg, ymm_high_offset(reg));
    }
  }

  void load_gprs() {
    if (gpr_read_ && gpr_ != x86::no_register) out_.load_gpr(x86::rax, gpr_offset(gpr_));
    if (insn_.operation != Operation::pcmpestri && insn_.operation != Operation::pcmpestrm) return;
    out_.load_gpr(x86::rax, gpr_offset(x86::rax));
    out_.load_gpr(x86::rdx, gpr_offset(x86::rdx));
  }
  void store_gprs() {
    if (gpr_written_) out_.store_gpr(x86::rax, gpr_offset(gpr_));
    if (insn_.operation == Operation::pcmpestri || insn_.operation == Operation::pcmpistri) {
      out_.store_gpr(x86::rcx, gpr_offset(x86::rcx));
    }
  }

  void load_flags() {
    out_.load_gpr(x86::rcx, rflags_offset);
    out_.bytes({0x81, 0xe1});  // and ecx, arithmetic flags
    out_.u32_value(x86::arithmetic_flags);
    out_.bytes({0x51, 0x9d});  // push rcx; popfq
  }
  void store_flags() {
    out_.bytes({0x9c, 0x5a, 0x81, 0xe2});  // pushfq; pop rdx; and edx, arithmetic flags
    out_.u32_value(x86::arithmetic_flags);
    out_.load_gpr(x86::rcx, rflags_offset);
    out_.bytes({0x81, 0xe1});  // and ecx, the others
    out_.u32_value(static_cast<u32>(~x86::arithmetic_flags));
    out_.bytes({0x09, 0xd1});  // or ecx, edx
    out_.store_gpr(x86::rcx, rflags_offset);
  }

  Instruction const& insn_;
  x86::Row const& row_;
  HostForm form_;
  Assembler out_;
  u32 used_{}, written_{};  // a bit per vector register
  bool wide_{}, gpr_read_{}, gpr_written_{};
  u8 gpr_{x86::no_register};
};

/// Form, and the general register that the thunk loads or stores.
using Key = std::pair<HostForm, u8>;

Key key_of(Instruction const& insn) {
  auto gpr = x86::no_register;
  for (auto const& operand : insn.operands) {
    if (operand.kind == OperandKind::gpr && !is_string_compare(insn.operation)) gpr = operand.reg;
  }
  return {host_form(insn), gpr};
}

struct Cache {
  CodeMemory memory{code_limit};
  CodeMemory slots{slots_limit};
  Guarded<std::map<Key, Thunk>, LockRank::code> thunks;
};
Cache& cache() {
  static auto* const instance = new Cache;  // never destroyed: vCPU threads may outlive static destruction
  return *instance;
}

Thunk thunk_at(u8 const* address, Instruction const& insn) {
  // SOUND: the address is the start of a complete thunk in executable memory, written for this signature.
  auto const code = reinterpret_cast<ThunkCode>(reinterpret_cast<std::uintptr_t>(address));
  return {code, static_cast<u8>(x86::required_alignment(insn) - 1)};
}

std::array<u32, std::size(x86::feature_words)> host_feature_words() {
  auto words = std::array<u32, std::size(x86::feature_words)>{};
  for (std::size_t i = 0; i < words.size(); i++) {
    auto const& word = x86::feature_words[i];
    u32 registers[4]{};
    __get_cpuid_count(word.leaf, word.subleaf, &registers[0], &registers[1], &registers[2], &registers[3]);
    words[i] = registers[static_cast<std::size_t>(word.reg)];
  }
  return words;
}
bool host_has(x86::Feature feature) {
  static auto const words = host_feature_words();
  if (feature == x86::Feature::always) return true;
  auto const number = static_cast<u16>(feature);
  return words[number / 32] >> (number % 32) & 1;
}

/// Where a SIMD exception continues: the end of any thunk, with nothing stored but MXCSR's flags.
u8 const* exception_exit() {
  static u8 const* const address = [] {
    auto out = Assembler{};
    out.extended({0x0f, 0xae}, 3, mxcsr_offset);                     // stmxcsr
    out.bytes({0xdb, 0xe3});                                         // fninit
    if (host_has(x86::Feature::avx)) out.bytes({0xc5, 0xf8, 0x77});  // vzeroupper
    out.bytes({0xb8, 1, 0, 0, 0, 0xc3});                             // mov eax, 1; ret
    auto const added = cache().slots.add(out.code());
    return added ? *added : nullptr;
  }();
  return address;
}
struct sigaction previous_sigfpe;

void on_sigfpe(int signal, siginfo_t* info, void* context) {
  auto* const user = static_cast<ucontext_t*>(context);
  auto& rip = user->uc_mcontext.gregs[REG_RIP];
  // SOUND: only compared with the bounds of code memory.
  auto const* const at = reinterpret_cast<void const*>(rip);
  if (cache().memory.contains(at) || cache().slots.contains(at)) {
    // SOUND: a thunk has nothing on the stack but its return address when its instruction runs, and RDI still
    // holds the state.
    rip = static_cast<greg_t>(reinterpret_cast<std::uintptr_t>(exception_exit()));
    return;
  }
  if (previous_sigfpe.sa_flags & SA_SIGINFO) return previous_sigfpe.sa_sigaction(signal, info, context);
  sigaction(SIGFPE, &previous_sigfpe, nullptr);  // not ours: it comes again, for the one before us
}

}  // namespace

ThunkKind thunk_kind(Instruction const& insn) {
  auto const& row = x86::row_of(insn);
  if (row.file == RegisterFile::x87 || row.file == RegisterFile::mmx) return ThunkKind::x87;
  for (auto const& operand : insn.operands) {
    if (operand.kind == OperandKind::mmx) return ThunkKind::x87;
  }
  return uses_mxcsr(insn) ? ThunkKind::simd_float : ThunkKind::simd;
}

bool uses_mxcsr(Instruction const& insn) {
  auto const opcode = insn.opcode;
  if (insn.map == 1) {
    return (opcode >= 0x2a && opcode <= 0x2f && opcode != 0x2b) || (opcode >= 0x51 && opcode <= 0x53) ||
           (opcode >= 0x58 && opcode <= 0x5f) || opcode == 0x7c || opcode == 0x7d || opcode == 0xc2 ||
           opcode == 0xd0 || opcode == 0xe6;
  }
  if (insn.map == 2) return opcode == 0x13 || (opcode >= 0x96 && opcode <= 0xbf);
  return (opcode >= 0x08 && opcode <= 0x0b) || opcode == 0x1d || opcode == 0x40 || opcode == 0x41;
}

Thunk const* find_thunk(Instruction const& insn) {
  auto const key = key_of(insn);
  return cache().thunks.with([&](auto& thunks) -> Thunk const* {
    auto const known = thunks.find(key);
    if (known != thunks.end()) return &known->second;
    auto writer = ThunkWriter{insn};
    auto const address = cache().memory.add(writer.write().code());
    if (!address) return nullptr;
    return &thunks.emplace(key, thunk_at(*address, insn)).first->second;
  });
}

Thunk const* transient_thunk(Instruction const& insn) {
  static thread_local auto const slot = cache().slots.reserve(slot_size);
  static thread_local auto thunk = Thunk{};
  if (!slot) return nullptr;
  auto writer = ThunkWriter{insn};
  auto const code = writer.write().code();
  std::memcpy(slot->writable, code.data(), code.size());
  // SOUND: code written through another linear address needs a serializing instruction before it runs (SDM vol.
  // 3, 8.1.3).
  u32 registers[4]{};
  __cpuid(0, registers[0], registers[1], registers[2], registers[3]);
  thunk = thunk_at(slot->executable, insn);
  return &thunk;
}

bool host_supports(Instruction const& insn) {
  auto const& row = x86::row_of(insn);
  return host_has(row.feature) && host_has(row.second_feature);
}

void catch_simd_exceptions() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (exception_exit() == nullptr) return;
    struct sigaction action{};
    action.sa_sigaction = on_sigfpe;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGFPE, &action, &previous_sigfpe);
  });
}

}  // namespace vireo::engine::soft::vector
