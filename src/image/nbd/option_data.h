#pragma once

#include <string>
#include <vector>

#include "image/nbd/spec.h"
#include "vocab/bytes.h"
#include "vocab/result.h"

namespace vireo::image::nbd {

/// The data of INFO and GO.
struct ExportChoice {
  std::string name;
  std::vector<u16> wanted;  // Info
};
Result<ExportChoice> parse_export_choice(ConstBytes data);

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT.
struct ContextChoice {
  std::string name;
  std::vector<std::string> queries;
};
Result<ContextChoice> parse_context_choice(ConstBytes data);

/// Big-endian numbers and strings on their way out.
class Packet {
 public:
  template <typename T>
  Packet& add(T value) {
    auto const at = bytes_.size();
    bytes_.resize(at + sizeof value);
    store_be<T>(bytes_.data() + at, value);
    return *this;
  }
  Packet& add(std::string_view text) { return add(std::as_bytes(std::span{text})); }
  Packet& add(ConstBytes bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  ConstBytes bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

/// And on their way in; past the end Errc::invalid.
class PacketReader {
 public:
  explicit PacketReader(ConstBytes bytes) : left_{bytes} {}
  template <typename T>
  Result<T> number() {
    auto const part = TRY(take(sizeof(T)));
    return load_be<T>(part.data());
  }
  /// With its length in 32 bits in front.
  Result<std::string> string();
  Result<std::string> text(std::size_t length);
  ConstBytes rest() const { return left_; }

 private:
  Result<ConstBytes> take(std::size_t count);
  ConstBytes left_;
};

}  // namespace vireo::image::nbd
