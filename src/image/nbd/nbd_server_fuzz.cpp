#include "image/nbd/testing/memory_image.h"
#include "image/nbd/transmission.h"

// A hostile client: its bytes go through handshake and transmission. Any error is fine; crashes, hangs and
// unbounded memory are not.
namespace {

using namespace vireo;
using namespace vireo::image::nbd;

class ScriptedClient final : public Stream {
 public:
  explicit ScriptedClient(ConstBytes script) : script_{script} {}
  Result<std::size_t> read_some(Bytes into, u64) override {
    auto const part = script_.first(std::min(into.size(), script_.size()));
    std::ranges::copy(part, into.begin());
    script_ = script_.subspan(part.size());
    return part.size();
  }
  Result<std::size_t> write_some(ConstBytes first, ConstBytes second, u64) override {
    return first.size() + second.size();
  }
  void hang_up() override { script_ = {}; }

 private:
  ConstBytes script_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(u8 const* data, std::size_t size) {
  auto disk = MemoryImage{1 << 20};
  auto exports = std::vector<Export>(1);
  exports[0].image = &disk;
  exports[0].name = "d";
  exports[0].contexts.push_back({"qemu:dirty-bitmap:b", [](u64 at, u64 length) -> Result<Status> {
                                   return Status{std::min<u64>(length, 512 - at % 512),
                                                 static_cast<u32>(at / 512 % 2)};
                                 }});
  // SOUND: characters seen as bytes.
  auto const script = ConstBytes{reinterpret_cast<std::byte const*>(data), size};
  auto stream = std::unique_ptr<Stream>{std::make_unique<ScriptedClient>(script)};
  auto session = greet_client(stream, {.exports = exports}, never);
  if (session && *session) Transmission{*stream, **std::move(session), {.threads = 1}}.serve();
  // And as one that is past the handshake already.
  auto requests = ScriptedClient{script};
  Transmission{requests, {.served = exports.data(), .structured = true, .contexts = {0, 1}}, {.threads = 1}}
      .serve();
  return 0;
}
