#pragma once

#include <memory>
#include <string>

#include "image/nbd/stream.h"

namespace vireo::image::nbd {

/// Files by the names that other NBD tools use: ca-cert.pem, server-cert.pem, server-key.pem, client-cert.pem,
/// client-key.pem in one folder.
struct TlsSettings {
  std::string folder;
  bool verify_peer{true};  // server: clients need a certificate of the CA; client: the server's is checked
};

/// One side's keys. TLS 1.2 or newer.
class TlsContext {
 public:
  static Result<std::unique_ptr<TlsContext>> server(TlsSettings const& settings);
  static Result<std::unique_ptr<TlsContext>> client(TlsSettings const& settings);
  ~TlsContext();

  /// Encrypts a connection; the stream must be a socket's.
  Result<std::unique_ptr<Stream>> accept(std::unique_ptr<Stream> stream, u64 deadline_ns) const;
  /// The server's certificate must be one for `host`.
  Result<std::unique_ptr<Stream>> connect(std::unique_ptr<Stream> stream, std::string const& host,
                                          u64 deadline_ns) const;

 private:
  struct Keys;
  explicit TlsContext(std::unique_ptr<Keys> keys);
  std::unique_ptr<Keys> keys_;
};

}  // namespace vireo::image::nbd
