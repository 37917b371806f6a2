#pragma once

#include "vocab/integers.h"

// The NBD protocol, proto.md of the NetworkBlockDevice project; all numbers on the wire are big-endian.
namespace vireo::image::nbd {

inline constexpr u64 init_magic{0x4e42444d41474943};    // "NBDMAGIC"
inline constexpr u64 option_magic{0x49484156454f5054};  // "IHAVEOPT"
inline constexpr u64 option_reply_magic{0x3e889045565a9};
inline constexpr u32 request_magic{0x25609513};
inline constexpr u32 simple_reply_magic{0x67446698};
inline constexpr u32 chunk_magic{0x668e33ef};

inline constexpr u16 default_port{10809};
inline constexpr u32 longest_string{4096};
inline constexpr u32 largest_option{64 * 1024};
inline constexpr u32 largest_payload{32 * 1024 * 1024};
inline constexpr u32 request_bytes{28};
inline constexpr u32 simple_reply_bytes{16};
inline constexpr u32 chunk_header_bytes{20};

namespace handshake_flag {
inline constexpr u16 fixed_newstyle{1}, no_zeroes{2};
}
enum class Option : u32 {
  export_name = 1,
  abort = 2,
  list = 3,
  starttls = 5,
  info = 6,
  go = 7,
  structured_reply = 8,
  list_meta_context = 9,
  set_meta_context = 10,
};
enum class OptionReply : u32 {
  ack = 1,
  server = 2,
  info = 3,
  meta_context = 4,
  err_unsup = 0x80000001,
  err_policy = 0x80000002,
  err_invalid = 0x80000003,
  err_tls_reqd = 0x80000005,
  err_unknown = 0x80000006,
  err_too_big = 0x80000009,
};
inline constexpr u32 option_error{0x80000000};
enum class Info : u16 { export_ = 0, name = 1, description = 2, block_size = 3 };

namespace transmission_flag {
inline constexpr u16 has_flags{1}, read_only{2}, send_flush{4}, send_fua{8}, send_trim{32},
    send_write_zeroes{64}, send_df{128}, can_multi_conn{256};
}
enum class Command : u16 {
  read = 0,
  write = 1,
  disconnect = 2,
  flush = 3,
  trim = 4,
  write_zeroes = 6,
  block_status = 7,
};
namespace command_flag {
inline constexpr u16 fua{1}, no_hole{2}, df{4}, req_one{8};
}
enum class Chunk : u16 {
  none = 0,
  offset_data = 1,
  offset_hole = 2,
  block_status = 5,
  error = 0x8001,
  error_offset = 0x8002,
};
inline constexpr u16 chunk_done{1};
inline constexpr u16 chunk_is_error{0x8000};
namespace state_flag {  // of base:allocation
inline constexpr u32 hole{1}, zero{2};
}
inline constexpr char const* base_allocation{"base:allocation"};

namespace error_number {
inline constexpr u32 eperm{1}, eio{5}, enomem{12}, einval{22}, enospc{28}, eoverflow{75}, enotsup{95},
    eshutdown{108};
}

}  // namespace vireo::image::nbd
