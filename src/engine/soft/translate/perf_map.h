#pragma once

#include <cstdio>
#include <memory>

#include "vocab/integers.h"

namespace vireo::engine::soft::translate {

/// /tmp/perf-PID.map, which perf reads to name code that lies in no file: a line "address size name" for each
/// block, named by its guest address. Of a code cache that was dropped perf takes the last block of an address.
class PerfMap {
 public:
  PerfMap();  // opens the file when VIREO_PERF_MAP asks for it
  void add(u8 const* code, u32 bytes, u64 guest) {
    if (file_) [[unlikely]]
      write(code, bytes, guest);
  }

 private:
  void write(u8 const* code, u32 bytes, u64 guest);
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace vireo::engine::soft::translate
