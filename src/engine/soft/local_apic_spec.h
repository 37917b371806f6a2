#pragma once

#include "vocab/integers.h"

/// The local APIC's registers and bits (SDM vol. 3, chapter 11), without behaviour.
namespace vireo::engine::soft::apic {

// clang-format off
/// Offsets in the xAPIC page; the x2APIC MSR is 0x800 + offset / 16 (tables 11-1 and 11-6).
enum Register : u32 {
  reg_id = 0x20, reg_version = 0x30, reg_tpr = 0x80, reg_apr = 0x90, reg_ppr = 0xa0, reg_eoi = 0xb0,
  reg_rrd = 0xc0,
  reg_ldr = 0xd0, reg_dfr = 0xe0, reg_svr = 0xf0, reg_isr = 0x100, reg_tmr = 0x180, reg_irr = 0x200,
  reg_esr = 0x280,
  reg_lvt_cmci = 0x2f0, reg_icr_low = 0x300, reg_icr_high = 0x310,
  reg_lvt_timer = 0x320, reg_lvt_thermal = 0x330, reg_lvt_performance = 0x340, reg_lvt_lint0 = 0x350,
  reg_lvt_lint1 = 0x360, reg_lvt_error = 0x370, reg_initial_count = 0x380, reg_current_count = 0x390,
  reg_divide = 0x3e0, reg_self_ipi = 0x3f0,
};
// clang-format on

/// 11.5.1: the order of the LVT in State::lvt.
enum LvtIndex : u8 { lvt_timer, lvt_thermal, lvt_performance, lvt_lint0, lvt_lint1, lvt_error, lvt_count };
inline constexpr u32 lvt_masked{1u << 16};
inline constexpr u32 lvt_vector{0xff};
inline constexpr u32 lvt_timer_mode{3u << 17};
enum TimerMode : u32 { timer_one_shot = 0u << 17, timer_periodic = 1u << 17, timer_tsc_deadline = 2u << 17 };
/// What software may change of each LVT register; bits 12 and 14 are status.
inline constexpr u32 lvt_writable[lvt_count]{0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff};

inline constexpr u32 version{0x0005'0014};  // six LVT entries, no suppression of EOI broadcasts
inline constexpr u32 svr_enabled{1u << 8};
inline constexpr u32 svr_writable{0x1ff};
inline constexpr u32 dfr_flat{0xffff'ffff};

/// 11.6.1, 11.11.2.
enum class DeliveryMode : u8 { fixed, lowest_priority, smi, reserved, nmi, init, startup, extint };
enum class Shorthand : u8 { none, self, all, others };

/// Interrupt command register, low half (figure 11-12).
inline constexpr u32 icr_logical{1u << 11};
inline constexpr u32 icr_pending{1u << 12};
inline constexpr u32 icr_assert{1u << 14};
inline constexpr u32 icr_level{1u << 15};
inline constexpr u32 icr_writable{0x000c'cfff};

/// 11.5.3.
enum Error : u32 { error_send_vector = 1u << 5, error_receive_vector = 1u << 6, error_register = 1u << 7 };

/// IA32_APIC_BASE (11.4.4, 11.12.1).
inline constexpr u32 msr_apic_base{0x1b};
inline constexpr u32 msr_tsc_deadline{0x6e0};
inline constexpr u32 msr_x2apic_first{0x800};
inline constexpr u32 msr_x2apic_last{0x8ff};
inline constexpr u64 base_bootstrap{1u << 8};
inline constexpr u64 base_x2apic{1u << 10};
inline constexpr u64 base_enabled{1u << 11};
inline constexpr u64 base_address{0x000f'ffff'ffff'f000};
inline constexpr u64 default_base{0xfee0'0000};

}  // namespace vireo::engine::soft::apic
