#pragma once

#include <type_traits>

#include "engine/soft/interp/integer/flags.h"

namespace vireo::engine::soft::alu {

// Arithmetic runs as the host's own instruction, and the host's flags become the guest's: undefined ones too,
// so that they equal the processor's. Operations that keep some flags load the guest's first (ADD 7Fh sets OF,
// SAHF the others).
//
// SOUND: each asm block reads and writes only its operands and flags, which every x86 asm clobbers by
// definition; instructions that could fault (DIV) are called with operands that have been checked.

#define VIREO_ALU_BINARY(name, mnemonic)                                                          \
  template <typename T>                                                                           \
  inline T name(u64& rflags, T a, T b) {                                                          \
    FlagWord ax;                                                                                  \
    asm(mnemonic " %[b], %[a]\n\tlahf\n\tseto %%al" : [a] "+r"(a), "=a"(ax) : [b] "r"(b) : "cc"); \
    store_flags(rflags, ax);                                                                      \
    return a;                                                                                     \
  }
VIREO_ALU_BINARY(add, "add")
VIREO_ALU_BINARY(sub, "sub")
VIREO_ALU_BINARY(and_, "and")
VIREO_ALU_BINARY(or_, "or")
VIREO_ALU_BINARY(xor_, "xor")
#undef VIREO_ALU_BINARY

#define VIREO_ALU_CARRY(name, mnemonic)                                   \
  template <typename T>                                                   \
  inline T name(u64& rflags, T a, T b) {                                  \
    FlagWord ax;                                                          \
    auto cf = static_cast<u8>(flag_bytes(rflags)[0] & 1);                 \
    asm("addb $-1, %[cf]\n\t" mnemonic " %[b], %[a]\n\tlahf\n\tseto %%al" \
        : [a] "+r"(a), "=&a"(ax), [cf] "+r"(cf)                           \
        : [b] "r"(b)                                                      \
        : "cc");                                                          \
    store_flags(rflags, ax);                                              \
    return a;                                                             \
  }
VIREO_ALU_CARRY(adc, "adc")
VIREO_ALU_CARRY(sbb, "sbb")
#undef VIREO_ALU_CARRY

template <typename T>
inline T cmp(u64& rflags, T a, T b) {
  sub(rflags, a, b);
  return a;
}
template <typename T>
inline T test(u64& rflags, T a, T b) {
  and_(rflags, a, b);
  return a;
}
template <typename T>
inline T mov(u64&, T, T b) {
  return b;
}

#define VIREO_ALU_UNARY(name, mnemonic)                                                                      \
  template <typename T>                                                                                      \
  inline T name(u64& rflags, T a) {                                                                          \
    auto ax = load_flags(rflags);                                                                            \
    asm("addb $0x7f, %%al\n\tsahf\n\t" mnemonic " %[a]\n\tlahf\n\tseto %%al" : [a] "+r"(a), "+a"(ax)::"cc"); \
    store_flags(rflags, ax);                                                                                 \
    return a;                                                                                                \
  }
VIREO_ALU_UNARY(inc, "inc")
VIREO_ALU_UNARY(dec, "dec")
VIREO_ALU_UNARY(neg, "neg")
#undef VIREO_ALU_UNARY
template <typename T>
inline T not_(u64&, T a) {
  return static_cast<T>(~a);
}

#define VIREO_ALU_SHIFT(name, mnemonic)                                            \
  template <typename T>                                                            \
  inline T name(u64& rflags, T a, u8 count) {                                      \
    auto ax = load_flags(rflags);                                                  \
    asm("addb $0x7f, %%al\n\tsahf\n\t" mnemonic " %%cl, %[a]\n\tlahf\n\tseto %%al" \
        : [a] "+r"(a), "+a"(ax)                                                    \
        : "c"(count)                                                               \
        : "cc");                                                                   \
    store_flags(rflags, ax);                                                       \
    return a;                                                                      \
  }
VIREO_ALU_SHIFT(rol, "rol")
VIREO_ALU_SHIFT(ror, "ror")
VIREO_ALU_SHIFT(rcl, "rcl")
VIREO_ALU_SHIFT(rcr, "rcr")
VIREO_ALU_SHIFT(shl, "shl")
VIREO_ALU_SHIFT(shr, "shr")
VIREO_ALU_SHIFT(sar, "sar")
#undef VIREO_ALU_SHIFT

#define VIREO_ALU_DOUBLE_SHIFT(name, mnemonic)                                           \
  template <typename T>                                                                  \
  inline T name(u64& rflags, T a, T b, u8 count) {                                       \
    auto ax = load_flags(rflags);                                                        \
    asm("addb $0x7f, %%al\n\tsahf\n\t" mnemonic " %%cl, %[b], %[a]\n\tlahf\n\tseto %%al" \
        : [a] "+r"(a), "+a"(ax)                                                          \
        : [b] "r"(b), "c"(count)                                                         \
        : "cc");                                                                         \
    store_flags(rflags, ax);                                                             \
    return a;                                                                            \
  }
VIREO_ALU_DOUBLE_SHIFT(shld, "shld")
VIREO_ALU_DOUBLE_SHIFT(shrd, "shrd")
#undef VIREO_ALU_DOUBLE_SHIFT

/// One source, one destination that may stay as it is (BSF and BSR of zero): `old` is the whole old register.
#define VIREO_ALU_SCAN(name, mnemonic)                                                 \
  template <typename T>                                                                \
  inline u64 name(u64& rflags, u64 old, T b) {                                         \
    auto ax = load_flags(rflags);                                                      \
    if constexpr (sizeof(T) == 2) {                                                    \
      asm("addb $0x7f, %%al\n\tsahf\n\t" mnemonic " %w[b], %w[a]\n\tlahf\n\tseto %%al" \
          : [a] "+r"(old), "+a"(ax)                                                    \
          : [b] "r"(b)                                                                 \
          : "cc");                                                                     \
    } else if constexpr (sizeof(T) == 4) {                                             \
      asm("addb $0x7f, %%al\n\tsahf\n\t" mnemonic " %k[b], %k[a]\n\tlahf\n\tseto %%al" \
          : [a] "+r"(old), "+a"(ax)                                                    \
          : [b] "r"(b)                                                                 \
          : "cc");                                                                     \
    } else {                                                                           \
      asm("addb $0x7f, %%al\n\tsahf\n\t" mnemonic " %[b], %[a]\n\tlahf\n\tseto %%al"   \
          : [a] "+r"(old), "+a"(ax)                                                    \
          : [b] "r"(b)                                                                 \
          : "cc");                                                                     \
    }                                                                                  \
    store_flags(rflags, ax);                                                           \
    return old;                                                                        \
  }
VIREO_ALU_SCAN(bsf, "bsf")
VIREO_ALU_SCAN(bsr, "bsr")
VIREO_ALU_SCAN(popcnt, "popcnt")
VIREO_ALU_SCAN(lzcnt, "lzcnt")
VIREO_ALU_SCAN(tzcnt, "tzcnt")
#undef VIREO_ALU_SCAN

/// BT, BTS, BTR, BTC on a value: `bit` is taken modulo the width.
#define VIREO_ALU_BIT(name, mnemonic)                                              \
  template <typename T>                                                            \
  inline T name(u64& rflags, T a, T bit) {                                         \
    auto ax = load_flags(rflags);                                                  \
    asm("addb $0x7f, %%al\n\tsahf\n\t" mnemonic " %[b], %[a]\n\tlahf\n\tseto %%al" \
        : [a] "+r"(a), "+a"(ax)                                                    \
        : [b] "r"(bit)                                                             \
        : "cc");                                                                   \
    store_flags(rflags, ax);                                                       \
    return a;                                                                      \
  }
VIREO_ALU_BIT(bt, "bt")
VIREO_ALU_BIT(bts, "bts")
VIREO_ALU_BIT(btr, "btr")
VIREO_ALU_BIT(btc, "btc")
#undef VIREO_ALU_BIT

/// BMI1 on 32 and 64 bits. ANDN a = ~a & b.
#define VIREO_ALU_BMI3(name, mnemonic)                                                   \
  template <typename T>                                                                  \
  inline T name(u64& rflags, T first, T second) {                                        \
    auto ax = load_flags(rflags);                                                        \
    auto result = T{};                                                                   \
    asm("addb $0x7f, %%al\n\tsahf\n\t" mnemonic " %[b], %[a], %[r]\n\tlahf\n\tseto %%al" \
        : [r] "=&r"(result), "+a"(ax)                                                    \
        : [a] "r"(first), [b] "r"(second)                                                \
        : "cc");                                                                         \
    store_flags(rflags, ax);                                                             \
    return result;                                                                       \
  }
VIREO_ALU_BMI3(andn, "andn")
#undef VIREO_ALU_BMI3
#define VIREO_ALU_BMI3_CONTROL(name, mnemonic)                                           \
  template <typename T>                                                                  \
  inline T name(u64& rflags, T source, T control) {                                      \
    auto ax = load_flags(rflags);                                                        \
    auto result = T{};                                                                   \
    asm("addb $0x7f, %%al\n\tsahf\n\t" mnemonic " %[c], %[a], %[r]\n\tlahf\n\tseto %%al" \
        : [r] "=&r"(result), "+a"(ax)                                                    \
        : [a] "r"(source), [c] "r"(control)                                              \
        : "cc");                                                                         \
    store_flags(rflags, ax);                                                             \
    return result;                                                                       \
  }
VIREO_ALU_BMI3_CONTROL(bextr, "bextr")
VIREO_ALU_BMI3_CONTROL(bzhi, "bzhi")
#undef VIREO_ALU_BMI3_CONTROL
#define VIREO_ALU_BMI2(name, mnemonic)                                             \
  template <typename T>                                                            \
  inline T name(u64& rflags, T source) {                                           \
    auto ax = load_flags(rflags);                                                  \
    auto result = T{};                                                             \
    asm("addb $0x7f, %%al\n\tsahf\n\t" mnemonic " %[a], %[r]\n\tlahf\n\tseto %%al" \
        : [r] "=&r"(result), "+a"(ax)                                              \
        : [a] "r"(source)                                                          \
        : "cc");                                                                   \
    store_flags(rflags, ax);                                                       \
    return result;                                                                 \
  }
VIREO_ALU_BMI2(blsi, "blsi")
VIREO_ALU_BMI2(blsmsk, "blsmsk")
VIREO_ALU_BMI2(blsr, "blsr")
#undef VIREO_ALU_BMI2

template <typename T>
inline T pdep(T source, T mask) {
  auto result = T{};
  asm("pdep %[m], %[a], %[r]" : [r] "=r"(result) : [a] "r"(source), [m] "r"(mask));
  return result;
}
template <typename T>
inline T pext(T source, T mask) {
  auto result = T{};
  asm("pext %[m], %[a], %[r]" : [r] "=r"(result) : [a] "r"(source), [m] "r"(mask));
  return result;
}

/// A product or dividend in two halves. For bytes, `low` is AX and `high` is unused.
template <typename T>
struct Wide {
  using Half = std::conditional_t<sizeof(T) == 1, u16, T>;
  Half low{}, high{};
};

#define VIREO_ALU_MULTIPLY(name, mnemonic)                               \
  template <typename T>                                                  \
  inline Wide<T> name(u64& rflags, T a, T b) {                           \
    auto ax = static_cast<FlagWord>(a);                                  \
    auto wide = Wide<T>{};                                               \
    if constexpr (sizeof(T) == 1) {                                      \
      asm(mnemonic "b %[b]\n\tmovw %%ax, %[low]\n\tlahf\n\tseto %%al"    \
          : "+&a"(ax), [low] "=&r"(wide.low)                             \
          : [b] "r"(b)                                                   \
          : "cc");                                                       \
    } else if constexpr (sizeof(T) == 2) {                               \
      asm(mnemonic "w %[b]\n\tmovw %%ax, %[low]\n\tlahf\n\tseto %%al"    \
          : "+&a"(ax), [low] "=&r"(wide.low), "=&d"(wide.high)           \
          : [b] "r"(b)                                                   \
          : "cc");                                                       \
    } else if constexpr (sizeof(T) == 4) {                               \
      auto eax = u64{a};                                                 \
      asm(mnemonic "l %k[b]\n\tmovl %%eax, %k[low]\n\tlahf\n\tseto %%al" \
          : "+&a"(eax), [low] "=&r"(wide.low), "=&d"(wide.high)          \
          : [b] "r"(b)                                                   \
          : "cc");                                                       \
      ax = static_cast<FlagWord>(eax);                                   \
    } else {                                                             \
      auto rax = u64{a};                                                 \
      asm(mnemonic "q %[b]\n\tmovq %%rax, %[low]\n\tlahf\n\tseto %%al"   \
          : "+&a"(rax), [low] "=&r"(wide.low), "=&d"(wide.high)          \
          : [b] "r"(b)                                                   \
          : "cc");                                                       \
      ax = static_cast<FlagWord>(rax);                                   \
    }                                                                    \
    store_flags(rflags, ax);                                             \
    return wide;                                                         \
  }
VIREO_ALU_MULTIPLY(mul, "mul")
VIREO_ALU_MULTIPLY(imul, "imul")
#undef VIREO_ALU_MULTIPLY

/// IMUL with two or three operands, 16 bits and up.
template <typename T>
inline T imul_low(u64& rflags, T a, T b) {
  auto ax = load_flags(rflags);
  asm("addb $0x7f, %%al\n\tsahf\n\timul %[b], %[a]\n\tlahf\n\tseto %%al"
      : [a] "+r"(a), "+a"(ax)
      : [b] "r"(b)
      : "cc");
  store_flags(rflags, ax);
  return a;
}

/// DIV and IDIV of a dividend that is known to give a quotient in range.
#define VIREO_ALU_DIVIDE(name, mnemonic)                                                  \
  template <typename T>                                                                   \
  inline void name(u64& rflags, Wide<T> dividend, T divisor, T& quotient, T& remainder) { \
    auto rax = u64{load_flags(rflags)};                                                   \
    auto rdx = u64{dividend.high};                                                        \
    auto const low = u64{dividend.low};                                                   \
    auto result = u64{};                                                                  \
    if constexpr (sizeof(T) == 1) {                                                       \
      asm("addb $0x7f, %%al\n\tsahf\n\tmovq %[low], %%rax\n\t" mnemonic                   \
          "b %b[d]\n\tmovq %%rax, %[q]\n\t"                                               \
          "lahf\n\tseto %%al"                                                             \
          : "+&a"(rax), [q] "=&r"(result)                                                 \
          : [low] "r"(low), [d] "r"(divisor)                                              \
          : "cc");                                                                        \
      rdx = result >> 8;                                                                  \
    } else if constexpr (sizeof(T) == 2) {                                                \
      asm("addb $0x7f, %%al\n\tsahf\n\tmovq %[low], %%rax\n\t" mnemonic                   \
          "w %w[d]\n\tmovq %%rax, %[q]\n\t"                                               \
          "lahf\n\tseto %%al"                                                             \
          : "+&a"(rax), [q] "=&r"(result), "+&d"(rdx)                                     \
          : [low] "r"(low), [d] "r"(divisor)                                              \
          : "cc");                                                                        \
    } else if constexpr (sizeof(T) == 4) {                                                \
      asm("addb $0x7f, %%al\n\tsahf\n\tmovq %[low], %%rax\n\t" mnemonic                   \
          "l %k[d]\n\tmovq %%rax, %[q]\n\t"                                               \
          "lahf\n\tseto %%al"                                                             \
          : "+&a"(rax), [q] "=&r"(result), "+&d"(rdx)                                     \
          : [low] "r"(low), [d] "r"(divisor)                                              \
          : "cc");                                                                        \
    } else {                                                                              \
      asm("addb $0x7f, %%al\n\tsahf\n\tmovq %[low], %%rax\n\t" mnemonic                   \
          "q %[d]\n\tmovq %%rax, %[q]\n\t"                                                \
          "lahf\n\tseto %%al"                                                             \
          : "+&a"(rax), [q] "=&r"(result), "+&d"(rdx)                                     \
          : [low] "r"(low), [d] "r"(divisor)                                              \
          : "cc");                                                                        \
    }                                                                                     \
    store_flags(rflags, static_cast<FlagWord>(rax));                                      \
    quotient = static_cast<T>(result);                                                    \
    remainder = static_cast<T>(rdx);                                                      \
  }
VIREO_ALU_DIVIDE(div, "div")
VIREO_ALU_DIVIDE(idiv, "idiv")
#undef VIREO_ALU_DIVIDE

/// False: DIV raises #DE.
template <typename T>
inline bool divides(Wide<T> dividend, T divisor) {
  if constexpr (sizeof(T) == 1)
    return dividend.low >> 8 < divisor;
  else
    return dividend.high < divisor;
}
/// False: IDIV raises #DE.
template <typename T>
inline bool divides_signed(Wide<T> dividend, T divisor) {
  using S = std::make_signed_t<T>;
  auto wide = i128{};
  if constexpr (sizeof(T) == 1) {
    wide = static_cast<i16>(dividend.low);
  } else {
    wide = static_cast<i128>(
        (static_cast<u128>(static_cast<i128>(static_cast<S>(dividend.high))) << (8 * sizeof(T))) |
        dividend.low);
  }
  auto const by = static_cast<S>(divisor);
  if (by == 0) return false;
  if (static_cast<S>(wide) == wide && by != -1) return true;
  if (by == -1 && wide == static_cast<i128>(u128{1} << 127)) return false;
  auto const quotient = wide / by;
  return static_cast<S>(quotient) == quotient;
}

}  // namespace vireo::engine::soft::alu
