#include "device/virtio/net/net.h"

#include "device/virtio/net/offload.h"

namespace vireo::device::virtio {
namespace {

using namespace spec;

constexpr u16 receive_queue{0};
constexpr u16 transmit_queue{1};
constexpr u32 class_code_ethernet{0x020000};
constexpr std::size_t shortest_frame{14};
constexpr std::size_t longest_frame{65550};
constexpr std::size_t inbox_frames{256};

u64 bit(u32 feature) { return u64{1} << feature; }

}  // namespace

Net::Net(std::shared_ptr<net::Port> port, NetOptions options)
    : port_{std::move(port)},
      options_{options},
      description_{.id = DeviceId::network,
                   .class_code = class_code_ethernet,
                   .name = "virtio-net",
                   .queue_sizes = {options.queue_size, options.queue_size}},
      state_{options.mac} {}

u64 Net::features() const {
  return bit(VIRTIO_NET_F_MAC) | bit(VIRTIO_NET_F_STATUS) | bit(VIRTIO_NET_F_MRG_RXBUF) |
         bit(VIRTIO_NET_F_CSUM) | bit(VIRTIO_NET_F_GUEST_CSUM) | bit(VIRTIO_NET_F_HOST_TSO4) |
         bit(VIRTIO_NET_F_HOST_TSO6);
}

void Net::read_config(u32 offset, Bytes into) const {
  read_config_struct(NetConfig{state_.mac, VIRTIO_NET_S_LINK_UP}, offset, into);
}

void Net::activate() {
  port_->set_receiver([this](ConstBytes frame) { return enqueue(frame); });
  transmit_waiting();
  receive_waiting();
}

void Net::queue_notified(u16 index) {
  if (index == transmit_queue)
    transmit_waiting();
  else
    receive_waiting();
}

void Net::quiesce() {
  port_->set_receiver(nullptr);
  inbox_.with([](Inbox& inbox) { inbox.posted = false; });
}

void Net::reset() {
  inbox_.with([](Inbox& inbox) { inbox = {}; });
  state_ = State{options_.mac};
}

// ---- driver to port ----

void Net::transmit_waiting() {
  consume(*transport_, transmit_queue, [&](Chain&& chain) {
    transmit(chain);
    transport_->queue(transmit_queue).push(chain, 0);
  });
  transport_->interrupt(transmit_queue);
}

void Net::transmit(Chain const& chain) {
  auto header = NetHeader{};
  auto const got = gather(chain.readable, 0, std::as_writable_bytes(std::span{&header, 1}));
  if (got != sizeof header) return transport_->fail("frame without a header");
  auto const bytes = chain.readable_bytes - sizeof header;
  if (bytes < shortest_frame || bytes > longest_frame) {
    ++counters_.refused;
    return;
  }
  frame_.resize(bytes);
  gather(chain.readable, sizeof header, frame_);
  auto const whole = finish_frame(header, frame_, [this](ConstBytes frame) { port_->send(frame); });
  ++(whole ? counters_.sent : counters_.refused);
}

// ---- port to driver ----

bool Net::enqueue(ConstBytes frame) {
  auto notify = false;
  auto const taken = inbox_.with([&](Inbox& inbox) {
    if (inbox.frames.size() >= inbox_frames) {
      inbox.refused = true;
      return false;
    }
    inbox.frames.emplace_back(frame.begin(), frame.end());
    notify = !std::exchange(inbox.posted, true);
    return true;
  });
  if (notify) transport_->post([this] { receive_waiting(); });
  return taken;
}

void Net::receive_waiting() {
  auto& queue = transport_->queue(receive_queue);
  inbox_.with([](Inbox& inbox) { inbox.posted = false; });
  queue.disable_notifications();
  for (;;) {
    // Only the executor takes frames out, so the first one stays where it is.
    auto const* const frame = inbox_.with([](Inbox& inbox) -> std::vector<std::byte> const* {
      return inbox.frames.empty() ? nullptr : &inbox.frames.front();
    });
    if (frame == nullptr) break;
    auto const delivery = deliver(*frame);
    if (delivery == Delivery::no_buffers) break;
    if (delivery == Delivery::hopeless) ++counters_.refused;
    inbox_.with([](Inbox& inbox) { inbox.frames.pop_front(); });
  }
  transport_->interrupt(receive_queue);
  auto const resume = inbox_.with([](Inbox& inbox) {
    return inbox.frames.size() <= inbox_frames / 2 && std::exchange(inbox.refused, false);
  });
  if (resume) port_->resume();
}

/// Pops chains that hold `bytes`. Too few: they go back, and the driver's next one notifies.
Result<Net::Delivery> Net::take_buffers(u64 bytes, std::vector<Chain>& chains) {
  auto& queue = transport_->queue(receive_queue);
  auto const mergeable = transport_->negotiated(VIRTIO_NET_F_MRG_RXBUF);
  auto slots = u32{0};
  for (auto room = u64{0}; room < bytes;) {
    auto chain = TRY(queue.pop());
    if (!chain) {
      if (queue.enable_notifications()) continue;
      for (; !chains.empty(); chains.pop_back()) queue.unpop(chains.back());
      return slots < queue.state().size ? Delivery::no_buffers : Delivery::hopeless;
    }
    if (chain->writable_bytes < sizeof(NetHeader))
      return fail(Errc::corrupt, "receive buffer too small for a header");
    room += chain->writable_bytes;
    slots += chain->slots;
    chains.push_back(std::move(*chain));
    if (!mergeable) break;
  }
  return Delivery::done;
}

Net::Delivery Net::deliver(ConstBytes frame) {
  auto chains = std::vector<Chain>{};
  auto const taken = take_buffers(sizeof(NetHeader) + frame.size(), chains);
  if (!taken) {
    transport_->fail(taken.error().what());
    return Delivery::no_buffers;
  }
  if (*taken != Delivery::done) return *taken;
  auto header = NetHeader{.num_buffers = static_cast<u16>(chains.size())};
  if (transport_->negotiated(VIRTIO_NET_F_GUEST_CSUM) && checksum_is_valid(frame)) {
    header.flags = VIRTIO_NET_HDR_F_DATA_VALID;
  }
  scatter(chains.front().writable, 0, std::as_bytes(std::span{&header, 1}));
  auto completions = std::vector<Completion>{};
  auto offset = u64{sizeof header};
  auto rest = frame;
  for (auto const& chain : chains) {
    auto const copied = scatter(chain.writable, offset, rest);
    completions.push_back({chain.id, chain.slots, static_cast<u32>(offset + copied)});
    transport_->queue(receive_queue).note_written(chain);
    rest = rest.subspan(copied);
    offset = 0;
  }
  if (!rest.empty()) {  // only without mergeable buffers: nothing of it counts
    completions.front().written = 0;
    ++counters_.refused;
  } else {
    ++counters_.received;
  }
  transport_->queue(receive_queue).push(completions);
  return Delivery::done;
}

}  // namespace vireo::device::virtio
