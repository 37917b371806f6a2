# Self-modifying code in 64-bit mode.
.include "guest.inc"
.include "smc_patch.inc"
.code16
start:
  enter_protected_mode
  enter_long_mode
  patch_tests
