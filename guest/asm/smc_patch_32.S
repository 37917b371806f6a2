# Self-modifying code in 32-bit mode without paging.
.include "guest.inc"
.include "smc_patch.inc"
.code16
start:
  enter_protected_mode
  patch_tests
