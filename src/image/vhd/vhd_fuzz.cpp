#include "image/fuzz_disk.h"

extern "C" int LLVMFuzzerTestOneInput(vireo::u8 const* data, std::size_t size) {
  return vireo::image::fuzz_disk(data, size, "vhd");
}
