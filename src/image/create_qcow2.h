#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::image {

struct Backing {
  std::string path;         // as written into the image: relative paths count from the image's folder
  std::string_view format;  // "raw", "qcow2"
};

struct Qcow2Options {
  Backing backing{};
  u32 cluster_bits{16};
  u32 version{3};         // 2: compat 0.10
  u32 refcount_order{4};  // counts of 2^this bits; version 2 has 16 of them
  bool lazy_refcounts{};
  bool zstd{};                           // how clusters will be compressed
  bool extended_l2{};                    // each cluster in 32 parts
  std::string data_file{};               // where the disk lies; as written into the image
  bool raw_data{};                       // and may be read there without the image
  std::vector<std::byte> luks_header{};  // encrypts the disk
  bool trust_backing{};                  // the backing file need not be there; `size` must then be given
};
Result<> create_qcow2_with(Qcow2Options const& options, std::string const& path, u64 size);

/// Makes an empty qcow2 (version 3) image of `size` bytes; 0 takes the backing file's size. A file of that name
/// must not exist (Errc::busy). cluster_bits: 9 to 21, 16 is the field's default.
Result<> create_qcow2(std::string const& path, u64 size, Backing const& backing = {}, u32 cluster_bits = 16);

}  // namespace vireo::image
