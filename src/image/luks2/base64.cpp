#include "image/luks2/base64.h"

#include <openssl/evp.h>

namespace vireo::image::luks2 {

std::optional<std::vector<std::byte>> from_base64(std::string_view text) {
  constexpr auto longest = std::size_t{4096};
  if (text.empty() || text.size() % 4 != 0 || text.size() > longest) return std::nullopt;
  auto bytes = std::vector<std::byte>(text.size() / 4 * 3);
  // SOUND: OpenSSL takes bytes as unsigned characters.
  auto const count =
      ::EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                        reinterpret_cast<unsigned char const*>(text.data()), static_cast<int>(text.size()));
  if (count < 0) return std::nullopt;
  auto const padding = text.ends_with("==") ? 2u : text.ends_with("=") ? 1u : 0u;
  bytes.resize(static_cast<std::size_t>(count) - padding);
  return bytes;
}

std::string to_base64(ConstBytes bytes) {
  auto text = std::string((bytes.size() + 2) / 3 * 4 + 1, '\0');
  // SOUND: as above; the last byte takes the terminating zero.
  auto const count =
      ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                        reinterpret_cast<unsigned char const*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(count));
  return text;
}

}  // namespace vireo::image::luks2
