#pragma once

#include <vector>

#include "image/block_image.h"

namespace vireo::image {

class LayerStack;

/// A part of a disk in memory, with its holes: read from one disk, written to another.
class Piece {
 public:
  static constexpr u64 largest{1u << 20};
  Result<> read(BlockImage& from, u64 at, u64 length);
  Result<> read(LayerStack const& from, u64 at, u64 length);
  /// What is zero there already stays a hole. `compare`: what is the same already is not written.
  Result<> write(BlockImage& to, bool compare = false);

 private:
  struct Stretch {
    u64 at{};
    u64 length{};
    bool zero{};
  };
  void add(u64 at, u64 length, bool zero);
  template <typename From>
  Result<> read_from(From& from, u64 at, u64 length);

  u64 at_{};
  std::vector<std::byte> bytes_;
  std::vector<std::byte> there_;
  std::vector<Stretch> stretches_;
};

}  // namespace vireo::image
