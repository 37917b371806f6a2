#pragma once

#include <string>
#include <vector>

#include "image/cache_mode.h"
#include "image/nbd/server.h"
#include "vocab/result.h"

namespace vireo::cli {

/// A disk to serve over NBD, as both `vireo export` and qemu-nbd's options describe it.
struct ServeRequest {
  std::string path{};
  std::string format{};  // empty: by content
  std::string snapshot{};
  bool read_only{};
  bool temporary{};  // writes go to an overlay that is gone at the end
  bool follow_references{};
  image::CacheMode cache{image::CacheMode::writeback};

  std::string tcp{};  // ADDRESS:PORT
  std::string unix_path{};
  std::string name{};
  std::string description{};
  std::vector<std::string> bitmaps{};  // clients may ask for them
  u64 offset{};
  image::nbd::ServerSettings settings{};
  std::string tls_folder{};
  bool tls_any_client{};

  bool fork{};  // the caller goes on once clients can connect
  std::string pid_file{};
  bool announce{};  // tells the address on stdout
};

/// Returns when the server has ended; with `fork`, in the child alone.
Result<> serve_disk(ServeRequest const& request);

}  // namespace vireo::cli
