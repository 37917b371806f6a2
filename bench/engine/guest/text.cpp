// Text: compression, searching, encoding, formatting.
#include <array>
#include <cstdio>
#include <cstring>

#include "harness.h"

namespace bench {
namespace {

constexpr size_t size{16384};
std::array<char, size + 16> text;
std::array<uint8_t, 2 * size> output;

void prepare_text() {
  fill_text({text.data(), size}, 11);
  text[size] = 0;
}

uint32_t word_at(size_t place) {
  uint32_t word{};
  memcpy(&word, text.data() + place, 4);
  return word;
}

// Greedy matches of four bytes or more through a hash of positions, written as literal runs and pairs.
uint64_t lz_compress() {
  static std::array<uint16_t, 4096> recent;
  recent.fill(0);
  size_t written{0}, literals{0}, place{1};
  while (place + 4 < size) {
    uint32_t const word{word_at(place)};
    auto& slot = recent[word * 2654435761U >> 20];
    size_t const candidate{slot};
    slot = static_cast<uint16_t>(place);
    if (word_at(candidate) != word) {
      output[written + ++literals] = static_cast<uint8_t>(text[place++]);
      if (literals < 255) continue;
    }
    output[written] = static_cast<uint8_t>(literals);
    written += literals + 1, literals = 0;
    size_t length{0};
    while (length < 255 && place + length < size && text[candidate + length] == text[place + length]) ++length;
    output[written++] = static_cast<uint8_t>(length);
    output[written++] = static_cast<uint8_t>(place - candidate);
    output[written++] = static_cast<uint8_t>((place - candidate) >> 8);
    place += length;
  }
  uint64_t sum{written};
  for (size_t i{0}; i < written; i += 61) sum = mix(sum, output[i]);
  return sum;
}

uint64_t base64() {
  static constexpr char alphabet[]{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"};
  static std::array<uint8_t, 256> values;
  if (values['B'] == 0)
    for (uint8_t i{0}; i < 64; ++i) values[static_cast<uint8_t>(alphabet[i])] = i;
  constexpr size_t part{6144};
  for (size_t in{0}, out{0}; in < part; in += 3, out += 4) {
    auto const byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(text[in + i])); };
    uint32_t const triple{byte(0) << 16 | byte(1) << 8 | byte(2)};
    for (size_t i{0}; i < 4; ++i)
      output[out + i] = static_cast<uint8_t>(alphabet[(triple >> (18 - 6 * i)) & 63]);
  }
  uint64_t sum{0};
  for (size_t in{0}; in < part / 3 * 4; in += 4) {
    uint32_t triple{0};
    for (size_t i{0}; i < 4; ++i) triple = triple << 6 | values[output[in + i]];
    sum = sum * 31 + triple;
  }
  return sum;
}

// Every byte of a text with sequences of one to four bytes is checked.
std::array<uint8_t, size> encoded;
void prepare_utf8() {
  uint64_t state{21};
  size_t place{0};
  while (place + 4 <= size) {
    uint64_t const random{next_random(state)};
    auto const tail = [&](unsigned shift) { return static_cast<uint8_t>(0x80 | ((random >> shift) & 0x3f)); };
    switch (random & 15) {
      case 0: encoded[place++] = 0xe4, encoded[place++] = tail(8), encoded[place++] = tail(16); break;
      case 1: encoded[place++] = 0xc3, encoded[place++] = tail(8); break;
      case 2:
        encoded[place++] = 0xf1, encoded[place++] = tail(8), encoded[place++] = tail(16),
        encoded[place++] = tail(24);
        break;
      default: encoded[place++] = static_cast<uint8_t>(32 + (random >> 9) % 90); break;
    }
  }
  while (place < size) encoded[place++] = ' ';
}

uint64_t utf8() {
  uint64_t characters{0};
  for (size_t i{0}; i < size; ++characters) {
    uint8_t const lead{encoded[i++]};
    if (lead < 0x80) continue;
    size_t const tails{lead >= 0xf0 ? 3U : lead >= 0xe0 ? 2U : 1U};
    if (lead < 0xc2 || lead > 0xf4) return i;
    for (size_t tail{0}; tail < tails; ++tail)
      if ((encoded[i++] & 0xc0) != 0x80) return i;
  }
  return characters;
}

// Library string functions on short and long strings.
uint64_t string_functions() {
  uint64_t sum{0};
  for (size_t i{0}; i < size - 512; i += 61) {
    char const* const from{text.data() + i};
    sum += static_cast<uint64_t>(static_cast<char const*>(memchr(from, '\n', 512) ?: from) - from);
    sum += strcspn(from, " \n");
    sum += strncmp(from, text.data() + (i * 7) % 8000, 20) < 0;
  }
  return sum + strlen(text.data());
}

uint64_t search() {
  uint64_t found{0};
  for (char const* at{text.data()}; (at = strstr(at, "page fault")) != nullptr; ++at) ++found;
  for (char const* at{text.data()}; (at = strstr(at, "translation of every")) != nullptr; ++at) ++found;
  return found;
}

uint64_t word_count() {
  uint64_t words{0}, lines{0};
  bool inside{false};
  for (size_t i{0}; i < size; ++i) {
    bool const blank{text[i] == ' ' || text[i] == '\n'};
    lines += text[i] == '\n';
    words += !blank && !inside;
    inside = !blank;
  }
  return words * 65536 + lines;
}

// A table-driven automaton: decimal numbers, names and signs of a small language.
uint64_t tokens() {
  static std::array<uint8_t, 256> kinds;
  if (kinds['a'] == 0)
    for (int byte{0}; byte < 256; ++byte)
      kinds[static_cast<size_t>(byte)] = byte <= ' ' ? 3 : (byte % 7 == 0 ? 2 : 1);
  static constexpr uint8_t next[4][4]{{0, 1, 2, 0}, {0, 1, 3, 0}, {0, 2, 2, 0}, {0, 3, 3, 0}};
  std::array<uint64_t, 4> counts{};
  uint8_t state{0};
  for (size_t i{0}; i < size; ++i) {
    state = next[state][kinds[static_cast<uint8_t>(text[i])]];
    ++counts[state];
  }
  return counts[0] + counts[1] * 3 + counts[2] * 5 + counts[3] * 7;
}

constexpr size_t formatted{50};
uint64_t format() {
  std::array<char, 128> line{};
  uint64_t sum{0};
  for (size_t i{0}; i < formatted; ++i) {
    int const length{snprintf(line.data(), line.size(), "%zu: %-12s %08lx %5d%%", i, "register", i * 7919,
                              static_cast<int>(i))};
    sum = mix(sum, static_cast<uint64_t>(length) + static_cast<uint8_t>(line[20]));
  }
  return sum;
}

constexpr std::array workloads{
    Workload{"integer.lz_compress", size, lz_compress, prepare_text},
    Workload{"integer.base64", 6144, base64, prepare_text},
    Workload{"integer.utf8", size, utf8, prepare_utf8},
    Workload{"integer.string_functions", 260, string_functions, prepare_text},
    Workload{"integer.search", size, search, prepare_text},
    Workload{"integer.word_count", size, word_count, prepare_text},
    Workload{"integer.tokens", size, tokens, prepare_text},
    Workload{"integer.format", formatted, format},
};

}  // namespace

std::span<Workload const> text_workloads() { return workloads; }

}  // namespace bench
