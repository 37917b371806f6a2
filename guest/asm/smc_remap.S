# A linear address shows other code after its page-table entry changed: INVLPG, CR3 loads, PCIDs kept and not, global pages,
# large pages, no-execute; reached by calls, jumps and returns, by falling into the page, by an instruction across its border.
.include "guest.inc"
.set ROUNDS, 60
.set FIRST, 0x180000          # two pages of code, alike but for the numbers that they return
.set SECOND, 0x181000
.set BEFORE, 0x182000         # mapped in front of WINDOW
.set TABLE, 0x300000
.set OTHER_TABLES, 0x301000   # an address space like PAGE_TABLES, but for its own TABLE
.set FRONT, 0x400000
.set WINDOW, 0x401000
.set ENTRY, TABLE + 8
.set LARGE, 0x600000
.set LARGE_ENTRY, PAGE_TABLES + 0x2018

# Offsets in the two pages.
.set plain, plain_function - page_code
.set to_rbx, plain_to_rbx - page_code
.set calls_out, plain_calls_out - page_code

.macro show page
  mov $(\page | 3), %eax
  mov %eax, ENTRY
  invlpg WINDOW
.endm
.macro show_by_cr3 page
  mov $(\page | 3), %eax
  mov %eax, ENTRY
  mov %cr3, %rax
  mov %rax, %cr3
.endm
# All the ways into the window, which must show page `which` (1 or 2).
.macro look number, which
  mov $\which, %ebp
  call looks
  expect \number, $0, %eax
.endm

.code16
start:
  enter_protected_mode
  enter_long_mode
  lidt idt_pointer
  set_gate64 14, on_page_fault
  mov $0xc0000080, %ecx
  rdmsr
  or $0x800, %eax                            # NXE
  wrmsr
  mov $TABLE, %edi
  xor %eax, %eax
  mov $(6 * 1024), %ecx
  rep stosl
  movl $(TABLE | 3), PAGE_TABLES + 0x2010
  movl $(BEFORE | 3), TABLE
  mov $1, %ebx
  mov $FIRST, %edi
  call make_page
  mov $2, %ebx
  mov $SECOND, %edi
  call make_page
  mov $(BEFORE + 0x1000 - (before_end - before)), %edi
  lea before(%rip), %rsi
  mov $(before_end - before), %ecx
  rep movsb

  mov $ROUNDS, %r15d
1:
  show FIRST
  look 1, 1
  show SECOND
  look 2, 2
  show_by_cr3 FIRST
  look 3, 1
  show_by_cr3 SECOND
  look 4, 2
  # ---- the page changes under its own feet: a routine that it calls maps the other one ----
  show FIRST
  lea map_second(%rip), %rbx
  call WINDOW + calls_out
  expect 5, $2, %eax
  lea map_first(%rip), %rbx
  call WINDOW + calls_out
  expect 6, $1, %eax
  dec %r15d
  jnz 1b

  # ---- no-execute, absent ----
  mov $ROUNDS, %r15d
1:
  show FIRST
  look 10, 1
  movl $0x80000000, ENTRY + 4
  invlpg WINDOW
  lea 2f(%rip), %r14
  mov %rsp, %r13
  call WINDOW + plain
  fail 11
2:
  expect 12, $0x11, %r12                     # present, fetch
  movl $0, ENTRY + 4
  invlpg WINDOW
  look 13, 1
  movl $0, ENTRY
  invlpg WINDOW
  lea 2f(%rip), %r14
  call WINDOW + plain
  fail 14
2:
  expect 15, $0x10, %r12
  lea 2f(%rip), %r14
  call FRONT + 0x1000 - (before_end - before)  # faults in the middle of an instruction
  fail 16
2:
  mov %cr2, %rax
  expect 17, $WINDOW, %rax
  dec %r15d
  jnz 1b

  # ---- large pages ----
  mov $ROUNDS, %r15d
1:
  movl $0x000083, LARGE_ENTRY
  invlpg LARGE
  call LARGE + FIRST + plain
  expect 20, $1, %eax
  movl $0x200083, LARGE_ENTRY                # 2 MiB on
  mov $(FIRST + plain + 0x200000), %edi
  movl $0x1234b866, (%rdi)                   # MOV $0x1234, %ax; RET
  movb $0xc3, 4(%rdi)
  invlpg LARGE + 0x100000
  call LARGE + FIRST + plain
  expect 21, $0x1234, %ax
  dec %r15d
  jnz 1b

  # ---- two address spaces ----
  mov $(OTHER_TABLES | 3), %eax              # OTHER_TABLES, + 0x1000, + 0x2000, and the table at + 0x3000
  lea 0x1000(%rax), %ecx
  mov %ecx, OTHER_TABLES
  lea 0x2000(%rax), %ecx
  mov %ecx, OTHER_TABLES + 0x1000
  lea 0x3000(%rax), %ecx
  mov %ecx, OTHER_TABLES + 0x2010
  movl $0x000083, OTHER_TABLES + 0x2000
  movl $0x200083, OTHER_TABLES + 0x2008
  movl $(BEFORE | 3), OTHER_TABLES + 0x3000
  movl $(SECOND | 3), OTHER_TABLES + 0x3008
  show FIRST
  mov $ROUNDS, %r15d
1:
  mov $OTHER_TABLES, %eax
  mov %rax, %cr3
  look 30, 2
  mov $PAGE_TABLES, %eax
  mov %rax, %cr3
  look 31, 1
  dec %r15d
  jnz 1b
  # ---- the same with PCIDs that are kept ----
  mov $1, %eax
  cpuid
  bt $17, %ecx
  jnc global_pages
  mov $7, %eax
  xor %ecx, %ecx
  cpuid
  bt $10, %ebx                               # INVPCID
  jnc global_pages
  mov %cr4, %rax
  bts $17, %rax
  mov %rax, %cr4
  mov $ROUNDS, %r15d
  mov $(OTHER_TABLES | 2), %r10
  mov $(PAGE_TABLES | 1), %r11
  mov %r10, %cr3
  mov %r11, %cr3
  bts $63, %r10
  bts $63, %r11
1:
  mov %r10, %cr3
  look 32, 2
  mov %r11, %cr3
  look 33, 1
  dec %r15d
  jnz 1b
  # ---- changed while the other one is current: seen after a load that does not keep ----
  btr $63, %r11
  mov $ROUNDS, %r15d
1:
  mov %r10, %cr3
  movl $(SECOND | 3), ENTRY
  look 34, 2
  mov %r11, %cr3
  look 35, 2
  mov %r10, %cr3
  movl $(FIRST | 3), ENTRY
  mov %r11, %cr3
  look 36, 1
  dec %r15d
  jnz 1b
  # ---- INVPCID of the other one ----
  bts $63, %r11
  movq $1, SCRATCH                           # PCID
  movq $WINDOW, SCRATCH + 8
  mov $ROUNDS, %r15d
1:
  mov %r10, %cr3
  movl $(SECOND | 3), ENTRY
  xor %eax, %eax                             # one address
  invpcid SCRATCH, %rax
  mov %r11, %cr3
  look 37, 2
  mov %r10, %cr3
  movl $(FIRST | 3), ENTRY
  mov $1, %eax                               # all of that PCID
  invpcid SCRATCH, %rax
  mov %r11, %cr3
  look 38, 1
  dec %r15d
  jnz 1b
  mov $(PAGE_TABLES | 0), %eax
  mov %rax, %cr3
  mov %cr4, %rax
  btr $17, %rax
  mov %rax, %cr4

global_pages:
  mov %cr4, %rax
  bts $7, %rax                               # PGE
  mov %rax, %cr4
  mov $ROUNDS, %r15d
1:
  movl $(FIRST | 0x103), ENTRY
  invlpg WINDOW
  look 40, 1
  mov %cr3, %rax
  mov %rax, %cr3
  look 41, 1
  movl $(SECOND | 0x103), ENTRY
  invlpg WINDOW
  look 42, 2
  movl $(FIRST | 0x103), ENTRY
  mov %cr4, %rax                             # all, by CR4.PGE
  btr $7, %rax
  mov %rax, %cr4
  look 43, 1
  bts $7, %rax
  mov %cr4, %rax
  bts $7, %rax
  mov %rax, %cr4
  dec %r15d
  jnz 1b
  pass

# %eax: 0 when every way into the window leads to page %ebp. Each twice, so that there are links to be followed.
looks:
  mov $2, %r9d
1:
  call WINDOW + plain                                # direct call
  cmp %ebp, %eax
  jne 9f
  mov $(WINDOW + plain), %ebx                # indirect calls
  call *%rbx
  cmp %ebp, %eax
  jne 9f
  movq $(WINDOW + plain), SCRATCH + 0x20
  call *SCRATCH + 0x20
  cmp %ebp, %eax
  jne 9f
  lea 2f(%rip), %rbx                         # direct jump
  jmp WINDOW + to_rbx
2:
  cmp %ebp, %eax
  jne 9f
  lea 2f(%rip), %rbx                         # conditional jump
  test %ebp, %ebp
  jnz WINDOW + to_rbx
2:
  cmp %ebp, %eax
  jne 9f
  lea 2f(%rip), %rbx                         # indirect jump
  mov $(WINDOW + to_rbx), %ecx
  jmp *%rcx
2:
  cmp %ebp, %eax
  jne 9f
  lea 2f(%rip), %rbx                         # a return that leads there
  push $(WINDOW + to_rbx)
  ret
2:
  cmp %ebp, %eax
  jne 9f
  lea nothing(%rip), %rbx                    # a return from outside
  call WINDOW + calls_out
  cmp %ebp, %eax
  jne 9f
  call FRONT + 0x1000 - (before_end - before)  # falls into it, in the middle of an instruction
  shr $16, %eax
  cmp %ebp, %eax
  jne 9f
  dec %r9d
  jnz 1b
  xor %eax, %eax
  ret
9:
  mov $1, %eax
  ret

nothing:
  ret
map_first:
  show FIRST
  ret
map_second:
  show SECOND
  ret

# Copies the code below to %rdi and gives it number %ebx.
make_page:
  mov %rdi, %rdx
  lea page_code(%rip), %rsi
  mov $(plain_end - page_code), %ecx
  rep movsb
  movb %bl, page_code_number - page_code(%rdx)
  movb %bl, plain + 1(%rdx)
  movb %bl, to_rbx + 1(%rdx)
  movb %bl, calls_out + 3(%rdx)
  ret
page_code:
page_code_number:                            # the end of the instruction that crosses
  .byte 0, 0
  ret
plain_function:
  mov $0, %eax
  ret
plain_to_rbx:
  mov $0, %eax
  jmp *%rbx
plain_calls_out:
  call *%rbx
  mov $0, %eax
  ret
plain_end:

# Put at the end of the page in front: MOV $imm32, %eax, whose upper half comes from the window.
before:
  nop
  .byte 0xb8, 0x00, 0x00
before_end:

on_page_fault:
  pop %r12
  mov %r13, %rsp
  jmp *%r14
guest_data
