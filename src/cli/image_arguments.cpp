#include "cli/image_arguments.h"

#include <fmt/format.h>

#include <map>
#include <optional>

#include "image/key_ring.h"

namespace vireo::cli {
namespace {

using Options = std::map<std::string, std::string>;

Result<> take_object(std::string const& text) {
  auto options = Options{};
  TRY(add_options(options, text));
  if (!options.contains("secret") && options["qom-type"] != "secret")
    return fail(Errc::unsupported, fmt::format("--object {}: only secret is known", text));
  auto const given = [&](std::string const& name) {
    auto const found = options.find(name);
    return found == options.end() ? std::optional<std::string>{} : found->second;
  };
  auto const format = given("format").value_or("raw");
  if (format != "raw" || given("keyid"))
    return fail(Errc::unsupported, "--object secret: format=raw alone, and no keyid");
  auto const id = given("id").value_or("");
  if (auto const data = given("data")) {
    image::offer_passphrase(*data, id);
    return {};
  }
  if (auto const file = given("file")) return image::offer_key_file(*file, id);
  return fail(Errc::invalid, "--object secret: data=TEXT or file=FILE");
}

struct Source {
  std::string format;
  std::string name;
};
/// "driver=qcow2,file.filename=a.qcow2", also with an NBD server below.
Result<Source> read_image_options(std::string const& text) {
  auto options = Options{};
  TRY(add_options(options, text));
  auto const take = [&](std::string const& name) {
    auto node = options.extract(name);
    return node ? node.mapped() : std::string{};
  };
  auto source = Source{.format = take("driver"), .name = {}};
  auto const plain = source.format == "file" || source.format == "host_device" || source.format == "nbd";
  auto const prefix = std::string{plain ? "" : "file."};
  auto const below = plain ? source.format : take("file.driver");
  if (plain) source.format = "raw";
  source.name = take(prefix + "filename");
  if (source.name.empty() && prefix == "file.") source.name = take("filename");
  if (below == "nbd") {
    auto const where = take(prefix + "export");
    auto const socket = take(prefix + "server.path") + take(prefix + "path");
    auto const host = take(prefix + "server.host") + take(prefix + "host");
    auto const port = take(prefix + "server.port") + take(prefix + "port");
    take(prefix + "server.type");
    source.name = !socket.empty() ? fmt::format("nbd+unix:///{}?socket={}", where, socket)
                                  : fmt::format("nbd://{}:{}/{}", host, port.empty() ? "10809" : port, where);
  }
  // Every secret is tried.
  for (auto const* name :
       {"key-secret", "encrypt.key-secret", "encrypt.format", "read-only", "file.locking", "locking"})
    take(name);
  if (source.name.empty()) return fail(Errc::invalid, fmt::format("{}: names no file", text));
  if (!options.empty())
    return fail(Errc::unsupported, fmt::format("--image-opts: '{}' is not known", options.begin()->first));
  return source;
}

}  // namespace

Result<ImageArguments> ImageArguments::take(Arguments arguments) {
  auto taken = ImageArguments{};
  auto image_options = false;
  for (auto index = std::size_t{0}; index < arguments.size(); ++index) {
    auto const word = std::string{arguments[index]};
    auto const value_of = [&](std::string const& name) -> std::optional<std::string> {
      if (word.starts_with(name + "=")) return word.substr(name.size() + 1);
      if (word != name || index + 1 >= arguments.size()) return std::nullopt;
      return std::string{arguments[++index]};
    };
    if (word == "--image-opts") {
      image_options = true;
    } else if (auto const object = value_of("--object")) {
      TRY(take_object(*object));
    } else if (auto const file = value_of("--key-file")) {
      TRY(image::offer_key_file(*file));
    } else if (auto const fresh = value_of("--new-key-file")) {
      TRY(image::offer_key_file(*fresh, image::new_key_id));
    } else {
      taken.words_.push_back(word);
    }
  }
  auto sources = 0;
  for (auto index = std::size_t{0}; image_options && index < taken.words_.size(); ++index) {
    auto const word = taken.words_[index];
    auto const is_value = index != 0 && taken.words_[index - 1].starts_with("-o");
    if (is_value || word.starts_with("-") || word.find("filename=") == std::string::npos) {
      if (word.find("server.path=") == std::string::npos && word.find("server.host=") == std::string::npos)
        continue;
    }
    auto const source = TRY(read_image_options(word));
    taken.words_[index] = source.name;
    if (source.format.empty()) continue;
    taken.words_.insert(taken.words_.begin(), {sources++ == 0 ? "-f" : "-F", source.format});
    index += 2;
  }
  return taken;
}

std::vector<char const*> ImageArguments::rest() const {
  auto pointers = std::vector<char const*>{};
  for (auto const& word : words_) pointers.push_back(word.c_str());
  return pointers;
}

}  // namespace vireo::cli
