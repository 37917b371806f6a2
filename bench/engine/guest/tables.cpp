// Hash tables, a bit sieve and a priority queue.
#include <array>
#include <vector>

#include "harness.h"

namespace bench {
namespace {

struct Slot {
  uint64_t key, value;
};

std::vector<Slot> slots;
std::vector<uint64_t> queries;
constexpr size_t lookups{4096};

size_t place_of(uint64_t key) { return (key * 0x9e3779b97f4a7c15U >> 20) & (slots.size() - 1); }

void insert(uint64_t key, uint64_t value) {
  size_t place{place_of(key)};
  while (slots[place].key != 0 && slots[place].key != key) place = (place + 1) & (slots.size() - 1);
  slots[place] = {key, value};
}

uint64_t find(uint64_t key) {
  size_t place{place_of(key)};
  while (slots[place].key != 0) {
    if (slots[place].key == key) return slots[place].value;
    place = (place + 1) & (slots.size() - 1);
  }
  return 1;
}

void prepare_table(size_t entries, size_t capacity) {
  slots.assign(capacity, {});
  queries.clear();
  uint64_t state{3};
  std::vector<uint64_t> keys;
  for (size_t i{0}; i < entries; ++i) {
    keys.push_back(next_random(state) | 1);
    insert(keys.back(), i * 3);
  }
  for (size_t i{0}; i < lookups; ++i)
    queries.push_back(i % 4 == 0 ? next_random(state) & ~1U : keys[next_random(state) % entries]);
}

void prepare_small() { prepare_table(2'000, 4096); }
void prepare_large() { prepare_table(200'000, 524'288); }

uint64_t look_up() {
  uint64_t sum{0};
  for (auto const query : queries) sum += find(query);
  return sum;
}

constexpr size_t inserted{1500};
uint64_t insert_many() {
  for (auto& slot : slots) slot = {};
  uint64_t state{17};
  for (size_t i{0}; i < inserted; ++i) insert(next_random(state) | 1, i);
  return find(17) + slots[100].value;
}

constexpr size_t sieve_limit{65536};
uint64_t sieve() {
  static std::array<uint64_t, sieve_limit / 64> composite;
  composite.fill(0);
  for (size_t i{2}; i * i < sieve_limit; ++i) {
    if ((composite[i / 64] >> (i % 64)) & 1) continue;
    for (size_t multiple{i * i}; multiple < sieve_limit; multiple += i)
      composite[multiple / 64] |= 1UL << (multiple % 64);
  }
  uint64_t primes{0};
  for (auto const word : composite) primes += 64 - static_cast<uint64_t>(__builtin_popcountl(word));
  return primes;
}

// Shortest ways over a grid with a binary heap.
constexpr size_t side{40};
uint64_t shortest_ways() {
  struct Entry {
    uint32_t distance, place;
  };
  static std::array<uint32_t, side * side> distance;
  static std::array<Entry, side * side * 4> heap;
  distance.fill(~0U);
  size_t count{1};
  distance[0] = 0, heap[0] = {0, 0};
  while (count > 0) {
    Entry const best{heap[0]};
    Entry const last{heap[--count]};
    size_t hole{0};
    for (size_t child{1}; child < count; child = 2 * hole + 1) {
      if (child + 1 < count && heap[child + 1].distance < heap[child].distance) ++child;
      if (heap[child].distance >= last.distance) break;
      heap[hole] = heap[child], hole = child;
    }
    heap[hole] = last;
    if (best.distance > distance[best.place]) continue;
    size_t const x{best.place % side}, y{best.place / side};
    auto const visit = [&](size_t place) {
      uint32_t const way{best.distance + 1 + static_cast<uint32_t>((place * 2654435761U >> 7) & 15)};
      if (way >= distance[place]) return;
      distance[place] = way;
      size_t up{count++};
      for (; up > 0 && heap[(up - 1) / 2].distance > way; up = (up - 1) / 2) heap[up] = heap[(up - 1) / 2];
      heap[up] = {way, static_cast<uint32_t>(place)};
    };
    if (x > 0) visit(best.place - 1);
    if (x + 1 < side) visit(best.place + 1);
    if (y > 0) visit(best.place - side);
    if (y + 1 < side) visit(best.place + side);
  }
  return distance[side * side - 1];
}

constexpr std::array workloads{
    Workload{"integer.hash_2k", lookups, look_up, prepare_small},
    Workload{"integer.hash_200k", lookups, look_up, prepare_large},
    Workload{"integer.hash_insert", inserted, insert_many, prepare_small},
    Workload{"integer.sieve", sieve_limit, sieve},
    Workload{"integer.shortest_ways", side* side, shortest_ways},
};

}  // namespace

std::span<Workload const> table_workloads() { return workloads; }

}  // namespace bench
