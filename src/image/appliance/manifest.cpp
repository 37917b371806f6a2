#include "image/appliance/manifest.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "image/appliance/tar.h"

namespace vireo::image::appliance {

struct FileSum::Context {
  std::unique_ptr<EVP_MD_CTX, decltype(&::EVP_MD_CTX_free)> digest{::EVP_MD_CTX_new(), ::EVP_MD_CTX_free};
};

FileSum::FileSum(std::unique_ptr<Context> context) : context_{std::move(context)} {}
FileSum::FileSum(FileSum&&) noexcept = default;
FileSum::~FileSum() = default;

Result<FileSum> FileSum::create(std::string const& kind) {
  auto const* const known = kind == "SHA1"     ? ::EVP_sha1()
                            : kind == "SHA256" ? ::EVP_sha256()
                            : kind == "SHA512" ? ::EVP_sha512()
                                               : nullptr;
  if (known == nullptr) return fail(Errc::unsupported, fmt::format("sums of kind {} are not known", kind));
  auto context = std::make_unique<Context>();
  if (::EVP_DigestInit_ex(context->digest.get(), known, nullptr) != 1)
    return fail(Errc::io, "no sum can be made");
  return FileSum{std::move(context)};
}

Result<> FileSum::add(ConstBytes part) {
  if (::EVP_DigestUpdate(context_->digest.get(), part.data(), part.size()) == 1) return {};
  return fail(Errc::io, "no sum can be made");
}

Result<std::string> FileSum::finish() {
  auto bytes = std::array<unsigned char, EVP_MAX_MD_SIZE>{};
  auto count = 0u;
  if (::EVP_DigestFinal_ex(context_->digest.get(), bytes.data(), &count) != 1)
    return fail(Errc::io, "no sum can be made");
  auto text = std::string{};
  for (auto index = 0u; index < count; ++index) text += fmt::format("{:02x}", bytes[index]);
  return text;
}

Result<std::vector<ManifestLine>> parse_manifest(std::string_view text) {
  constexpr auto most_lines = std::size_t{4096};
  auto lines = std::vector<ManifestLine>{};
  for (auto number = 1; !text.empty(); ++number) {
    auto const end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (line.empty()) continue;
    auto const open = line.find('(');
    auto const close = line.rfind(")=");
    auto const shaped = open != std::string_view::npos && close != std::string_view::npos && open < close;
    if (!shaped || lines.size() == most_lines)
      return fail(Errc::corrupt, fmt::format("manifest, line {}: not SHA256(FILE)= SUM", number));
    auto sum = std::string{line.substr(close + 2)};
    sum.erase(0, sum.find_first_not_of(' '));
    for (auto& digit : sum) digit = digit >= 'A' && digit <= 'F' ? static_cast<char>(digit + 32) : digit;
    auto kind = std::string{line.substr(0, open)};
    std::erase(kind, ' ');
    std::erase(kind, '-');
    lines.push_back({kind, std::string{line.substr(open + 1, close - open - 1)}, std::move(sum)});
  }
  return lines;
}

std::string manifest_text(std::vector<ManifestLine> const& lines) {
  auto text = std::string{};
  for (auto const& each : lines) text += fmt::format("{}({})= {}\n", each.kind, each.file, each.sum);
  return text;
}

}  // namespace vireo::image::appliance
