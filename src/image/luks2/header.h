#pragma once

#include <string>

#include "image/luks/volume.h"
#include "image/luks2/metadata.h"
#include "image/storage.h"

namespace vireo::image::luks2 {

/// The header in front of a disk: of its two copies the newer whole one.
struct Header {
  u64 area_bytes{};  // of one copy
  u64 sequence{};
  std::string label{};
  std::string subsystem{};
  std::string uuid{};
  std::string checksum{"sha256"};
  std::string json{};
  Metadata metadata{};
  std::string first_fault{};  // why a copy was not taken; empty: it is whole
  std::string second_fault{};
};

/// Whether there is a header of version 2, be it only its second copy.
bool is_header(luks::ReadHeader const& read, u64 room);
/// `room`: how many bytes there are. Errors name the field.
Result<Header> read_header(luks::ReadHeader const& read, u64 room);

/// One copy, complete with its own salt and checksum. Errc::no_space when the JSON does not fit.
enum class Copy : u8 { first, second };
Result<std::vector<std::byte>> encode_header(Header const& header, Copy copy);
/// Writes both copies with the next sequence number, one after the other, each on stable storage.
Result<> write_header(Storage const& storage, Header& header);

}  // namespace vireo::image::luks2
