#include "image/empty_layer.h"

#include <algorithm>

namespace vireo::image {
namespace {

class EmptyLayer final : public BlockImage {
 public:
  explicit EmptyLayer(u64 bytes) : bytes_{bytes} {}
  Geometry geometry() const override { return {.bytes = bytes_, .read_only = true}; }
  Result<> read(u64, Bytes into) override {
    std::ranges::fill(into, std::byte{0});
    return {};
  }
  Result<> write(u64, ConstBytes) override { return denied(); }
  Result<> write_zeroes(u64, u64, bool) override { return denied(); }
  Result<> discard(u64, u64) override { return denied(); }
  Result<> flush() override { return {}; }
  Result<Extent> extent_at(u64 at) override { return Extent{at, bytes_ - at, Presence::zero}; }

 private:
  static Result<> denied() { return fail(Errc::denied, "nothing is written below an image"); }
  u64 bytes_;
};

}  // namespace

std::unique_ptr<BlockImage> empty_layer(u64 bytes) { return std::make_unique<EmptyLayer>(bytes); }

}  // namespace vireo::image
