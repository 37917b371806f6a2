#include "image/shared_layer.h"

namespace vireo::image {
namespace {

class SharedLayer final : public BlockImage {
 public:
  explicit SharedLayer(std::shared_ptr<BlockImage> image) : image_{std::move(image)} {}
  Geometry geometry() const override {
    auto geometry = image_->geometry();
    geometry.read_only = true;
    return geometry;
  }
  Result<> read(u64 at, Bytes into) override { return image_->read(at, into); }
  Result<> write(u64, ConstBytes) override { return denied(); }
  Result<> write_zeroes(u64, u64, bool) override { return denied(); }
  Result<> discard(u64, u64) override { return denied(); }
  Result<> flush() override { return {}; }
  Result<Extent> extent_at(u64 at) override { return image_->extent_at(at); }
  Result<Place> place_at(u64 at) override { return image_->place_at(at); }

 private:
  static Result<> denied() { return fail(Errc::denied, "nothing is written below an image"); }
  std::shared_ptr<BlockImage> image_;
};

}  // namespace

std::unique_ptr<BlockImage> shared_layer(std::shared_ptr<BlockImage> image) {
  return std::make_unique<SharedLayer>(std::move(image));
}

}  // namespace vireo::image
