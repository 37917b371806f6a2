#pragma once

#include <memory>
#include <vector>

#include "image/nbd/nbd_address.h"
#include "image/nbd/spec.h"

namespace vireo::image::nbd {

/// What a server has agreed to.
struct ServerTerms {
  u64 bytes{};
  u16 flags{};  // transmission_flag
  u32 smallest_block{1};
  u32 largest_payload{nbd::largest_payload};
  bool structured{};
  bool tells_allocation{};  // base:allocation was chosen
  u32 allocation_context{};

  bool has(u16 flag) const { return (flags & flag) != 0; }
};

/// The client's half of the handshake for the disk of that name. `tls` is for encrypted addresses. The stream
/// may become an encrypted one.
Result<ServerTerms> greet_server(std::unique_ptr<Stream>& stream, Address const& address, TlsContext const* tls,
                                 u64 deadline_ns);

struct ListedExport {
  std::string name;
  std::string description;
};
/// What the server lists; it closes the connection then.
Result<std::vector<ListedExport>> list_exports(std::unique_ptr<Stream>& stream, Address const& address,
                                               TlsContext const* tls, u64 deadline_ns);

}  // namespace vireo::image::nbd
