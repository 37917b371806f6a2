# Real mode: code that moves itself, as boot sectors do, and is overwritten again and again at its new place; a patched
# far jump.
.include "guest.inc"
.set COPY, 0x2000             # segment, at 0x20000
.set ROUNDS, 300
.code16
start:
  cli
  cld
  mov %cs, %ax
  mov %ax, %ds
  mov $0x3000, %ax
  mov %ax, %ss
  mov $0xf000, %sp
  mov $COPY, %ax
  mov %ax, %es
  mov $1, %bp
round:
  mov %bp, %ax
  mov %ax, moved - start + 1                # MOV $imm16, %ax
  mov $(moved - start), %si
  xor %di, %di
  mov $(moved_end - moved), %cx
  rep movsb
  lcall $COPY, $0
  expect 1, %bp, %ax
  mov %bp, %ax
  mov %ax, %es:1                            # at its new place
  xor $0x5555, %ax
  mov %ax, %es:1
  lcall $COPY, $0
  mov %bp, %dx
  xor $0x5555, %dx
  expect 2, %dx, %ax

  mov $(first - start), %ax                 # JMP FAR with another target each time
  test $1, %bp
  jz 1f
  mov $(second - start), %ax
1:
  mov %ax, far_jump - start + 1
far_jump:
  ljmp $0x1000, $0
first:
  mov $0, %dx
  jmp 1f
second:
  mov $1, %dx
1:
  mov %bp, %ax
  and $1, %ax
  expect 3, %ax, %dx
  inc %bp
  cmp $ROUNDS, %bp
  jne round
  pass
moved:
  mov $0, %ax
  lret
moved_end:
guest_data
