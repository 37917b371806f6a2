#include "image/key_ring.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "host/file.h"

namespace vireo::image {
namespace {

struct Ring {
  std::mutex mutex;
  std::vector<std::string> passphrases;
  std::map<std::string, std::string> by_id;
};
Ring& ring() {
  static auto the_ring = Ring{};
  return the_ring;
}

}  // namespace

void offer_passphrase(std::string passphrase, std::string const& id) {
  auto const lock = std::lock_guard{ring().mutex};
  if (!id.empty()) ring().by_id[id] = passphrase;
  auto& all = ring().passphrases;
  if (std::ranges::find(all, passphrase) == all.end()) all.push_back(std::move(passphrase));
}

std::vector<std::string> offered_passphrases() {
  auto const lock = std::lock_guard{ring().mutex};
  return ring().passphrases;
}

Result<> offer_key_file(std::string const& path, std::string const& id) {
  offer_passphrase(TRY(host::read_text(path, 512 * 1024)), id);
  return {};
}

Result<std::string> passphrase_for_new(std::string const& id) {
  auto const lock = std::lock_guard{ring().mutex};
  auto const found = ring().by_id.find(id);
  if (found != ring().by_id.end()) return found->second;
  if (!id.empty()) return fail(Errc::invalid, "no secret with id '" + id + "'");
  auto const& all = ring().passphrases;
  if (all.size() == 1) return all.front();
  return fail(Errc::invalid, all.empty() ? "a new encrypted image needs a passphrase: --key-file FILE"
                                         : "a new encrypted image takes one passphrase");
}

void forget_passphrases() {
  auto const lock = std::lock_guard{ring().mutex};
  for (auto& each : ring().passphrases) ::OPENSSL_cleanse(each.data(), each.size());
  for (auto& [id, each] : ring().by_id) ::OPENSSL_cleanse(each.data(), each.size());
  ring().passphrases.clear();
  ring().by_id.clear();
}

}  // namespace vireo::image
