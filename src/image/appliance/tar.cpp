#include "image/appliance/tar.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <set>

#include "vocab/bytes.h"
#include "vocab/numbers.h"

// POSIX.1-1988 "ustar", POSIX.1-2001 pax records, GNU tar's 'L' names and numbers to the base 256.
namespace vireo::image::appliance {
namespace {

constexpr u64 block{512};
constexpr std::size_t most_members{1024};
constexpr u64 longest_extension{64 * KiB};
constexpr u64 largest_octal{(u64{1} << 33) - 1};

namespace at {
constexpr std::size_t name{0}, mode{100}, owner{108}, group{116}, size{124}, time{136}, sum{148}, type{156},
    magic{257}, prefix{345};
}
constexpr std::size_t name_bytes{100}, size_bytes{12}, sum_bytes{8}, prefix_bytes{155};

std::unexpected<Error> corrupt(u64 where, std::string_view what) {
  return fail(Errc::corrupt, fmt::format("tar: offset {:#x}: {}", where, what));
}

// SOUND: bytes seen as characters, inside of the head.
std::string_view text_at(ConstBytes head, std::size_t from, std::size_t longest) {
  auto const all = std::string_view{reinterpret_cast<char const*>(head.data()) + from, longest};
  return all.substr(0, all.find('\0'));
}

std::optional<u64> octal(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  auto value = u64{0};
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<u64> size_of(ConstBytes head) {
  auto const first = std::to_integer<unsigned>(head[at::size]);
  if ((first & 0x80) == 0) return octal(text_at(head, at::size, size_bytes));
  auto const high = head.subspan(at::size + 1, 3);
  auto const nothing_above =
      first == 0x80 && std::ranges::all_of(high, [](std::byte b) { return b == std::byte{0}; });
  auto const value = load_be<u64>(head.data() + at::size + 4);
  return nothing_above && value < u64{1} << 60 ? std::optional{value} : std::nullopt;
}

u64 sum_of(ConstBytes head) {
  auto sum = u64{0};
  for (auto index = std::size_t{0}; index < head.size(); ++index) {
    auto const in_sum = index >= at::sum && index < at::sum + sum_bytes;
    sum += in_sum ? u64{' '} : std::to_integer<u64>(head[index]);
  }
  return sum;
}

struct Extension {
  std::string name{};
  std::optional<u64> bytes{};
};

/// pax: "LENGTH KEY=VALUE\n".
bool read_pax(std::string_view text, Extension& extension) {
  while (!text.empty()) {
    auto length = std::size_t{0};
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    auto const digits = static_cast<std::size_t>(end - text.data());
    if (error != std::errc{} || length <= digits + 1 || length > text.size() || text[length - 1] != '\n')
      return false;
    auto const record = text.substr(digits + 1, length - digits - 2);
    text.remove_prefix(length);
    auto const equals = record.find('=');
    if (equals == std::string_view::npos) return false;
    auto const value = record.substr(equals + 1);
    if (record.starts_with("path=")) extension.name = value;
    if (!record.starts_with("size=")) continue;
    auto number = u64{0};
    auto const parsed = std::from_chars(value.data(), value.data() + value.size(), number);
    if (parsed.ec != std::errc{} || parsed.ptr != value.data() + value.size()) return false;
    extension.bytes = number;
  }
  return true;
}

class Reader {
 public:
  Reader(ReadAt const& read, u64 bytes) : read_{read}, bytes_{bytes} {}

  Result<std::vector<TarMember>> run() {
    auto head = std::vector<std::byte>(block);
    while (bytes_ - at_ >= block) {
      TRY(read_(at_, head));
      if (std::ranges::all_of(head, [](std::byte b) { return b == std::byte{0}; })) break;
      if (octal(text_at(head, at::sum, sum_bytes)) != sum_of(head)) return corrupt(at_, "no tar header");
      auto const size = size_of(head);
      if (!size) return corrupt(at_, "a size that is no number");
      TRY(take(head, *size));
      if (++heads_ > 4 * most_members) return corrupt(at_, "too many headers");
    }
    return std::move(members_);
  }

 private:
  Result<> take(ConstBytes head, u64 size) {
    auto const type = static_cast<char>(head[at::type]);
    auto const is_file = type == '0' || type == '\0' || type == '7';
    auto const bytes = is_file ? extension_.bytes.value_or(size) : size;
    auto const from = at_ + block;
    if (bytes > bytes_ - from) return corrupt(at_, "a member that ends behind the file");
    auto const next = std::min(bytes_, from + align_up(bytes, block));
    if (type == 'x' || type == 'L') TRY(extend(type, from, bytes));
    if (is_file) TRY(add(head, from, bytes));
    if (is_file || type == '5') extension_ = {};
    auto const known = is_file || type == 'x' || type == 'L' || type == 'g' || type == '5';
    if (!known) return corrupt(at_, fmt::format("a link, device or other kind of member ({})", int{type}));
    at_ = next;
    return {};
  }
  Result<> extend(char type, u64 from, u64 bytes) {
    if (bytes > longest_extension) return corrupt(at_, "a long extended header");
    auto text = std::string(bytes, '\0');
    TRY(read_(from, std::as_writable_bytes(std::span{text})));
    if (type == 'L') extension_.name = text.substr(0, text.find('\0'));
    if (type == 'x' && !read_pax(text, extension_)) return corrupt(at_, "a wrong extended header");
    return {};
  }
  Result<> add(ConstBytes head, u64 from, u64 bytes) {
    auto name = extension_.name;
    if (name.empty()) {
      auto const prefix = text_at(head, at::prefix, prefix_bytes);
      auto const is_ustar = text_at(head, at::magic, 5) == "ustar";
      name = text_at(head, at::name, name_bytes);
      if (is_ustar && !prefix.empty() && text_at(head, at::magic, 8) != "ustar  ")
        name = fmt::format("{}/{}", prefix, name);
    }
    if (name.starts_with("./")) name.erase(0, 2);
    if (!is_plain_name(name)) return corrupt(at_, fmt::format("the name {:.100} leads elsewhere", name));
    if (!names_.insert(name).second) return corrupt(at_, fmt::format("{} comes twice", name));
    if (members_.size() == most_members) return corrupt(at_, "too many members");
    members_.push_back({name, from, bytes});
    return {};
  }

  ReadAt const& read_;
  u64 bytes_;
  u64 at_{};
  std::size_t heads_{};
  Extension extension_{};
  std::vector<TarMember> members_{};
  std::set<std::string> names_{};
};

}  // namespace

bool is_plain_name(std::string_view name) {
  auto const printable = std::ranges::all_of(name, [](char c) {
    auto const code = static_cast<unsigned char>(c);
    return code >= 0x20 && code != 0x7f && c != '/' && c != '\\';
  });
  return !name.empty() && name.size() <= 255 && printable && name != "." && name != "..";
}

Result<std::vector<TarMember>> read_tar(ReadAt const& read, u64 bytes) { return Reader{read, bytes}.run(); }

Result<TarWriter> TarWriter::create(std::string const& path) {
  return TarWriter{TRY(host::File::open(path, {.write = true, .create = true, .exclusive = true}))};
}

Result<> TarWriter::begin(std::string const& name, u64 bytes) {
  if (!is_plain_name(name) || name.size() > name_bytes)
    return fail(Errc::invalid, fmt::format("tar: the name {} cannot be a member's", name));
  auto head = std::vector<std::byte>(block);
  auto const put = [&](std::size_t where, std::string_view text) {
    std::memcpy(head.data() + where, text.data(), text.size());
  };
  put(at::name, name);
  put(at::mode, "0000644");
  put(at::owner, "0000000");
  put(at::group, "0000000");
  put(at::time, "00000000000");
  if (bytes <= largest_octal) put(at::size, fmt::format("{:011o}", bytes));
  if (bytes > largest_octal) {
    head[at::size] = std::byte{0x80};
    store_be<u64>(head.data() + at::size + 4, bytes);
  }
  put(at::type, "0");
  put(at::magic, std::string_view{"ustar\00000", 8});
  put(at::sum, fmt::format("{:06o}", sum_of(head)));
  head[at::sum + 7] = std::byte{' '};
  TRY(file_.write(at_, head));
  at_ += block;
  left_ = bytes;
  return {};
}

Result<> TarWriter::add(ConstBytes part) {
  if (part.size() > left_) return fail(Errc::invalid, "tar: more bytes than were said");
  TRY(file_.write(at_, part));
  at_ += part.size();
  left_ -= part.size();
  if (left_ == 0) at_ = align_up(at_, block);
  return {};
}

Result<> TarWriter::finish() {
  constexpr auto record = u64{20} * block;
  TRY(file_.truncate(align_up(at_ + 2 * block, record)));
  return file_.sync();
}

}  // namespace vireo::image::appliance
