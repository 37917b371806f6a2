#include "image/operations/replace.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "host/system_error.h"
#include "image/formats.h"
#include "image/storage.h"

namespace vireo::image {
namespace {

std::string text_of(Description const& description, std::string_view key) {
  for (auto const& fact : description.facts) {
    if (fact.key != key) continue;
    if (auto const* const text = std::get_if<std::string>(&fact.value)) return *text;
    if (auto const* const number = std::get_if<u64>(&fact.value)) return fmt::format("{}", *number);
    if (auto const* const flag = std::get_if<bool>(&fact.value)) return *flag ? "on" : "off";
  }
  return {};
}

std::map<std::string, std::string> same_options(Description const& description) {
  auto options = std::map<std::string, std::string>{};
  auto const keep = [&](std::string const& option, std::string_view key) {
    if (auto text = text_of(description, key); !text.empty()) options[option] = std::move(text);
  };
  if (description.format == "qcow2") {
    options["cluster_size"] = fmt::format("{}", description.cluster);
    keep("compat", "compat");
    keep("refcount_bits", "refcount bits");
    keep("compression_type", "compression type");
    keep("lazy_refcounts", "lazy refcounts");
    keep("extended_l2", "extended l2");
  }
  if (description.format == "vmdk") keep("subformat", "create type");
  auto const has_blocks =
      description.format == "vdi" || description.format == "vhd" || description.format == "vhdx";
  if (has_blocks && description.cluster != 0) options["block_size"] = fmt::format("{}", description.cluster);
  return options;
}

}  // namespace

Result<Replacement> Replacement::begin(std::string const& path, Description const& description) {
  if (description.encrypted) {
    return fail(Errc::unsupported, fmt::format("{}: is encrypted, and is not made anew; convert it", path));
  }
  if (!description.data_file.empty()) {
    return fail(Errc::unsupported, fmt::format("{}: its disk lies in {}, and is not made anew; convert it",
                                               path, description.data_file));
  }
  if (description.files.size() > 1) {
    return fail(Errc::unsupported, fmt::format("{}: lies in {} files, and is not made anew; convert it", path,
                                               description.files.size()));
  }
  {  // nobody has it open
    auto const storage = TRY(Storage::open(path, true, CacheMode::writeback));
    TRY(storage.lock());
  }
  auto aside = path + ".vireo-old";
  if (std::filesystem::exists(aside)) {
    return fail(Errc::busy,
                fmt::format("{}: is there already, from an interrupted operation; compare it with {} and "
                            "remove one",
                            aside, path));
  }
  if (::rename(path.c_str(), aside.c_str()) != 0) return host::fail_errno(errno, path + ": rename");
  return Replacement{path, std::move(aside), description};
}

Replacement::~Replacement() {
  if (aside_.empty()) return;
  ::unlink(path_.c_str());
  static_cast<void>(::rename(aside_.c_str(), path_.c_str()));
}

Backing Replacement::same_backing() const {
  auto backing = Backing{.path = description_.backing_file, .format = description_.backing_format};
  // VDI and VHD do not hold the path; theirs is what was found.
  if (description_.format != "vdi" && description_.format != "vhd") return backing;
  auto failure = std::error_code{};
  backing.path = std::filesystem::absolute(description_.backing_path, failure).string();
  return backing;
}

Result<> Replacement::create(u64 bytes, Backing const& backing) const {
  return create_image({.path = path_,
                       .format = description_.format,
                       .bytes = bytes,
                       .backing = backing,
                       .options = same_options(description_)});
}

Result<> Replacement::finish() {
  ::unlink(aside_.c_str());
  aside_.clear();
  return {};
}

}  // namespace vireo::image
