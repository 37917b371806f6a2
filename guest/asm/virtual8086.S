# A monitor at level 0 runs a virtual-8086 task: INT is reflected, IN is refused by the I/O bitmap, HLT ends it.
.include "guest.inc"
.code16
start:
  enter_protected_mode
  lidt idt_pointer
  set_gate32 13, on_protection
  movl $RING0_STACK, TSS_BASE + 4
  movl $DATA, TSS_BASE + 8
  movw $104, TSS_BASE + 102
  mov $TSS, %ax
  ltr %ax
  xor %ebp, %ebp

  push $0x4444                 # GS
  push $0x3333                 # FS
  push $0x1000                 # DS
  push $0x2222                 # ES
  push $0x1000                 # SS
  push $0xe000                 # ESP
  push $0x20202                # EFLAGS: VM, IF, IOPL 0
  push $0x1000                 # CS
  push $(task - BASE)
  iretl

  .code16
task:
  mov %gs, %ax
  cmp $0x4444, %ax
  jne task_failed
  mov %es, %ax
  cmp $0x2222, %ax
  jne task_failed
  pushw $0x5a5a
  cmp $0xdffe, %sp
  jne task_failed
  popw %bx
  cmp $0x5a5a, %bx
  jne task_failed
  inc %bp
  cmpw $0x5a5a, 0xdffe
  jne task_failed
  inc %bp
  mov %ax, %ds                 # any selector will do
  mov $0x1000, %ax
  mov %ax, %ds
  inc %bp
  int $0x21                    # IOPL below 3: #GP, seen by the monitor
  cmp $0x2121, %cx
  jne task_failed
  inc %bp
  in $0x60, %al                # not in the bitmap: #GP
  cmp $0x6060, %cx
  jne task_failed
  inc %bp
  hlt
task_failed:
  mov $0xdead, %dx
  hlt

  .code32
# Stack: error, EIP, CS, EFLAGS, ESP, SS, ES, DS, FS, GS
on_protection:
  mov 12(%esp), %eax
  and $0x20000, %eax
  expect 1, $0x20000, %eax
  mov (%esp), %eax
  expect 2, $0, %eax
  mov %ds, %ax
  expect 3, $0, %ax
  mov $DATA, %ax
  mov %ax, %ds
  mov 8(%esp), %eax
  shl $4, %eax
  add 4(%esp), %eax
  cmpw $0x21cd, (%eax)         # INT 0x21
  je reflect
  cmpb $0xe4, (%eax)           # IN
  je emulate
  cmpb $0xf4, (%eax)           # HLT
  je ended
  fail 4
reflect:
  mov $0x2121, %ecx
  jmp resume
emulate:
  mov $0x6060, %ecx
resume:
  addl $2, 4(%esp)
  add $4, %esp
  iretl
ended:
  mov 36(%esp), %eax
  expect 5, $0x4444, %eax
  mov 16(%esp), %eax
  expect 6, $0xe000, %eax
  cmp $0xdead, %dx
  jne 1f
  mov %ebp, %eax
  add $100, %al
  out %al, $0xf4
  hlt
1:
  expect 7, $5, %ebp
  pass
guest_data
