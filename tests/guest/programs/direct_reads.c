// A disk's sectors come by DMA into pages whose code has just run, and run there. Sector i of the first COUNT pages of the
// device has a function that gives i. Ends with 0 when each did.
//   direct_reads DEVICE COUNT ROUNDS
// gcc -O2 -static
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { page = 4096, pages = 3 };

int main(int count, char** arguments) {
  int const device = count == 4 ? open(arguments[1], O_RDONLY | O_DIRECT) : -1;
  if (device < 0) return perror("direct_reads DEVICE COUNT ROUNDS"), 2;
  uint32_t const blocks = (uint32_t)atoi(arguments[2]), rounds = (uint32_t)atoi(arguments[3]);
  uint8_t* const memory = mmap(NULL, pages * page, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (uint32_t round = 0; round < rounds; ++round) {
    uint32_t const block = round * 7 % blocks;
    uint8_t* const into = memory + round % pages * page;
    if (pread(device, into, page, (off_t)block * page) != page) return perror("pread"), 2;
    for (int calls = 0; calls < 3; ++calls) {
      uint32_t const result = ((uint32_t(*)(void))into)();
      if (result != block) return printf("round %u: %u instead of %u\n", round, result, block), 1;
    }
  }
  printf("%u reads\n", rounds);
  return 0;
}
