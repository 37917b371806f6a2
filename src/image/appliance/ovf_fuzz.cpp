#include "image/appliance/manifest.h"
#include "image/appliance/ovf.h"

// A hostile descriptor or manifest: any error is fine. What is read can be written and read again.
extern "C" int LLVMFuzzerTestOneInput(vireo::u8 const* data, std::size_t size) {
  using namespace vireo;  // NOLINT: one program
  // SOUND: characters seen as text.
  auto const text = std::string_view{reinterpret_cast<char const*>(data), size};
  static_cast<void>(image::appliance::parse_manifest(text));
  auto const found = image::appliance::parse_ovf(text);
  if (!found) return 0;
  static_cast<void>(image::appliance::parse_ovf(image::appliance::write_ovf(*found)));
  return 0;
}
