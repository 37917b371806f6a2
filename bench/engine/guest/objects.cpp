// C++ as people write it: virtual calls, trees, hash maps, strings, the allocator.
#include <array>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "harness.h"

namespace bench {
namespace {

struct Shape {
  virtual ~Shape() = default;
  virtual uint32_t area(uint32_t scale) const = 0;
};
struct Square : Shape {
  explicit Square(uint32_t side) : side_{side} {}
  uint32_t area(uint32_t scale) const override { return side_ * side_ * scale; }
  uint32_t side_;
};
struct Box : Shape {
  Box(uint32_t width, uint32_t height) : width_{width}, height_{height} {}
  uint32_t area(uint32_t scale) const override { return width_ * height_ + scale; }
  uint32_t width_, height_;
};
struct Strip : Shape {
  explicit Strip(uint32_t length) : length_{length} {}
  uint32_t area(uint32_t scale) const override { return length_ ^ scale; }
  uint32_t length_;
};

std::vector<std::unique_ptr<Shape>> shapes;
constexpr uint32_t shape_count{1000};

void prepare_shapes() {
  uint64_t state{41};
  for (uint32_t i{0}; i < shape_count; ++i) {
    auto const kind = next_random(state) >> 30 & 3;
    if (kind == 0)
      shapes.push_back(std::make_unique<Square>(i));
    else if (kind == 1)
      shapes.push_back(std::make_unique<Box>(i, i + 1));
    else
      shapes.push_back(std::make_unique<Strip>(i));
  }
}

uint64_t virtual_calls() {
  uint64_t sum{0};
  for (auto const& shape : shapes) sum += shape->area(static_cast<uint32_t>(sum) & 7);
  return sum;
}

constexpr size_t entries{1000};

uint64_t tree_map() {
  std::map<uint64_t, uint64_t> map;
  uint64_t state{51}, sum{0};
  for (size_t i{0}; i < entries; ++i) map[next_random(state) % 5000] += i;
  for (uint64_t key{0}; key < 5000; key += 5) {
    auto const found = map.find(key);
    if (found != map.end()) sum = mix(sum, found->second);
  }
  return sum;
}

uint64_t hash_map() {
  std::unordered_map<uint64_t, uint64_t> map;
  uint64_t state{53}, sum{0};
  for (size_t i{0}; i < entries; ++i) map[next_random(state) % 5000] += i;
  for (uint64_t key{0}; key < 5000; key += 5) {
    auto const found = map.find(key);
    if (found != map.end()) sum = mix(sum, found->second);
  }
  return sum;
}

uint64_t strings() {
  std::unordered_map<std::string, size_t> counts;
  uint64_t state{57};
  for (size_t i{0}; i < 300; ++i) {
    std::string name{"variable_"};
    name += std::to_string(next_random(state) % 60);
    name.insert(0, i % 3, '_');
    ++counts[name];
  }
  uint64_t sum{0};
  for (auto const& [name, count] : counts) sum += count * name.size();
  return sum;
}

constexpr size_t allocations{1000};
uint64_t allocate() {
  static std::array<char*, 64> blocks;
  uint64_t state{61}, sum{0};
  for (size_t i{0}; i < allocations; ++i) {
    auto const random = next_random(state);
    auto& block = blocks[random & 63];
    delete[] block;
    block = new char[16 + (random >> 20) % 500];
    block[0] = static_cast<char>(i);
    sum += static_cast<uint8_t>(block[0]);
  }
  return sum;
}

struct Tree {
  std::unique_ptr<Tree> left, right;
};

std::unique_ptr<Tree> grow(int depth) {
  auto tree = std::make_unique<Tree>();
  if (depth > 0) tree->left = grow(depth - 1), tree->right = grow(depth - 1);
  return tree;
}

uint64_t count(Tree const& tree) { return tree.left ? 1 + count(*tree.left) + count(*tree.right) : 1; }
uint64_t binary_trees() { return count(*grow(9)); }

constexpr std::array workloads{
    Workload{"integer.virtual_calls", shape_count, virtual_calls, prepare_shapes},
    Workload{"integer.std_map", entries, tree_map},
    Workload{"integer.std_unordered_map", entries, hash_map},
    Workload{"integer.std_string", 300, strings},
    Workload{"integer.allocate", allocations, allocate},
    Workload{"integer.binary_trees", 1023, binary_trees},
};

}  // namespace

std::span<Workload const> object_workloads() { return workloads; }

}  // namespace bench
