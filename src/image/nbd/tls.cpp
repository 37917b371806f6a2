#include "image/nbd/tls.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <mutex>

#include "host/file.h"
#include "host/socket.h"

namespace vireo::image::nbd {
namespace {

std::unexpected<Error> tls_error(std::string_view doing) {
  auto text = std::array<char, 256>{"no reason given"};
  auto const code = ::ERR_get_error();
  if (code != 0) ::ERR_error_string_n(code, text.data(), text.size());
  ::ERR_clear_error();
  return fail(Errc::denied, fmt::format("TLS: {}: {}", doing, text.data()));
}

using Session = std::unique_ptr<SSL, decltype(&::SSL_free)>;

/// OpenSSL takes one thread at a time for a connection, but never waits inside: the lock is free while the
/// socket is awaited, so that one thread may read while another writes.
class TlsStream final : public Stream {
 public:
  TlsStream(std::unique_ptr<Stream> below, Session session)
      : below_{std::move(below)}, session_{std::move(session)} {}

  Result<> handshake(u64 deadline_ns) {
    static_cast<void>(
        TRY(until_done("handshake", deadline_ns, [](SSL* session) { return ::SSL_do_handshake(session); })));
    return {};
  }
  Result<std::size_t> read_some(Bytes into, u64 deadline_ns) override {
    auto const size = static_cast<int>(std::min<std::size_t>(into.size(), 1u << 30));
    return until_done("receiving", deadline_ns,
                      [&](SSL* session) { return ::SSL_read(session, into.data(), size); });
  }
  Result<std::size_t> write_some(ConstBytes first, ConstBytes second, u64 deadline_ns) override {
    auto const part = first.empty() ? second : first;
    auto const size = static_cast<int>(std::min<std::size_t>(part.size(), 1u << 30));
    return until_done("sending", deadline_ns,
                      [&](SSL* session) { return ::SSL_write(session, part.data(), size); });
  }
  void hang_up() override { below_->hang_up(); }

 private:
  template <typename Act>
  Result<std::size_t> until_done(std::string_view doing, u64 deadline_ns, Act act) {
    while (true) {
      auto waits_for = short{POLLIN};
      {
        auto const lock = std::lock_guard{mutex_};
        ::ERR_clear_error();
        auto const count = act(session_.get());
        if (count > 0) return static_cast<std::size_t>(count);
        switch (::SSL_get_error(session_.get(), count)) {
          case SSL_ERROR_ZERO_RETURN: return 0;
          case SSL_ERROR_WANT_READ: break;
          case SSL_ERROR_WANT_WRITE: waits_for = POLLOUT; break;
          default: return tls_error(doing);
        }
      }
      if (!TRY(host::wait_for(below_->fd(), waits_for, deadline_ns))) {
        return fail(Errc::gone, "nbd: the peer does not go on");
      }
    }
  }

  std::unique_ptr<Stream> below_;
  std::mutex mutex_;
  Session session_;
};

Result<> load_certificate(SSL_CTX* context, std::string const& folder, std::string_view side) {
  auto const certificate = fmt::format("{}/{}-cert.pem", folder, side);
  auto const key = fmt::format("{}/{}-key.pem", folder, side);
  if (::SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) return tls_error(certificate);
  if (::SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) return tls_error(key);
  return {};
}

Result<> load_authority(SSL_CTX* context, std::string const& folder) {
  auto const authority = folder + "/ca-cert.pem";
  if (::SSL_CTX_load_verify_locations(context, authority.c_str(), nullptr) != 1) return tls_error(authority);
  ::SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return {};
}

}  // namespace

struct TlsContext::Keys {
  std::unique_ptr<SSL_CTX, decltype(&::SSL_CTX_free)> context{nullptr, ::SSL_CTX_free};

  static Result<std::unique_ptr<Keys>> make(SSL_METHOD const* method) {
    ::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to a socket as to any file
    auto keys = std::make_unique<Keys>();
    keys->context.reset(::SSL_CTX_new(method));
    if (!keys->context) return tls_error("context");
    ::SSL_CTX_set_min_proto_version(keys->context.get(), TLS1_2_VERSION);
    ::SSL_CTX_set_options(keys->context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    ::SSL_CTX_set_mode(keys->context.get(),
                       SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return keys;
  }
  Result<Session> session(Stream const& below) const {
    auto session = Session{::SSL_new(context.get()), ::SSL_free};
    if (!session || ::SSL_set_fd(session.get(), below.fd()) != 1) return tls_error("session");
    return session;
  }
};

TlsContext::TlsContext(std::unique_ptr<Keys> keys) : keys_{std::move(keys)} {}
TlsContext::~TlsContext() = default;

Result<std::unique_ptr<TlsContext>> TlsContext::server(TlsSettings const& settings) {
  auto keys = TRY(Keys::make(::TLS_server_method()));
  TRY(load_certificate(keys->context.get(), settings.folder, "server"));
  if (settings.verify_peer) TRY(load_authority(keys->context.get(), settings.folder));
  return std::unique_ptr<TlsContext>{new TlsContext{std::move(keys)}};
}

Result<std::unique_ptr<TlsContext>> TlsContext::client(TlsSettings const& settings) {
  auto keys = TRY(Keys::make(::TLS_client_method()));
  if (settings.folder.empty()) {
    if (::SSL_CTX_set_default_verify_paths(keys->context.get()) != 1)
      return tls_error("the system's authorities");
    ::SSL_CTX_set_verify(keys->context.get(), SSL_VERIFY_PEER, nullptr);
  } else {
    TRY(load_authority(keys->context.get(), settings.folder));
    auto const has_own = host::File::open(settings.folder + "/client-cert.pem", {}).has_value();
    if (has_own) TRY(load_certificate(keys->context.get(), settings.folder, "client"));
  }
  if (!settings.verify_peer) ::SSL_CTX_set_verify(keys->context.get(), SSL_VERIFY_NONE, nullptr);
  return std::unique_ptr<TlsContext>{new TlsContext{std::move(keys)}};
}

Result<std::unique_ptr<Stream>> TlsContext::accept(std::unique_ptr<Stream> stream, u64 deadline_ns) const {
  auto session = TRY(keys_->session(*stream));
  ::SSL_set_accept_state(session.get());
  auto encrypted = std::make_unique<TlsStream>(std::move(stream), std::move(session));
  TRY(encrypted->handshake(deadline_ns));
  return encrypted;
}

Result<std::unique_ptr<Stream>> TlsContext::connect(std::unique_ptr<Stream> stream, std::string const& host,
                                                    u64 deadline_ns) const {
  auto session = TRY(keys_->session(*stream));
  ::SSL_set_connect_state(session.get());
  auto* const parameters = ::SSL_get0_param(session.get());
  auto const is_address = ::X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str()) == 1;
  if (!is_address && !host.empty()) {
    auto name = host;
    ::SSL_ctrl(session.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data());
    ::SSL_set1_host(session.get(), host.c_str());
  }
  auto encrypted = std::make_unique<TlsStream>(std::move(stream), std::move(session));
  TRY(encrypted->handshake(deadline_ns));
  return encrypted;
}

}  // namespace vireo::image::nbd
