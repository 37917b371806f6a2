# REP MOVS and REP STOS in hot code: across pages, both ways, overlapping, elements that straddle pages, faults in the
# middle with the exact progress, address sizes, flags.
.include "guest.inc"
.set ROUNDS, 12
.set TABLE, 0x160000          # page table of 2 to 4 MiB
.set FROM, 0x200000
.set TO, 0x240000
.set GAP, TO + 0x3000         # a page that is not there at first
.set SIZE, 0x2345

.code16
start:
  enter_protected_mode
  enter_long_mode
  map_small_pages TABLE
  lidt idt_pointer
  set_gate64 14, on_page_fault
  fill_with_noise FROM, 0x8000
  mov $ROUNDS, %r15d

round:
  mov $(FROM + 0x123), %rsi   # up, bytes
  mov $(TO + 0x456), %rdi
  mov $SIZE, %ecx
  stc
  rep movsb
  jc 1f
  fail 1
1:
  expect 2, $0, %rcx
  expect 3, $(FROM + 0x123 + SIZE), %rsi
  expect 4, $(TO + 0x456 + SIZE), %rdi
  mov $(FROM + 0x123), %rsi
  mov $(TO + 0x456), %rdi
  mov $SIZE, %ecx
  repe cmpsb
  je 1f
  fail 5
1:
  std                         # down, quadwords that straddle pages on both sides
  mov $(FROM + 0x4005), %rsi
  mov $(TO + 0x2ffb), %rdi
  mov $0x234, %ecx
  rep movsq
  cld
  expect 6, $0, %rcx
  expect 7, $(FROM + 0x4005 - 0x234 * 8), %rsi
  expect 8, $(TO + 0x2ffb - 0x234 * 8), %rdi
  lea 8(%rsi), %rsi
  lea 8(%rdi), %rdi
  mov $(0x234 * 8), %ecx
  repe cmpsb
  je 1f
  fail 9
1:
  mov $TO, %edi               # overlapping: the first byte spreads
  movb %r15b, (%rdi)
  mov %rdi, %rsi
  inc %rdi
  mov $0x1fff, %ecx
  rep movsb
  mov $TO, %edi
  mov %r15b, %al
  mov $0x2000, %ecx
  repe scasb
  je 1f
  fail 10
1:
  std                         # overlapping, down: three copies of the last doubleword
  mov $(TO + 0x1ffc), %esi
  mov $(TO + 0x1ff8), %edi
  movl $0x12345678, (%rsi)
  mov $0x700, %ecx
  rep movsl
  cld
  mov $(TO + 0x2000 - 0x701 * 4), %edi
  mov $0x12345678, %eax
  mov $0x701, %ecx
  repe scasl
  je 1f
  fail 11
1:
  mov $(TO + 0xfff), %edi     # words, the first across two pages
  mov $0x7712, %eax
  mov $0x900, %ecx
  rep stosw
  expect 12, $(TO + 0xfff + 0x1200), %rdi
  mov $(TO + 0xfff), %edi
  mov $0x900, %ecx
  repe scasw
  je 1f
  fail 13
1:
  std
  mov $(TO + 0x1ffd), %edi
  mov $0x1020304050607080, %rax
  mov $0x180, %ecx
  rep stosq
  cld
  mov $(TO + 0x1ffd + 8 - 0x180 * 8), %edi
  mov $0x180, %ecx
  repe scasq
  je 1f
  fail 14
1:
  xor %ecx, %ecx              # nothing: the addresses do not matter
  mov $0x40000000, %rdi
  mov $0x40000000, %rsi
  rep movsq
  rep stosb
  expect 15, $0x40000000, %rdi
  mov $0x100000010, %rcx      # 32-bit addresses
  mov $(0xa00000000 + TO), %rdi
  mov $0x55, %al
  rep stosb %al, (%edi)
  expect 16, $(TO + 0x10), %rdi
  expect 17, $0, %rcx

  # ---- a page that is missing in the middle ----
  movq $0, TABLE + (GAP - 0x200000) / 0x1000 * 8
  invlpg GAP
  xor %r14d, %r14d
  mov $FROM, %esi
  mov $(GAP - 0x1100), %rdi
  mov $0x2000, %ecx
  stc
  rep movsb
  jc 1f
  fail 18
1:
  expect 19, $1, %r14
  expect 20, $0xf00, %r13     # what was left at the fault
  expect 21, $GAP, %r12
  expect 22, $(FROM + 0x1100), %r11
  expect 23, $GAP, %r10
  mov $FROM, %esi
  mov $(GAP - 0x1100), %rdi
  mov $0x2000, %ecx
  repe cmpsb
  je 1f
  fail 24
1:
  movq $0, TABLE + (GAP - 0x200000) / 0x1000 * 8
  invlpg GAP
  xor %r14d, %r14d
  mov $(GAP + 0x1800), %rdi   # downwards
  mov $0xabcdef01, %eax
  mov $0xa00, %ecx
  std
  rep stosl
  cld
  expect 25, $1, %r14
  expect 26, $(0xa00 - 0x201), %r13
  expect 27, $(GAP + 0xffc), %r12
  expect 28, $(GAP + 0x1800 - 0xa00 * 4), %rdi
  movq $0, TABLE + (GAP - 0x200000) / 0x1000 * 8
  invlpg GAP
  xor %r14d, %r14d
  mov $(GAP - 0xffc), %rsi    # read from the missing page, by an element that straddles
  mov $TO, %edi
  mov $0x300, %ecx
  rep movsq
  expect 29, $1, %r14
  expect 30, $(0x300 - 0x1ff), %r13
  expect 31, $GAP, %r10
  dec %r15d
  jnz round
  pass

# r14 counts; the registers at the fault; the page comes back.
on_page_fault:
  inc %r14
  mov %rcx, %r13
  mov %rdi, %r12
  mov %rsi, %r11
  mov %cr2, %r10
  movq $(GAP + 7), TABLE + (GAP - 0x200000) / 0x1000 * 8
  add $8, %rsp
  iretq
guest_data
