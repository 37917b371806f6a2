// Linked lists and sorting.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

#include "harness.h"

namespace bench {
namespace {

struct alignas(64) Node {
  Node* next;
  uint64_t value;
};

std::vector<Node> nodes;

void link_shuffled(size_t count) {
  nodes.resize(count);
  std::vector<size_t> order(count);
  for (size_t i{0}; i < count; ++i) order[i] = i;
  uint64_t state{99};
  for (size_t i{count - 1}; i > 0; --i) std::swap(order[i], order[next_random(state) % (i + 1)]);
  for (size_t i{0}; i < count; ++i) nodes[order[i]] = {&nodes[order[(i + 1) % count]], i};
}

constexpr size_t small_list{400}, large_list{16384};

uint64_t walk_list(size_t steps) {
  uint64_t sum{0};
  Node const* node{nodes.data()};
  for (size_t i{0}; i < steps; ++i) {
    sum += node->value;
    node = node->next;
  }
  return sum;
}

uint64_t list_small() { return walk_list(small_list * 4); }
uint64_t list_large() { return walk_list(large_list); }
void prepare_small_list() { link_shuffled(small_list); }
void prepare_large_list() { link_shuffled(large_list); }

constexpr size_t items{3000};
std::array<int32_t, items> unsorted, numbers;

void prepare_numbers() {
  uint64_t state{7};
  for (auto& number : unsorted) number = static_cast<int32_t>(next_random(state) >> 33);
}

uint64_t summary() {
  uint64_t sum{0};
  for (size_t i{0}; i < items; i += 37) sum = mix(sum, static_cast<uint64_t>(numbers[i]));
  return sum;
}

void quick(int32_t* low, int32_t* high) {
  while (high - low > 12) {
    int32_t const pivot{low[(high - low) / 2]};
    int32_t *left{low}, *right{high - 1};
    while (left <= right) {
      while (*left < pivot) ++left;
      while (*right > pivot) --right;
      if (left <= right) std::swap(*left++, *right--);
    }
    quick(low, right + 1);
    low = left;
  }
  for (int32_t* current{low + 1}; current < high; ++current) {
    int32_t const value{*current};
    int32_t* place{current};
    for (; place > low && place[-1] > value; --place) *place = place[-1];
    *place = value;
  }
}

uint64_t quick_sort() {
  numbers = unsorted;
  quick(numbers.data(), numbers.data() + items);
  return summary();
}

void sift(int32_t* heap, size_t root, size_t count) {
  for (size_t child{}; (child = 2 * root + 1) < count; root = child) {
    if (child + 1 < count && heap[child] < heap[child + 1]) ++child;
    if (heap[root] >= heap[child]) return;
    std::swap(heap[root], heap[child]);
  }
}

uint64_t heap_sort() {
  numbers = unsorted;
  for (size_t root{items / 2}; root-- > 0;) sift(numbers.data(), root, items);
  for (size_t count{items - 1}; count > 0; --count) {
    std::swap(numbers[0], numbers[count]);
    sift(numbers.data(), 0, count);
  }
  return summary();
}

int compare(void const* left, void const* right) {
  int32_t const a{*static_cast<int32_t const*>(left)}, b{*static_cast<int32_t const*>(right)};
  return (a > b) - (a < b);
}

uint64_t library_qsort() {
  numbers = unsorted;
  qsort(numbers.data(), items, sizeof(int32_t), compare);
  return summary();
}

uint64_t library_sort() {
  numbers = unsorted;
  std::sort(numbers.begin(), numbers.end());
  return summary();
}

uint64_t radix_sort() {
  static std::array<int32_t, items> other;
  numbers = unsorted;
  for (unsigned shift{0}; shift < 32; shift += 8) {
    std::array<uint32_t, 257> starts{};
    for (auto const number : numbers) ++starts[((static_cast<uint32_t>(number) >> shift) & 255) + 1];
    for (size_t i{1}; i < 257; ++i) starts[i] += starts[i - 1];
    for (auto const number : numbers) other[starts[(static_cast<uint32_t>(number) >> shift) & 255]++] = number;
    numbers = other;
  }
  return summary();
}

constexpr std::array workloads{
    Workload{"integer.list_l1", small_list * 4, list_small, prepare_small_list},
    Workload{"integer.list_1m", large_list, list_large, prepare_large_list},
    Workload{"integer.quick_sort", items, quick_sort, prepare_numbers},
    Workload{"integer.heap_sort", items, heap_sort, prepare_numbers},
    Workload{"integer.radix_sort", items, radix_sort, prepare_numbers},
    Workload{"integer.qsort_callback", items, library_qsort, prepare_numbers},
    Workload{"integer.std_sort", items, library_sort, prepare_numbers},
};

}  // namespace

std::span<Workload const> sort_workloads() { return workloads; }

}  // namespace bench
