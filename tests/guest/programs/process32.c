// A 32-bit process: what each section computes, one line each; the same on every processor that follows the manuals.
// gcc -m32 -O2 -msse2 -mfpmath=387 -fno-pie -static -no-pie
#define _GNU_SOURCE
#include <emmintrin.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static uint64_t hash, random_state;

static void mix(void const* data, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ ((uint8_t const*)data)[i]) * 1099511628211u;
}
#define MIX(value) mix(&(value), sizeof(value))
static void mix_wide(long double value) { mix(&value, 10); }
static uint64_t next(void) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return random_state >> 11 ^ random_state;
}
static void begin(void) { hash = 14695981039346656037u, random_state = 42; }
static void end(char const* section) { printf("%s %016llx\n", section, (unsigned long long)hash); }

// ---- integer ----

static void decimal_adjustments(void) {
  for (uint32_t i = 0; i < 65536; ++i) {
    uint32_t const flags = 0x202 | (i & 1) | (i >> 3 & 0x10);  // CF, AF
    uint32_t a = i, b = i, c = i, d = i, e = i, f = i;
    __asm__("push %1; popf; daa" : "+a"(a) : "r"(flags) : "cc");
    __asm__("push %1; popf; das" : "+a"(b) : "r"(flags) : "cc");
    __asm__("push %1; popf; aaa" : "+a"(c) : "r"(flags) : "cc");
    __asm__("push %1; popf; aas" : "+a"(d) : "r"(flags) : "cc");
    __asm__("aam $13" : "+a"(e)::"cc");
    __asm__("aad $7" : "+a"(f)::"cc");
    MIX(a), MIX(b), MIX(c), MIX(d), MIX(e), MIX(f);
  }
}

static void wide_arithmetic(void) {
  for (int i = 0; i < 50000; ++i) {
    uint64_t const a = next(), b = next() >> (i & 63), sum = a + b, product = a * b;
    uint64_t const quotient = a / (b | 1), rest = (int64_t)a % (int64_t)(b | 1), turned = a << (i & 63) | b >> (i & 31);
    MIX(sum), MIX(product), MIX(quotient), MIX(rest), MIX(turned);
  }
}

static void all_registers(void) {
  uint32_t saved[8], table[4] = {1, 2, 3, 4}, limits[2] = {0, 3}, index = 2;
  uint64_t pair = 5;
  for (int i = 0; i < 20000; ++i) {
    uint32_t a = (uint32_t)next(), b = (uint32_t)next(), flags;
    __asm__ volatile("mov %%esp, %%edi; pusha; mov 28(%%esp), %%eax; add 16(%%esp), %%eax; popa; lea (%%eax,%%ebx,4), %%edx"
                     : "=d"(saved[0]) : "a"(a), "b"(b) : "edi", "memory", "cc");
    __asm__ volatile("push %%ebp; mov %%esp, %%ebp; enter $24, $2; movl $77, -20(%%ebp); mov -20(%%ebp), %0; leave; pop %%ebp" : "=a"(saved[1])::"memory");
    __asm__ volatile("bound %1, %2; xlatb" : "=a"(saved[2]) : "r"(index), "m"(limits), "0"(i & 15), "b"(table) : "memory");
    __asm__ volatile("push %%es; mov %%ds, %%eax; mov %%eax, %%es; pop %%es; lds %1, %0; push %%ss; pop %%ds"
                     : "=b"(saved[3]) : "m"(*(char(*)[6])(uint16_t[3]){7, 9, 0x2b}) : "eax", "memory");
    __asm__ volatile("lock cmpxchg8b %1; setz %%cl" : "=c"(flags), "+m"(pair)
                     : "a"((uint32_t)pair), "d"((uint32_t)(pair >> 32)), "b"(a), "0"(b) : "cc");
    __asm__("shld %%cl, %1, %0; bswap %0; xadd %0, %1" : "+r"(a), "+r"(b) : "c"(i) : "cc");
    MIX(saved[0]), MIX(saved[1]), MIX(saved[2]), MIX(saved[3]), MIX(a), MIX(b), MIX(pair);
  }
}

static void strings(void) {
  static uint8_t from[9000], to[9000];
  memset(from, 0, sizeof from), memset(to, 0, sizeof to);
  for (uint32_t i = 0; i < 400; ++i) {
    uint32_t const bytes = (uint32_t)next() % 8000, skip = (uint32_t)next() % 900;
    uint8_t *source = from + skip, *target = to + 900 - skip;
    uint32_t count = bytes, left;
    from[skip + bytes / 2] = (uint8_t)i;
    __asm__ volatile("rep movsb" : "+S"(source), "+D"(target), "+c"(count)::"memory");
    target = to, count = bytes / 4;
    __asm__ volatile("rep stosl" : "+D"(target), "+c"(count) : "a"(i * 0x01030507) : "memory");
    source = from + skip, left = bytes;
    __asm__ volatile("cmp %%eax, %%eax; repne scasb" : "+D"(source), "+c"(left) : "a"(i) : "memory", "cc");
    mix(to, sizeof to), MIX(left);
  }
}

// ---- floating point ----

static void x87(void) {
  long double value = 0.7L;
  uint8_t decimal[10];
  for (int i = 1; i < 5000; ++i) {
    uint16_t const control = (uint16_t)(0x37f ^ (i & 3) << 10 ^ (i & 4 ? 0x100 : 0));
    long long rounded;
    __asm__ volatile("fldcw %0" ::"m"(control));
    value = sqrtl(fabsl(value)) * 1.25L + (long double)i / 3;
    long double const small = ldexpl(value, -16400), rest = fmodl(value * i, 0.37L);
    __asm__ volatile("fldt %1; fistpll %0" : "=m"(rounded) : "m"(value));
    __asm__ volatile("fldt %1; fbstp %0" : "=m"(decimal) : "m"(value));
    mix_wide(value), mix_wide(small), mix_wide(rest), MIX(rounded), MIX(decimal);
  }
  __asm__ volatile("fninit");
  for (int i = 0; i < 300; ++i) mix_wide(sinl(i) + expl(i / 50.0L) + atan2l(i, 3) + logl(i + 1));
}

static void sse2(void) {
  __m128i integers = _mm_set_epi32(1, 20, 300, 4000);
  __m128d numbers = _mm_set_pd(1.5, 1e-300);
  for (int i = 1; i < 50000; ++i) {
    _mm_setcsr(0x1f80 | (uint32_t)(i & 3) << 13 | (i & 4 ? 0x8040 : 0));
    integers = _mm_add_epi32(_mm_mul_epu32(integers, _mm_set1_epi32((int)next())), _mm_shuffle_epi32(integers, 0x39));
    integers = _mm_xor_si128(integers, _mm_packs_epi32(integers, _mm_srai_epi32(integers, 9)));
    numbers = _mm_div_pd(_mm_add_pd(numbers, _mm_cvtepi32_pd(integers)), _mm_sqrt_pd(_mm_set1_pd(i)));
    numbers = i % 7 ? numbers : _mm_mul_pd(numbers, _mm_set1_pd(1e-310));
    MIX(integers), MIX(numbers);
  }
  uint32_t const flags = _mm_getcsr();
  MIX(flags);
  _mm_setcsr(0x1f80);
}

// ---- signals ----

static uint32_t resume_at, signals_seen;

static void on_fault(int number, siginfo_t* info, void* context) {
  greg_t* const registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  uint32_t const address = number == SIGSEGV ? (uint32_t)info->si_addr : 0;
  uint32_t const facts[] = {(uint32_t)number, (uint32_t)info->si_code, address, (uint32_t)registers[REG_TRAPNO],
                            (uint32_t)registers[REG_ERR], (uint32_t)registers[REG_ECX]};
  MIX(facts);
  ++signals_seen;
  registers[REG_EIP] = (greg_t)resume_at;
}
static void on_trap(int number, siginfo_t* info, void* context) {
  (void)number, (void)info, (void)context;
  ++signals_seen;
}
static void handle(int number, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(number, &action, NULL);
}
#define FAULTS(code, ...) __asm__ volatile("movl $1f, %0; " code "; 1:" : "=m"(resume_at) : __VA_ARGS__ : "eax", "edx", "memory")

static void faults(void) {
  static uint8_t stack[65536];
  stack_t const other = {.ss_sp = stack, .ss_size = sizeof stack};
  uint16_t const unmasked = 0x37b;
  uint32_t const unmasked_sse = 0x1d80;
  sigaltstack(&other, NULL);
  handle(SIGFPE, on_fault), handle(SIGSEGV, on_fault), handle(SIGILL, on_fault), handle(SIGTRAP, on_fault);
  for (int i = 0; i < 300; ++i) {
    FAULTS("xor %%eax, %%eax; xor %%edx, %%edx; div %%eax", "c"(i));
    FAULTS("movl $1, 0x20(,%%ecx,8)", "c"(i));
    FAULTS("mov %%fs:0x10, %%eax", "c"(i));
    FAULTS("ud2", "c"(i));
    FAULTS("int3", "c"(i));
    FAULTS("cli", "c"(i));
    FAULTS("mov $0x7fffffff, %%eax; add $1, %%eax; into", "c"(i));
    FAULTS("fninit; fldcw %1; fld1; fldz; fdivrp; fwait", "m"(unmasked), "c"(i));
    __asm__ volatile("fninit");
    FAULTS("ldmxcsr %1; pxor %%xmm0, %%xmm0; movss %2, %%xmm1; divss %%xmm0, %%xmm1", "m"(unmasked_sse), "m"(unmasked), "c"(i));
    _mm_setcsr(0x1f80);
  }
  handle(SIGTRAP, on_trap);
  uint32_t const before = signals_seen;
  __asm__ volatile("pushf; orl $0x100, (%%esp); popf; mov $100, %%ecx; 1: dec %%ecx; jnz 1b; pushf; andl $~0x100, (%%esp); popf"
                   ::: "ecx", "cc", "memory");
  uint32_t const steps = signals_seen - before;
  printf("single steps %u\n", steps);
}

static volatile sig_atomic_t ticks;
static void on_tick(int number) {
  (void)number;
  double volatile other = ticks;
  for (int i = 0; i < 5; ++i) other = sqrt(other + i);
  ++ticks;
}
// Ticks come anywhere and change nothing.
static void interrupted(void) {
  struct itimerval const often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
  uint64_t first = 0;
  uint32_t same = 1;
  signal(SIGALRM, on_tick);
  for (int passes = 0; passes < 3 || ticks < 100; ++passes) {
    begin(), wide_arithmetic(), all_registers(), strings(), x87(), sse2();
    if (passes == 0) first = hash, setitimer(ITIMER_REAL, &often, NULL);
    same &= hash == first;
  }
  setitimer(ITIMER_REAL, &never, NULL);
  printf("interrupted work is %s\n", same ? "the same" : "different");
}

// ---- code and processes ----

static void written_code(void) {
  uint8_t* const page = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (uint32_t i = 0; i < 20000; ++i) {
    uint8_t* const at = page + i * 7 % 6000;
    uint32_t const value = i * 2654435761u;
    memcpy(at, (uint8_t[]){0xb8, 0, 0, 0, 0, 0xc3}, 6);  // MOV $value, %eax; RET
    memcpy(at + 1, &value, 4);
    uint32_t const result = ((uint32_t(*)(void))at)();
    MIX(result);
  }
}

// The kernel's 64-bit code segment is open to all: there and back.
static void sixty_four_bits(void) {
  for (uint32_t i = 1; i < 20000; ++i) {
    uint32_t low, high;
    __asm__ volatile("lcall $0x33, $1f; jmp 2f\n.code64\n1: mov $0x123456789abcdef, %%r8; imul %%rcx, %%r8; mov %%r8, %%rax\n"
                     "shr $32, %%r8; mov %%r8d, %%edx; lretl\n.code32\n2:" : "=a"(low), "=d"(high) : "c"(i) : "memory", "cc");
    MIX(low), MIX(high);
  }
}

static __thread uint32_t own = 5;
static void* in_thread(void* argument) {
  for (int i = 0; i < 100000; ++i) own = own * 1664525 + (uint32_t)argument;
  return (void*)own;
}
static void threads_and_processes(void) {
  pthread_t threads[4];
  for (uint32_t i = 0; i < 4; ++i) pthread_create(&threads[i], NULL, in_thread, (void*)i);
  for (int i = 0; i < 4; ++i) {
    void* result;
    pthread_join(threads[i], &result);
    MIX(result);
  }
  MIX(own);
  for (int i = 0; i < 20; ++i) {
    int status;
    pid_t const child = fork();
    if (child == 0) _exit((int)(uint32_t)in_thread((void*)(uint32_t)i) & 0x7f);
    waitpid(child, &status, 0);
    MIX(status);
  }
  for (int i = 0; i < 10000; ++i) {
    long result;  // beside the vDSO's way into the kernel
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(SYS_getpid) : "memory");
    uint32_t const same = result == getpid();
    MIX(same);
  }
}

#define SECTION(name) begin(), name(), end(#name)
int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  SECTION(decimal_adjustments);
  SECTION(wide_arithmetic);
  SECTION(all_registers);
  SECTION(strings);
  SECTION(x87);
  SECTION(sse2);
  SECTION(faults);
  SECTION(interrupted);
  SECTION(written_code);
  SECTION(sixty_four_bits);
  SECTION(threads_and_processes);
  return 0;
}
