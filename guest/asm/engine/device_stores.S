# Calls a routine for ever and shows what it gave: the test plays a device that overwrites the routine.
.include "guest.inc"
.include "engine.inc"
.set ROUTINE, 0x180000
.set SEEN, 0x20000
.code16
start:
  engine_start
1:
  xor %eax, %eax
  call ROUTINE
  mov %eax, SEEN
  jmp 1b
engine_data
