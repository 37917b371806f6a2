#include "image/nbd/request.h"

#include "image/nbd/option_data.h"

namespace vireo::image::nbd {
namespace {

u16 known_flags(Command command) {
  using namespace command_flag;
  switch (command) {
    case Command::read: return fua | df;
    case Command::write_zeroes: return fua | no_hole;
    case Command::block_status: return fua | req_one;
    case Command::write:
    case Command::trim:
    case Command::flush:
    case Command::disconnect: return fua;
  }
  return 0;
}

bool changes(Command command) {
  return command == Command::write || command == Command::trim || command == Command::write_zeroes;
}
bool is_known(Command command) {
  return changes(command) || command == Command::read || command == Command::flush ||
         command == Command::block_status;
}

}  // namespace

Result<Request> parse_request(ConstBytes bytes) {
  auto reader = PacketReader{bytes};
  if (TRY(reader.number<u32>()) != request_magic) return fail(Errc::corrupt, "nbd: this is no request");
  return Request{.flags = TRY(reader.number<u16>()),
                 .command = static_cast<Command>(TRY(reader.number<u16>())),
                 .cookie = TRY(reader.number<u64>()),
                 .offset = TRY(reader.number<u64>()),
                 .length = TRY(reader.number<u32>())};
}

u32 refusal(Request const& request, u64 disk_bytes, bool read_only) {
  using namespace error_number;
  if (!is_known(request.command)) return einval;
  if ((request.flags & ~known_flags(request.command)) != 0) return einval;
  if (request.command == Command::flush) return 0;
  if (changes(request.command) && read_only) return eperm;
  if (request.length == 0) return einval;
  auto const inside = request.offset <= disk_bytes && request.length <= disk_bytes - request.offset;
  if (!inside) return changes(request.command) ? enospc : einval;
  if (request.command == Command::read && request.length > largest_payload) return eoverflow;
  return 0;
}

u32 error_number_of(Errc code) {
  switch (code) {
    case Errc::invalid: return error_number::einval;
    case Errc::unsupported: return error_number::enotsup;
    case Errc::no_space: return error_number::enospc;
    case Errc::denied: return error_number::eperm;
    case Errc::gone: return error_number::eshutdown;
    case Errc::corrupt:
    case Errc::busy:
    case Errc::io:
    case Errc::not_found: return error_number::eio;
  }
  return error_number::eio;
}

Errc errc_of_number(u32 number) {
  switch (number) {
    case error_number::eperm: return Errc::denied;
    case error_number::einval:
    case error_number::eoverflow: return Errc::invalid;
    case error_number::enospc: return Errc::no_space;
    case error_number::enotsup: return Errc::unsupported;
    case error_number::eshutdown: return Errc::gone;
    default: return Errc::io;
  }
}

}  // namespace vireo::image::nbd
