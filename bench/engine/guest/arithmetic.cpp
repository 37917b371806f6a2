// Integer arithmetic: matrices, long numbers, division, bits.
#include <x86intrin.h>

#include <array>

#include "harness.h"

namespace bench {
namespace {

constexpr size_t side{40};
using Matrix = std::array<std::array<int32_t, side>, side>;
Matrix left, right, product;

void prepare_matrices() {
  uint64_t state{13};
  for (size_t i{0}; i < side; ++i)
    for (size_t j{0}; j < side; ++j) {
      left[i][j] = static_cast<int32_t>(next_random(state) & 1023);
      right[i][j] = static_cast<int32_t>(next_random(state) & 1023);
    }
}

uint64_t matrix() {
  for (size_t i{0}; i < side; ++i)
    for (size_t j{0}; j < side; ++j) {
      int32_t sum{0};
      for (size_t k{0}; k < side; ++k) sum += left[i][k] * right[k][j];
      product[i][j] = sum;
    }
  return static_cast<uint64_t>(product[3][5]) * 31 + static_cast<uint64_t>(product[side - 1][side - 1]);
}

constexpr size_t limbs{32};
std::array<unsigned long long, limbs> a, b;
std::array<unsigned long long, 2 * limbs> wide;

void prepare_numbers() {
  uint64_t state{31};
  for (auto& limb : a) limb = next_random(state);
  for (auto& limb : b) limb = next_random(state);
}

uint64_t bignum_multiply() {
  wide.fill(0);
  for (size_t i{0}; i < limbs; ++i) {
    unsigned long long carry{0};
    for (size_t j{0}; j < limbs; ++j) {
      unsigned __int128 const sum{static_cast<unsigned __int128>(a[i]) * b[j] + wide[i + j] + carry};
      wide[i + j] = static_cast<unsigned long long>(sum);
      carry = static_cast<unsigned long long>(sum >> 64);
    }
    wide[i + limbs] = carry;
  }
  return wide[limbs] ^ wide[2 * limbs - 1];
}

constexpr size_t additions{100};
uint64_t bignum_add() {
  std::array<unsigned long long, limbs> sum{a};
  unsigned char carry{0};
  for (size_t round{0}; round < additions; ++round) {
    for (size_t i{0}; i < limbs; i += 4) {
      carry = _addcarry_u64(carry, sum[i], b[i], &sum[i]);
      carry = _addcarry_u64(carry, sum[i + 1], b[i + 1], &sum[i + 1]);
      carry = _addcarry_u64(carry, sum[i + 2], b[i + 2], &sum[i + 2]);
      carry = _addcarry_u64(carry, sum[i + 3], b[i + 3], &sum[i + 3]);
    }
  }
  return sum[limbs - 1] + carry;
}

constexpr size_t divisions{500};
uint64_t divide() {
  uint64_t sum{0}, dividend{0xfedcba9876543210};
  for (size_t i{0}; i < divisions; ++i) {
    uint64_t divisor{i * 0x10001 + 3};
    opaque(divisor);
    sum += dividend / divisor + dividend % divisor;
    dividend -= 0x1234567;
  }
  return sum;
}

constexpr size_t powers{20};
uint64_t power_modulo() {
  uint64_t sum{0};
  for (uint64_t base{2}; base < 2 + powers; ++base) {
    uint64_t result{1}, factor{base};
    for (uint64_t exponent{0xfffff}; exponent != 0; exponent >>= 1) {
      if (exponent & 1) result = result * factor % 2147483647;
      factor = factor * factor % 2147483647;
    }
    sum = mix(sum, result);
  }
  return sum;
}

constexpr size_t bit_steps{4096};
uint64_t bits() {
  uint64_t sum{0}, value{0x123456789abcdef1};
  for (size_t i{0}; i < bit_steps; ++i) {
    value = value * 6364136223846793005U + 1442695040888963407U;
    sum += static_cast<uint64_t>(__builtin_popcountl(value)) + static_cast<uint64_t>(__builtin_clzl(value | 1));
    sum ^= (value >> (value & 31)) | (value << (i & 7));
  }
  return sum;
}

// Conway's game on 64 rows of 64 cells, neighbours counted one by one.
constexpr size_t rows{64};
uint64_t life() {
  static std::array<std::array<uint8_t, rows + 2>, rows + 2> cells, next;
  uint64_t state{77};
  for (size_t y{1}; y <= rows; ++y)
    for (size_t x{1}; x <= rows; ++x) cells[y][x] = static_cast<uint8_t>(next_random(state) >> 40 & 1);
  for (int generation{0}; generation < 2; ++generation) {
    for (size_t y{1}; y <= rows; ++y)
      for (size_t x{1}; x <= rows; ++x) {
        int const around{cells[y - 1][x - 1] + cells[y - 1][x] + cells[y - 1][x + 1] + cells[y][x - 1] +
                         cells[y][x + 1] + cells[y + 1][x - 1] + cells[y + 1][x] + cells[y + 1][x + 1]};
        next[y][x] = around == 3 || (around == 2 && cells[y][x]);
      }
    cells = next;
  }
  uint64_t sum{0};
  for (auto const& row : cells)
    for (auto const cell : row) sum = sum * 3 + cell;
  return sum;
}

constexpr std::array workloads{
    Workload{"integer.matrix", side* side* side, matrix, prepare_matrices},
    Workload{"integer.bignum_multiply", limbs* limbs, bignum_multiply, prepare_numbers},
    Workload{"integer.bignum_add", limbs* additions, bignum_add, prepare_numbers},
    Workload{"integer.divide", divisions, divide},
    Workload{"integer.power_modulo", powers, power_modulo},
    Workload{"integer.bits", bit_steps, bits},
    Workload{"integer.life", 2 * rows* rows, life},
};

}  // namespace

std::span<Workload const> arithmetic_workloads() { return workloads; }

}  // namespace bench
