#include "image/nbd/option_data.h"

namespace vireo::image::nbd {
namespace {

constexpr u32 most_queries{1024};

Result<> at_end(PacketReader const& reader) {
  if (reader.rest().empty()) return {};
  return fail(Errc::invalid, "nbd: an option is longer than what it says");
}

}  // namespace

Result<ConstBytes> PacketReader::take(std::size_t count) {
  if (count > left_.size()) return fail(Errc::invalid, "nbd: a message is shorter than what it says");
  auto const part = left_.first(count);
  left_ = left_.subspan(count);
  return part;
}

Result<std::string> PacketReader::text(std::size_t length) {
  if (length > longest_string) return fail(Errc::invalid, "nbd: a name is too long");
  auto const part = TRY(take(length));
  auto text = std::string(length, '\0');
  if (length != 0) std::memcpy(text.data(), part.data(), length);
  return text;
}

Result<std::string> PacketReader::string() { return text(TRY(number<u32>())); }

Result<ExportChoice> parse_export_choice(ConstBytes data) {
  auto reader = PacketReader{data};
  auto choice = ExportChoice{.name = TRY(reader.string()), .wanted = {}};
  auto const count = TRY(reader.number<u16>());
  for (auto each = 0; each < count; ++each) choice.wanted.push_back(TRY(reader.number<u16>()));
  TRY(at_end(reader));
  return choice;
}

Result<ContextChoice> parse_context_choice(ConstBytes data) {
  auto reader = PacketReader{data};
  auto choice = ContextChoice{.name = TRY(reader.string()), .queries = {}};
  auto const count = TRY(reader.number<u32>());
  if (count > most_queries) return fail(Errc::invalid, "nbd: too many questions at once");
  for (auto each = u32{0}; each < count; ++each) choice.queries.push_back(TRY(reader.string()));
  TRY(at_end(reader));
  return choice;
}

}  // namespace vireo::image::nbd
