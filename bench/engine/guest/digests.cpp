// Digests and byte-wise loops over a buffer.
#include <array>
#include <bit>
#include <cstring>

#include "harness.h"

namespace bench {
namespace {

constexpr size_t size{8192};
std::array<uint8_t, size> data;
std::array<uint32_t, 256> crc_table;

void prepare_data() { fill_random(data, 5); }

constexpr std::array<uint32_t, 64> sha_constants{
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

void sha_block(std::array<uint32_t, 8>& state, uint8_t const* block) {
  std::array<uint32_t, 64> w;
  for (size_t i{0}; i < 16; ++i) {
    uint32_t word{};
    memcpy(&word, block + 4 * i, 4);
    w[i] = __builtin_bswap32(word);
  }
  for (size_t i{16}; i < 64; ++i) {
    uint32_t const s0{std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3)};
    uint32_t const s1{std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10)};
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (size_t i{0}; i < 64; ++i) {
    uint32_t const s1{std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)};
    uint32_t const t1{h + s1 + ((e & f) ^ (~e & g)) + sha_constants[i] + w[i]};
    uint32_t const s0{std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)};
    uint32_t const t2{s0 + ((a & b) ^ (a & c) ^ (b & c))};
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e, state[5] += f, state[6] += g,
      state[7] += h;
}

uint64_t sha256() {
  std::array<uint32_t, 8> state{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  for (size_t i{0}; i < size; i += 64) sha_block(state, data.data() + i);
  uint64_t sum{0};
  for (auto const word : state) sum = mix(sum, word);
  return sum;
}

void prepare_crc() {
  prepare_data();
  for (uint32_t i{0}; i < 256; ++i) {
    uint32_t value{i};
    for (int bit{0}; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0xedb88320U : 0);
    crc_table[i] = value;
  }
}

uint64_t crc32() {
  uint32_t value{~0U};
  for (auto const byte : data) value = crc_table[(value ^ byte) & 255] ^ (value >> 8);
  return ~value;
}

uint64_t histogram() {
  static std::array<uint32_t, 256> counts;
  counts.fill(0);
  for (auto const byte : data) ++counts[byte];
  uint64_t sum{0};
  for (auto const count : counts) sum = mix(sum, count);
  return sum;
}

// SipHash-2-4 of 64-byte messages.
struct Sip {
  uint64_t a, b, c, d;
  void round() {
    a += b, b = std::rotl(b, 13), b ^= a, a = std::rotl(a, 32);
    c += d, d = std::rotl(d, 16), d ^= c;
    a += d, d = std::rotl(d, 21), d ^= a;
    c += b, b = std::rotl(b, 17), b ^= c, c = std::rotl(c, 32);
  }
};

uint64_t siphash() {
  uint64_t sum{0};
  for (size_t i{0}; i < size; i += 64) {
    Sip sip{0x736f6d6570736575 ^ i, 0x646f72616e646f6d, 0x6c7967656e657261, 0x7465646279746573 ^ sum};
    for (size_t word{0}; word < 8; ++word) {
      uint64_t value{};
      memcpy(&value, data.data() + i + 8 * word, 8);
      sip.d ^= value, sip.round(), sip.round(), sip.a ^= value;
    }
    sip.c ^= 255, sip.round(), sip.round(), sip.round(), sip.round();
    sum ^= sip.a ^ sip.b ^ sip.c ^ sip.d;
  }
  return sum;
}

uint64_t adler32() {
  uint32_t a{1}, b{0};
  for (size_t i{0}; i < size;) {
    for (size_t const end{i + 2048}; i < end; ++i) a += data[i], b += a;
    a %= 65521, b %= 65521;
  }
  return (static_cast<uint64_t>(b) << 16) | a;
}

// A stream cipher with its state in memory.
uint64_t rc4() {
  static std::array<uint8_t, 256> box;
  for (size_t i{0}; i < 256; ++i) box[i] = static_cast<uint8_t>(i);
  uint8_t j{0};
  for (size_t i{0}; i < 256; ++i) {
    j = static_cast<uint8_t>(j + box[i] + data[i & 15]);
    std::swap(box[i], box[j]);
  }
  uint64_t sum{0};
  uint8_t x{0}, y{0};
  for (auto const byte : data) {
    y = static_cast<uint8_t>(y + box[++x]);
    std::swap(box[x], box[y]);
    sum += static_cast<uint64_t>(byte ^ box[static_cast<uint8_t>(box[x] + box[y])]) << (x & 31);
  }
  return sum;
}

constexpr std::array workloads{
    Workload{"integer.sha256", size, sha256, prepare_data},
    Workload{"integer.crc32", size, crc32, prepare_crc},
    Workload{"integer.histogram", size, histogram, prepare_data},
    Workload{"integer.siphash", size, siphash, prepare_data},
    Workload{"integer.adler32", size, adler32, prepare_data},
    Workload{"integer.rc4", size, rc4, prepare_data},
};

}  // namespace

std::span<Workload const> digest_workloads() { return workloads; }

}  // namespace bench
