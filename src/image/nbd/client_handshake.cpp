#include "image/nbd/client_handshake.h"

#include <fmt/format.h>

#include "image/nbd/option_data.h"

namespace vireo::image::nbd {
namespace {

constexpr u32 most_replies{4096};  // to one option

class Caller {
 public:
  Caller(std::unique_ptr<Stream>& stream, Address const& address, TlsContext const* tls, u64 deadline_ns)
      : stream_{stream}, address_{address}, tls_{tls}, deadline_{deadline_ns} {}

  Result<> begin() {
    auto const greeting = TRY(receive(18));
    auto reader = PacketReader{greeting};
    if (TRY(reader.number<u64>()) != init_magic) return fail(Errc::corrupt, "nbd: this is no NBD server");
    auto const magic = TRY(reader.number<u64>());
    auto const flags = TRY(reader.number<u16>());
    if (magic != option_magic || (flags & handshake_flag::fixed_newstyle) == 0) {
      return fail(Errc::unsupported, "nbd: the server speaks the old form of the protocol");
    }
    no_zeroes_ = (flags & handshake_flag::no_zeroes) != 0;
    auto const ours = u32{handshake_flag::fixed_newstyle} | (no_zeroes_ ? handshake_flag::no_zeroes : 0);
    TRY(write_all(*stream_, Packet{}.add(ours).bytes(), deadline_));
    if (!address_.encrypted) return {};
    TRY(send(Option::starttls, {}));
    if (TRY(answer(Option::starttls)).type != OptionReply::ack) {
      return fail(Errc::denied, "nbd: the server does not encrypt");
    }
    stream_ = TRY(tls_->connect(std::move(stream_), address_.host, deadline_));
    return {};
  }

  Result<ServerTerms> choose() {
    TRY(send(Option::structured_reply, {}));
    terms_.structured = TRY(answer(Option::structured_reply)).type == OptionReply::ack;
    if (terms_.structured) TRY(ask_for_allocation());
    auto const name = std::string_view{address_.name};
    TRY(send(Option::go, Packet{}
                             .add(static_cast<u32>(name.size()))
                             .add(name)
                             .add(u16{1})
                             .add(static_cast<u16>(Info::block_size))));
    for (auto replies = u32{0}; replies < most_replies; ++replies) {
      auto const reply = TRY(answer(Option::go));
      if (reply.type == OptionReply::ack) return check();
      if (reply.type == OptionReply::info) {
        TRY(take_info(reply.data));
        continue;
      }
      if (reply.type == OptionReply::err_unsup) return choose_by_name();
      return refused(reply, address_.name);
    }
    return fail(Errc::corrupt, "nbd: the server does not come to an end");
  }

  Result<std::vector<ListedExport>> list() {
    TRY(send(Option::list, {}));
    auto exports = std::vector<ListedExport>{};
    for (auto replies = u32{0}; replies < most_replies; ++replies) {
      auto const reply = TRY(answer(Option::list));
      if (reply.type == OptionReply::ack) {
        TRY(send(Option::abort, {}));
        return exports;
      }
      if (reply.type != OptionReply::server) return refused(reply, "list");
      auto reader = PacketReader{reply.data};
      auto name = TRY(reader.string());
      exports.push_back({std::move(name), TRY(reader.text(reader.rest().size()))});
    }
    return fail(Errc::corrupt, "nbd: the server does not come to an end");
  }

 private:
  struct Reply {
    OptionReply type{};
    std::vector<std::byte> data{};
  };

  Result<> ask_for_allocation() {
    auto const name = std::string_view{address_.name};
    auto const query = std::string_view{base_allocation};
    TRY(send(Option::set_meta_context, Packet{}
                                           .add(static_cast<u32>(name.size()))
                                           .add(name)
                                           .add(u32{1})
                                           .add(static_cast<u32>(query.size()))
                                           .add(query)));
    for (auto replies = u32{0}; replies < most_replies; ++replies) {
      auto const reply = TRY(answer(Option::set_meta_context));
      if (reply.type != OptionReply::meta_context) return {};
      auto reader = PacketReader{reply.data};
      auto const number = TRY(reader.number<u32>());
      if (TRY(reader.text(reader.rest().size())) != query) continue;
      terms_.allocation_context = number;
      terms_.tells_allocation = true;
    }
    return fail(Errc::corrupt, "nbd: the server does not come to an end");
  }

  Result<> take_info(ConstBytes data) {
    auto reader = PacketReader{data};
    auto const info = static_cast<Info>(TRY(reader.number<u16>()));
    if (info == Info::export_) {
      terms_.bytes = TRY(reader.number<u64>());
      terms_.flags = TRY(reader.number<u16>());
    }
    if (info == Info::block_size) {
      terms_.smallest_block = TRY(reader.number<u32>());
      static_cast<void>(TRY(reader.number<u32>()));
      terms_.largest_payload = std::min(TRY(reader.number<u32>()), nbd::largest_payload);
    }
    return {};
  }

  /// Servers that do not know GO.
  Result<ServerTerms> choose_by_name() {
    TRY(send(Option::export_name, Packet{}.add(std::string_view{address_.name})));
    auto const data = TRY(receive(no_zeroes_ ? 10 : 134));
    terms_.bytes = load_be<u64>(data.data());
    terms_.flags = load_be<u16>(data.data() + 8);
    return check();
  }

  Result<ServerTerms> check() const {
    auto const block = terms_.smallest_block;
    auto const is_power = block != 0 && (block & (block - 1)) == 0;
    if (!is_power || block > 65536 || terms_.largest_payload < block || terms_.bytes > ~u64{0} >> 1) {
      return fail(Errc::corrupt,
                  fmt::format("nbd: the server's disk of {} bytes in blocks of {} to {} makes no sense",
                              terms_.bytes, block, terms_.largest_payload));
    }
    return terms_;
  }

  std::unexpected<Error> refused(Reply const& reply, std::string_view what) const {
    auto why = std::string{};
    for (auto const each : ConstBytes{reply.data}.first(std::min<std::size_t>(reply.data.size(), 200))) {
      auto const letter = std::to_integer<char>(each);
      why += letter >= ' ' && letter <= '~' ? letter : '?';
    }
    switch (reply.type) {
      case OptionReply::err_unknown:
        return fail(Errc::not_found, fmt::format("nbd: no disk '{}': {}", what, why));
      case OptionReply::err_tls_reqd: return fail(Errc::denied, "nbd: the server wants TLS: nbds://");
      default:
        return fail(Errc::denied,
                    fmt::format("nbd: '{}' is refused ({:#x}): {}", what, static_cast<u32>(reply.type), why));
    }
  }

  Result<Reply> answer(Option option) {
    auto const head = TRY(receive(20));
    auto reader = PacketReader{head};
    auto const magic = TRY(reader.number<u64>());
    auto const about = TRY(reader.number<u32>());
    if (magic != option_reply_magic || about != static_cast<u32>(option)) {
      return fail(Errc::corrupt, "nbd: the server answers something else");
    }
    auto const type = static_cast<OptionReply>(TRY(reader.number<u32>()));
    auto const length = TRY(reader.number<u32>());
    if (length > largest_option) return fail(Errc::corrupt, fmt::format("nbd: an answer of {} bytes", length));
    return Reply{type, TRY(receive(length))};
  }
  Result<> send(Option option, Packet const& data) {
    auto const head =
        Packet{}.add(option_magic).add(static_cast<u32>(option)).add(static_cast<u32>(data.bytes().size()));
    return write_all(*stream_, head.bytes(), data.bytes(), deadline_);
  }
  Result<std::vector<std::byte>> receive(std::size_t count) {
    auto bytes = std::vector<std::byte>(count);
    TRY(read_all(*stream_, bytes, deadline_));
    return bytes;
  }

  std::unique_ptr<Stream>& stream_;
  Address const& address_;
  TlsContext const* tls_;
  u64 deadline_;
  ServerTerms terms_{};
  bool no_zeroes_{};
};

}  // namespace

Result<ServerTerms> greet_server(std::unique_ptr<Stream>& stream, Address const& address, TlsContext const* tls,
                                 u64 deadline_ns) {
  auto caller = Caller{stream, address, tls, deadline_ns};
  TRY(caller.begin());
  return caller.choose();
}

Result<std::vector<ListedExport>> list_exports(std::unique_ptr<Stream>& stream, Address const& address,
                                               TlsContext const* tls, u64 deadline_ns) {
  auto caller = Caller{stream, address, tls, deadline_ns};
  TRY(caller.begin());
  return caller.list();
}

}  // namespace vireo::image::nbd
