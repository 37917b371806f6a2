#include "image/vmdk/descriptor.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "image/vmdk/spec.h"

namespace vireo::image::vmdk {
namespace {

constexpr std::string_view blanks{" \t\r"};

std::string_view trimmed(std::string_view text) {
  auto const first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}
std::string_view unquoted(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') return text.substr(1, text.size() - 2);
  return text;
}
bool same_word(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}
template <typename T>
bool parse_number(std::string_view text, T& value, int radix) {
  auto const end = text.data() + text.size();
  auto const result = std::from_chars(text.data(), end, value, radix);
  return result.ec == std::errc{} && result.ptr == end;
}

/// Takes a word, or a text in quotation marks, from the front.
std::string_view take_word(std::string_view& line) {
  line = trimmed(line);
  auto const quoted = line.starts_with('"');
  auto const end = quoted ? line.find('"', 1) : line.find_first_of(blanks);
  auto const word = end == std::string_view::npos ? line : line.substr(0, quoted ? end + 1 : end);
  line.remove_prefix(word.size());
  return word;
}

struct Parser {
  std::string_view where;
  u64 number{};

  std::unexpected<Error> corrupt(std::string_view what) const {
    return fail(Errc::corrupt, fmt::format("{}: VMDK descriptor, line {}: {}", where, number, what));
  }

  Result<> field(Descriptor& result, std::string_view key, std::string_view value) const {
    if (same_word(key, "version")) {
      auto version = 0u;
      if (!parse_number(value, version, 10) || version < 1 || version > 4) {
        return fail(Errc::unsupported,
                    fmt::format("{}: VMDK descriptor, line {}: version {}", where, number, value));
      }
    }
    if (same_word(key, "CID")) {
      if (!parse_number(value, result.cid, 16)) return corrupt(fmt::format("CID {}", value));
      result.has_cid = true;
    }
    if (same_word(key, "parentCID") && !parse_number(value, result.parent_cid, 16)) {
      return corrupt(fmt::format("parentCID {}", value));
    }
    if (same_word(key, "createType")) result.create_type = unquoted(value);
    if (same_word(key, "parentFileNameHint")) result.parent_hint = unquoted(value);
    return {};
  }

  Result<ExtentLine> extent(ExtentLine::Access access, std::string_view line) const {
    auto result = ExtentLine{.access = access};
    auto const sectors = take_word(line);
    if (!parse_number(sectors, result.sectors, 10) || result.sectors == 0 ||
        result.sectors > largest_capacity) {
      return corrupt(fmt::format("an extent of {} sectors", sectors));
    }
    result.type = take_word(line);
    std::ranges::transform(result.type, result.type.begin(),
                           [](unsigned char each) { return static_cast<char>(std::toupper(each)); });
    if (result.type == "ZERO") return result;
    auto const file = take_word(line);
    if (file.size() < 3 || file.front() != '"' || file.back() != '"') {
      return corrupt(fmt::format("an extent's file name {}", file));
    }
    result.file = unquoted(file);
    if (result.file.find('\0') != std::string::npos) return corrupt("an extent's file name holds a zero byte");
    auto const offset = take_word(line);
    if (!offset.empty() && (!parse_number(offset, result.offset, 10) || result.offset > largest_capacity)) {
      return corrupt(fmt::format("an extent's offset {}", offset));
    }
    return result;
  }
};

}  // namespace

Result<Descriptor> parse_descriptor(std::string_view where, std::string_view text) {
  auto result = Descriptor{.parent_cid = no_parent};
  auto parser = Parser{.where = where};
  text = text.substr(0, text.find('\0'));  // padding
  while (!text.empty()) {
    auto const end = std::min(text.find('\n'), text.size());
    auto line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    ++parser.number;
    if (line.empty() || line.front() == '#') continue;
    auto rest = line;
    auto const word = take_word(rest);
    auto const is_extent = word == "RW" || word == "RDONLY" || word == "NOACCESS";
    if (is_extent) {
      if (result.extents.size() == most_extents) {
        return parser.corrupt(fmt::format("more than {} extents", most_extents));
      }
      using enum ExtentLine::Access;
      auto const access = word == "RW" ? read_write : word == "RDONLY" ? read_only : none;
      result.extents.push_back(TRY(parser.extent(access, rest)));
      continue;
    }
    auto const equals = line.find('=');
    if (equals == std::string_view::npos) return parser.corrupt("neither a field nor an extent");
    TRY(parser.field(result, trimmed(line.substr(0, equals)), trimmed(line.substr(equals + 1))));
  }
  return result;
}

std::string descriptor_text(DescriptorFields const& fields) {
  auto text = std::string{"# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\n"};
  text += fmt::format("CID={:08x}\nparentCID={:08x}\ncreateType=\"{}\"\n", fields.cid, fields.parent_cid,
                      fields.create_type);
  if (!fields.parent_hint.empty()) text += fmt::format("parentFileNameHint=\"{}\"\n", fields.parent_hint);
  text += "\n# Extent description\n";
  for (auto const& extent : fields.extents) {
    text += fmt::format("RW {} {} \"{}\"", extent.sectors, extent.type, extent.file);
    text += extent.type == "FLAT" ? fmt::format(" {}\n", extent.offset) : "\n";
  }
  auto const ide = fields.adapter == "ide";
  auto const heads = ide ? u64{16} : u64{255};
  auto const cylinders = fields.sectors / (heads * 63);
  text += fmt::format(
      "\n# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"{}\"\n"
      "ddb.geometry.heads = \"{}\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"{}\"\n",
      ide ? std::min<u64>(cylinders, 16383) : std::min<u64>(cylinders, 65535), heads, fields.adapter);
  return text;
}

Result<std::string> read_descriptor(Storage const& storage, DescriptorPlace const& place) {
  auto text = std::string(place.length, '\0');
  TRY(storage.read(place.offset, std::as_writable_bytes(std::span{text})));
  text.resize(std::min(text.find('\0'), text.size()));
  return text;
}

Result<> write_cid(Storage const& storage, DescriptorPlace const& place, u32 cid) {
  auto const text = TRY(read_descriptor(storage, place));
  for (auto at = std::size_t{0}; at < text.size();) {
    auto const end = std::min(text.find('\n', at), text.size());
    auto const line = std::string_view{text}.substr(at, end - at);
    auto const equals = line.find('=');
    if (equals != std::string_view::npos && same_word(trimmed(line.substr(0, equals)), "CID")) {
      auto const value = trimmed(line.substr(equals + 1));
      auto const fresh = fmt::format("{:0{}x}", cid, value.size());
      if (value.size() < 8 || fresh.size() != value.size()) return {};
      auto const value_at = static_cast<u64>(value.data() - text.data());
      TRY(storage.write(place.offset + value_at, std::as_bytes(std::span{fresh})));
      return storage.sync();
    }
    at = end + 1;
  }
  return {};
}

u32 random_cid() {
  auto cid = u32{0};
  static_cast<void>(::getrandom(&cid, sizeof cid, 0));
  return std::min(cid, no_parent - 2);  // ffffffff: no parent; fffffffe: reserved
}

}  // namespace vireo::image::vmdk
