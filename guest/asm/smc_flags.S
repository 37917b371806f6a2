# Where a jump leads, code overwrites the flags at first, and reads them after it has changed.
.include "guest.inc"
.set ROUNDS, 200
.set JUMPER, 0x180f00         # sets CF, goes through memory, jumps
.set TARGET, 0x180100         # another 64 bytes of its page, before it
.set STORED, 0x190000
.code16
start:
  enter_protected_mode
  enter_long_mode

  mov $JUMPER, %edi
  lea jumper(%rip), %rsi
  mov $(jumper_end - jumper), %ecx
  rep movsb
  mov $JUMPER + (jumper_jump - jumper), %edi # JC TARGET
  movw $0x820f, (%rdi)
  lea 6(%rdi), %rax
  neg %rax
  add $TARGET, %rax
  movl %eax, 2(%rdi)

  mov $1, %ebp
round:
  mov $TARGET, %edi
  lea overwrites(%rip), %rsi
  mov $16, %ecx
  rep movsb
  mov $STORED, %ebx
  xor %eax, %eax
  call *jumper_address(%rip)                 # looks at TARGET, but stays
  expect 1, $9, %eax
  mov $TARGET, %edi
  lea reads(%rip), %rsi
  mov $16, %ecx
  rep movsb
  mov $1, %eax
  call *jumper_address(%rip)
  expect 2, $1, %eax                         # CF as the jumper has made it
  expect 3, %ebp, STORED
  inc %ebp
  cmp $ROUNDS, %ebp
  jne round
  pass


.balign 8
jumper_address:
  .quad JUMPER
jumper:
  neg %eax                                   # CF: EAX was 1
  movl %ebp, (%rbx)
  movl (%rbx), %ecx
jumper_jump:
  .fill 6
  xor %eax, %eax
  mov $9, %al
  ret
jumper_end:

overwrites:
  xor %eax, %eax
  mov $7, %al
  ret
  .fill 16
reads:
  mov $0, %eax
  setc %al
  ret
  .fill 16
guest_data
