# Loops that move through memory, in hot code: up, down, by odd strides, with an index, over page borders, through elements
# that straddle pages, with a page missing in the middle, and into code that the loop's neighbours run.
.include "guest.inc"
.set ROUNDS, 12
.set TABLE, 0x160000          # page table of 2 to 4 MiB
.set FROM, 0x200000
.set TO, 0x240000
.set GAP, TO + 0x3000         # a page that is not there at first
.set CODE, 0x280000
.set SIZE, 0x2345

.macro same_bytes number, first, second, count
  mov \first, %rsi
  mov \second, %rdi
  mov \count, %rcx
  repe cmpsb
  je .Lsame\@
  fail \number
.Lsame\@:
.endm
.macro forget_gap
  movq $0, TABLE + (GAP - 0x200000) / 0x1000 * 8
  invlpg GAP
  xor %r14d, %r14d
.endm

.code16
start:
  enter_protected_mode
  enter_long_mode
  map_small_pages TABLE
  lidt idt_pointer
  set_gate64 14, on_page_fault
  fill_with_noise FROM, 0x8000
  movb $0xc3, CODE + 0x800    # RET
  mov $ROUNDS, %r15d

round:
  mov $(FROM + 0x123), %esi   # up, bytes, two registers that move
  mov $(TO + 0x456), %edi
1:
  movzbl (%rsi), %eax
  add $1, %rsi
  mov %al, (%rdi)
  add $1, %rdi
  cmp $(FROM + 0x123 + SIZE), %rsi
  jne 1b
  same_bytes 1, $(FROM + 0x123), $(TO + 0x456), $SIZE

  mov $(FROM + 0x5005), %esi  # down, quadwords that straddle pages on both sides
  mov $(TO + 0x2ffb), %edi
  mov $0x234, %ecx
1:
  mov -8(%rsi), %rax
  mov %rax, -8(%rdi)
  sub $8, %rsi
  sub $8, %rdi
  dec %ecx
  jnz 1b
  expect 2, $(FROM + 0x5005 - 0x234 * 8), %rsi
  same_bytes 3, $(FROM + 0x5005 - 0x234 * 8), $(TO + 0x2ffb - 0x234 * 8), $(0x234 * 8)

  mov $(FROM + 0xff9), %esi   # an index, and a table of what was read
  mov $(TO + 7), %edi
  xor %ecx, %ecx
1:
  mov 5(%rsi,%rcx,4), %eax
  mov %eax, 9(%rdi,%rcx,4)
  inc %rcx
  cmp $0x801, %rcx
  jb 1b
  same_bytes 4, $(FROM + 0xffe), $(TO + 16), $(0x801 * 4)

  mov $0x700, %ecx            # an index that falls, and what stays where it is
  movq $0, SCRATCH
  mov $SCRATCH, %ebx
  xor %edx, %edx
1:
  movzwl FROM - 1(,%rcx,2), %eax
  add %rax, (%rbx)
  add %rax, %rdx
  sub $1, %rcx
  jnz 1b
  expect 5, SCRATCH, %rdx

  mov $TO, %edi               # records of 24 bytes, both ends written
  mov $0x300, %ecx
1:
  mov %rcx, (%rdi)
  mov %rcx, 16(%rdi)
  add $24, %rdi
  sub $1, %ecx
  jnz 1b
  mov $TO, %edi
  mov $0x300, %ecx
1:
  expect 6, %rcx, (%rdi)
  expect 7, %rcx, 16(%rdi)
  add $24, %rdi
  sub $1, %ecx
  jnz 1b

  mov $(FROM + 0xf00), %esi   # more than a page at each turn
  xor %edx, %edx
  mov $6, %ecx
1:
  movzbl (%rsi), %eax
  add %rax, %rdx
  add $0x1040, %rsi
  sub $1, %ecx
  jnz 1b
  movzbl FROM + 0xf00, %eax
  sub %rax, %rdx
  movzbl FROM + 0xf00 + 0x1040, %eax
  sub %rax, %rdx
  movzbl FROM + 0xf00 + 0x2080, %eax
  sub %rax, %rdx
  movzbl FROM + 0xf00 + 0x30c0, %eax
  sub %rax, %rdx
  movzbl FROM + 0xf00 + 0x4100, %eax
  sub %rax, %rdx
  movzbl FROM + 0xf00 + 0x5140, %eax
  expect 8, %rax, %rdx

  mov $(FROM + 0x20), %esi    # left at the side
  xor %ecx, %ecx
  movb $0x5a, FROM + 0x20 + 0x1ff7
1:
  movzbl (%rsi,%rcx), %eax
  add $1, %rcx
  cmp $0x1ff8, %rcx
  je 2f
  cmp $0x4000, %rcx
  jne 1b
2:
  expect 9, $0x1ff8, %rcx
  expect 10, $0x5a, %eax

  # ---- a page that is missing in the middle ----
  forget_gap
  mov $FROM, %esi
  mov $(GAP - 0x1100), %edi
1:
  mov (%rsi), %al
  mov %al, (%rdi)
  add $1, %rsi
  add $1, %rdi
  cmp $(FROM + 0x2000), %rsi
  jne 1b
  expect 11, $1, %r14
  expect 12, $GAP, %r12       # at the fault
  expect 13, $(FROM + 0x1100), %r11
  expect 14, $GAP, %r10
  same_bytes 15, $FROM, $(GAP - 0x1100), $0x2000
  forget_gap
  mov $(GAP + 0x1100 + 3), %edi  # downwards, by an element that straddles
  mov $0x300, %ecx
1:
  mov -4(%rdi), %eax
  add %eax, %edx
  sub $4, %rdi
  sub $1, %ecx
  jnz 1b
  expect 16, $1, %r14
  expect 17, $(GAP + 0x1000 + 3), %r12
  expect 18, $(GAP + 0xfff), %r10
  expect 19, $(GAP + 0x1100 + 3 - 0xc00), %rdi

  # ---- over code that was translated: it must be found changed ----
  mov $(CODE + 0x800), %ebx
  call *%rbx
  mov $CODE, %edi
  mov $0x90909090, %eax       # NOPs up to a new RET
1:
  mov %eax, (%rdi)
  add $4, %rdi
  cmp $(CODE + 0x1800), %rdi
  jne 1b
  movl $0xc3c0ff48, CODE + 0x1800  # INC RAX; RET
  xor %eax, %eax
  call *%rbx
  expect 20, $1, %rax
  movb $0xc3, CODE + 0x800

  dec %r15d
  jnz round
  pass

# r14 counts; the registers at the fault; the page comes back.
on_page_fault:
  inc %r14
  mov %rdi, %r12
  mov %rsi, %r11
  mov %cr2, %r10
  movq $(GAP + 7), TABLE + (GAP - 0x200000) / 0x1000 * 8
  add $8, %rsp
  iretq
guest_data
