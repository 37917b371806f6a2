#include "image/luks2/header.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "image/luks2/spec.h"

namespace vireo::image::luks2 {
namespace {

struct Binary {
  Header header{};
  bool good{};
  std::string fault{};
};

std::string text_at(std::vector<std::byte> const& bytes, u64 at, u64 longest) {
  // SOUND: bytes seen as characters, inside of the binary header.
  auto const all = std::string_view{reinterpret_cast<char const*>(bytes.data()) + at, longest};
  return std::string{all.substr(0, all.find('\0'))};
}

Result<std::vector<std::byte>> checksum_of(std::string const& name, std::vector<std::byte> copy) {
  std::fill_n(copy.begin() + header_at::checksum, header_at::checksum_bytes, std::byte{});
  return luks::digest(name, copy);
}

bool has_magic(std::vector<std::byte> const& bytes, Copy copy) {
  auto const* const magic = copy == Copy::first ? first_magic : second_magic;
  return std::memcmp(bytes.data(), magic, sizeof first_magic) == 0 &&
         load_be<u16>(bytes.data() + header_at::version) == 2;
}

/// A copy at `at`; a fault is no error, since there is the other one.
Binary read_copy(luks::ReadHeader const& read, u64 room, u64 at, Copy copy) {
  auto const bad = [](std::string fault) { return Binary{.fault = std::move(fault)}; };
  auto bytes = std::vector<std::byte>(binary_bytes);
  if (room < binary_bytes || at > room - binary_bytes || !read(at, bytes)) return bad("outside the file");
  if (!has_magic(bytes, copy)) return bad("no magic number");
  auto const area = load_be<u64>(bytes.data() + header_at::area_bytes);
  if (area < smallest_area || area > largest_area || !std::has_single_bit(area) || area > room - at)
    return bad(fmt::format("{} bytes long", area));
  if (load_be<u64>(bytes.data() + header_at::offset) != at || (copy == Copy::second && at != area))
    return bad("made for another place");
  bytes.resize(area);
  if (!read(at, bytes)) return bad("cannot be read");
  auto const name = text_at(bytes, header_at::checksum_name, header_at::name_text);
  auto const sum = checksum_of(name, bytes);
  if (!sum) return bad("its checksum is of an unknown kind");
  if (!std::equal(sum->begin(), sum->end(), bytes.begin() + header_at::checksum))
    return bad("its checksum is wrong");
  auto header = Header{.area_bytes = area,
                       .sequence = load_be<u64>(bytes.data() + header_at::sequence),
                       .label = text_at(bytes, header_at::label, header_at::label_text),
                       .subsystem = text_at(bytes, header_at::subsystem, header_at::label_text),
                       .uuid = text_at(bytes, header_at::uuid, header_at::uuid_text),
                       .checksum = name,
                       .json = text_at(bytes, binary_bytes, area - binary_bytes)};
  return {.header = std::move(header), .good = true};
}

/// The second copy lies behind the first one, whose length may be lost.
Binary find_second(luks::ReadHeader const& read, u64 room) {
  auto best = Binary{.fault = "not found"};
  for (auto at = smallest_area; at <= largest_area && !best.good; at *= 2) {
    auto each = read_copy(read, room, at, Copy::second);
    if (each.good || each.fault != "no magic number") best = std::move(each);
  }
  return best;
}

}  // namespace

bool is_header(luks::ReadHeader const& read, u64 room) {
  auto bytes = std::vector<std::byte>(binary_bytes);
  if (room < binary_bytes || !read(0, bytes)) return false;
  if (has_magic(bytes, Copy::first)) return true;
  return std::memcmp(bytes.data(), first_magic, sizeof first_magic) != 0 && find_second(read, room).good;
}

Result<Header> read_header(luks::ReadHeader const& read, u64 room) {
  auto first = read_copy(read, room, 0, Copy::first);
  auto second =
      first.good ? read_copy(read, room, first.header.area_bytes, Copy::second) : find_second(read, room);
  if (!first.good && !second.good) {
    return fail(Errc::corrupt,
                fmt::format("LUKS2 header: the first copy: {}; the second: {}", first.fault, second.fault));
  }
  auto const second_is_newer = second.good && (!first.good || second.header.sequence > first.header.sequence);
  auto const older = first.good && second.good && second.header.sequence != first.header.sequence;
  auto header = second_is_newer ? std::move(second.header) : std::move(first.header);
  header.first_fault = first.good ? "" : first.fault;
  header.second_fault = second.good ? "" : second.fault;
  if (older) (second_is_newer ? header.first_fault : header.second_fault) = "older than the other";
  header.metadata = TRY(parse_metadata(header.json, header.area_bytes));
  if (header.metadata.segment.start > room)
    return fail(Errc::corrupt,
                fmt::format("LUKS2 header: the disk at offset {:#x}", header.metadata.segment.start));
  return header;
}

Result<std::vector<std::byte>> encode_header(Header const& header, Copy copy) {
  auto bytes = std::vector<std::byte>(header.area_bytes);
  if (header.json.size() >= header.area_bytes - binary_bytes)
    return fail(Errc::no_space, "LUKS2 header: no room for its JSON");
  auto* const data = bytes.data();
  auto const put = [&](u64 at, std::string const& text, u64 longest) {
    std::memcpy(data + at, text.data(), std::min<u64>(text.size(), longest - 1));
  };
  std::memcpy(data, copy == Copy::first ? first_magic : second_magic, sizeof first_magic);
  store_be<u16>(data + header_at::version, 2);
  store_be<u64>(data + header_at::area_bytes, header.area_bytes);
  store_be<u64>(data + header_at::sequence, header.sequence);
  put(header_at::label, header.label, header_at::label_text);
  put(header_at::checksum_name, header.checksum, header_at::name_text);
  TRY(luks::fill_random(Bytes{bytes}.subspan(header_at::salt, header_at::salt_bytes)));
  put(header_at::uuid, header.uuid, header_at::uuid_text);
  put(header_at::subsystem, header.subsystem, header_at::label_text);
  store_be<u64>(data + header_at::offset, copy == Copy::first ? 0 : header.area_bytes);
  put(binary_bytes, header.json, header.area_bytes - binary_bytes);
  auto const sum = TRY(checksum_of(header.checksum, bytes));
  std::ranges::copy(sum, bytes.begin() + header_at::checksum);
  return bytes;
}

Result<> write_header(Storage const& storage, Header& header) {
  ++header.sequence;
  auto const first = TRY(encode_header(header, Copy::first));
  auto const second = TRY(encode_header(header, Copy::second));
  // While a copy is being written the other one is whole.
  auto const second_first = !header.second_fault.empty();
  if (second_first) {
    TRY(storage.write(header.area_bytes, second));
    TRY(storage.sync());
  }
  TRY(storage.write(0, first));
  TRY(storage.sync());
  header.first_fault.clear();
  header.second_fault.clear();
  if (second_first) return {};
  TRY(storage.write(header.area_bytes, second));
  return storage.sync();
}

}  // namespace vireo::image::luks2
