#include "image/backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "image/http/http_backend.h"
#include "image/iscsi/iscsi_backend.h"
#include "image/nbd/nbd_backend.h"
#include "image/nfs/nfs_backend.h"
#include "image/rbd/rbd_backend.h"

namespace vireo::image {
namespace {

struct Scheme {
  std::string_view name;
  Result<std::unique_ptr<Backend>> (*open)(std::string const& url, bool writable);
  Result<std::unique_ptr<Backend>> (*create)(std::string const& url){};
  Result<> (*remove)(std::string const& url){};
};
constexpr auto schemes = std::to_array<Scheme>({
    {"http", http::HttpBackend::open},
    {"https", http::HttpBackend::open},
    {"nbd", nbd::open_nbd},
    {"nbds", nbd::open_nbd},
    {"nbd+unix", nbd::open_nbd},
    {"nbds+unix", nbd::open_nbd},
    {"iscsi", iscsi::IscsiBackend::open},
    {"nfs", nfs::NfsBackend::open, nfs::NfsBackend::create, nfs::NfsBackend::remove},
    {"rbd", rbd::open_rbd, rbd::create_rbd, rbd::remove_rbd},
});

std::string_view scheme_of(std::string_view path) {
  if (path.starts_with("rbd:")) return path.substr(0, 3);  // as QEMU names them
  auto const end = path.find("://");
  auto const name = end == std::string_view::npos ? std::string_view{} : path.substr(0, end);
  auto const part_of_name = [](char each) { return (each >= 'a' && each <= 'z') || each == '+'; };
  return std::ranges::all_of(name, part_of_name) ? name : std::string_view{};
}

Result<Scheme const*> scheme_for(std::string const& url) {
  auto const found = std::ranges::find(schemes, scheme_of(url), &Scheme::name);
  if (found != schemes.end()) return found;
  auto names = std::string{};
  for (auto const& each : schemes)
    names += fmt::format("{}{}:{}", names.empty() ? "" : ", ", each.name, each.name == "rbd" ? "" : "//");
  return fail(Errc::unsupported, fmt::format("{}: disks are reached by {} or as files", url, names));
}

}  // namespace

Result<> Backend::truncate(u64) { return fail(Errc::unsupported, "keeps its size"); }
Result<> Backend::lock(bool) { return {}; }

bool is_url(std::string_view path) { return !scheme_of(path).empty(); }

std::string name_beside(std::string const& image, std::string const& name) {
  return is_url(name) ? name : (std::filesystem::path{image}.parent_path() / name).string();
}

Result<std::unique_ptr<Backend>> open_backend(std::string const& url, bool writable) {
  return TRY(scheme_for(url))->open(url, writable);
}

bool holds_files(std::string_view url) {
  auto const found = std::ranges::find(schemes, scheme_of(url), &Scheme::name);
  return found != schemes.end() && found->create != nullptr;
}

Result<std::unique_ptr<Backend>> create_backend(std::string const& url) {
  auto const* const scheme = TRY(scheme_for(url));
  if (scheme->create != nullptr) return scheme->create(url);
  return fail(Errc::unsupported, fmt::format("{}: nothing can be made there, only written into", url));
}

Result<> remove_backend(std::string const& url) {
  auto const* const scheme = TRY(scheme_for(url));
  return scheme->remove != nullptr ? scheme->remove(url) : Result<>{};
}

}  // namespace vireo::image
