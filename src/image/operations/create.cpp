#include "image/operations/create.h"

#include <fmt/format.h>

#include "image/formats.h"
#include "image/operations/preallocate.h"
#include "vocab/units.h"

namespace vireo::image {

Result<Preallocation> parse_preallocation(std::string_view word) {
  if (word == "off") return Preallocation::off;
  if (word == "metadata") return Preallocation::metadata;
  if (word == "falloc") return Preallocation::falloc;
  if (word == "full") return Preallocation::full;
  return fail(Errc::invalid, fmt::format("preallocation '{}': off, metadata, falloc or full", word));
}

std::string OptionReader::text(std::string const& name, std::string_view otherwise) {
  known_ += (known_.empty() ? "" : ", ") + name;
  auto const found = left_.extract(name);
  return found ? found.mapped() : std::string{otherwise};
}

Result<u64> OptionReader::size(std::string const& name, u64 otherwise) {
  auto const word = text(name, "");
  if (word.empty()) return otherwise;
  return TRY_IN(name, parse_size(word));
}

Result<bool> OptionReader::flag(std::string const& name, bool otherwise) {
  auto const word = text(name, otherwise ? "on" : "off");
  if (word == "on" || word == "true" || word == "yes") return true;
  if (word == "off" || word == "false" || word == "no") return false;
  return fail(Errc::invalid, fmt::format("{}: '{}' is neither on nor off", name, word));
}

Result<> OptionReader::finish() const {
  if (left_.empty()) return {};
  return fail(Errc::invalid,
              fmt::format("{}: format {} has no option '{}'; it has {}preallocation", request_.path,
                          request_.format, left_.begin()->first, known_.empty() ? "" : known_ + ", "));
}

Result<> create_image(CreateRequest const& request) {
  auto const* const format = find_format(request.format);
  if (format == nullptr) {
    return fail(Errc::invalid,
                fmt::format("image format '{}': raw, qcow2, vmdk, vhd, vhdx or vdi", request.format));
  }
  auto plain = request;
  if (auto const word = plain.options.extract("preallocation")) {
    plain.preallocation = TRY(parse_preallocation(word.mapped()));
  }
  TRY(format->create(plain));
  if (plain.preallocation == Preallocation::off) return {};
  auto const outcome = preallocate(plain.path, plain.format, 0, plain.preallocation);
  if (!outcome) Storage::remove(plain.path);
  return outcome;
}

}  // namespace vireo::image
