#pragma once

#include "vocab/integers.h"

namespace vireo::x86 {

enum Gpr : u8 { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 };
inline constexpr u8 no_register{0xff};

enum class SegmentRegister : u8 { es, cs, ss, ds, fs, gs };

/// EFLAGS (SDM vol. 1, 3.4.3).
enum Flag : u32 {
  flag_cf = 1u << 0,
  flag_fixed = 1u << 1,
  flag_pf = 1u << 2,
  flag_af = 1u << 4,
  flag_zf = 1u << 6,
  flag_sf = 1u << 7,
  flag_tf = 1u << 8,
  flag_if = 1u << 9,
  flag_df = 1u << 10,
  flag_of = 1u << 11,
  flag_iopl = 3u << 12,
  flag_nt = 1u << 14,
  flag_rf = 1u << 16,
  flag_vm = 1u << 17,
  flag_ac = 1u << 18,
  flag_vif = 1u << 19,
  flag_vip = 1u << 20,
  flag_id = 1u << 21,
};
inline constexpr u32 arithmetic_flags{flag_cf | flag_pf | flag_af | flag_zf | flag_sf | flag_of};

/// CR0, CR4, EFER (SDM vol. 3, 2.5 and 2.2.1).
enum Cr0 : u64 {
  cr0_pe = 1u << 0,
  cr0_mp = 1u << 1,
  cr0_em = 1u << 2,
  cr0_ts = 1u << 3,
  cr0_et = 1u << 4,
  cr0_ne = 1u << 5,
  cr0_wp = 1u << 16,
  cr0_am = 1u << 18,
  cr0_nw = 1u << 29,
  cr0_cd = 1u << 30,
  cr0_pg = 1u << 31,
};
enum Cr4 : u64 {
  cr4_vme = 1u << 0,
  cr4_pvi = 1u << 1,
  cr4_tsd = 1u << 2,
  cr4_de = 1u << 3,
  cr4_pse = 1u << 4,
  cr4_pae = 1u << 5,
  cr4_mce = 1u << 6,
  cr4_pge = 1u << 7,
  cr4_pce = 1u << 8,
  cr4_osfxsr = 1u << 9,
  cr4_osxmmexcpt = 1u << 10,
  cr4_umip = 1u << 11,
  cr4_la57 = 1u << 12,
  cr4_fsgsbase = 1u << 16,
  cr4_pcide = 1u << 17,
  cr4_osxsave = 1u << 18,
  cr4_smep = 1u << 20,
  cr4_smap = 1u << 21,
};
enum Efer : u64 { efer_sce = 1u << 0, efer_lme = 1u << 8, efer_lma = 1u << 10, efer_nxe = 1u << 11 };

/// Exception vectors (SDM vol. 3, table 6-1).
enum class Vector : u8 {
  de = 0,
  db = 1,
  nmi = 2,
  bp = 3,
  of = 4,
  br = 5,
  ud = 6,
  nm = 7,
  df = 8,
  ts = 10,
  np = 11,
  ss = 12,
  gp = 13,
  pf = 14,
  mf = 16,
  ac = 17,
  mc = 18,
  xm = 19,
};

/// Page-fault error code (SDM vol. 3, 4.7).
enum PageFault : u32 { pf_present = 1, pf_write = 2, pf_user = 4, pf_reserved = 8, pf_fetch = 16 };

/// What decides how bytes decode.
enum class CodeSize : u8 { bits16, bits32, bits64 };

}  // namespace vireo::x86
