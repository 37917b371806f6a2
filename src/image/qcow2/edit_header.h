#pragma once

#include <map>
#include <optional>
#include <vector>

#include "image/create_qcow2.h"
#include "image/qcow2/header.h"

namespace vireo::image::qcow2 {

/// What is to be different in the header's cluster; everything else stays.
struct HeaderEdit {
  std::optional<Backing> backing{};
  std::map<u32, std::optional<std::vector<std::byte>>> extensions{};  // by type; nothing: it goes
  std::optional<u32> version{};                                       // 2 becomes 3
  std::optional<u64> autoclear_features{};
  std::optional<u64> compatible_features{};
  std::optional<u64> incompatible_features{};
};
/// Written in one piece and stable on return. Nothing, or Errc::invalid when it does not fit.
Result<> edit_header(Storage const& storage, HeaderEdit const& edit);

/// An extension's content, if there is one of that type.
Result<std::optional<std::vector<std::byte>>> read_extension(Storage const& storage, Header const& header,
                                                             u32 type);

}  // namespace vireo::image::qcow2
