#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "vocab/guarded.h"
#include "vocab/integers.h"

namespace vireo::engine::soft {

/// What a vCPU's thread is asked to forget. `page` is the host's address of a guest page's first byte; null
/// means all pages.
class PageListener {
 public:
  virtual ~PageListener() = default;
  /// Host code made from this page. May be called in the middle of an instruction that slow paths carry out, so
  /// what is on the way back to such code must stay there to return to.
  virtual void drop_code(std::byte* page) = 0;
  virtual void drop_write_tags(std::byte* page) = 0;
  /// Guest-physical addresses lead elsewhere.
  virtual void forget_mappings() = 0;
  /// Any thread: somebody waits until the vCPU's thread has left code, or has entered it again.
  virtual void wanted() = 0;
};

/// Where vCPUs of one engine make each other forget pages. Once request() returns, no vCPU uses what it had of
/// the pages at the call.
///
/// A vCPU's thread is *in code* while it executes guest code in any tier: it then trusts its TLB and its
/// translations, and must neither block nor wait for a lock that somebody may hold over request(). Whatever may
/// block (a device, the split lock, sleeping) happens between leave_code() and enter_code().
class Rendezvous {
 public:
  enum class Request : u8 { drop_code, drop_write_tags, forget_mappings };

  /// One vCPU's part. Made before any vCPU runs. enter_code(), leave_code() and in_code() are its thread's.
  class Member {
   public:
    Member(Rendezvous& rendezvous, PageListener& listener);
    ~Member();
    Member(Member const&) = delete;
    Member& operator=(Member const&) = delete;

    /// Does first what others have asked for; false when there was any of it, so that what was looked up before
    /// may be gone. Also when it is in code already.
    bool enter_code() {
      in_code_.store(true, std::memory_order_relaxed);
      rendezvous_.order_entry();
      if (!pending_.load(std::memory_order_acquire)) [[likely]]
        return true;
      enter_after_mail();
      return false;
    }
    void leave_code() { in_code_.store(false, std::memory_order_release); }
    bool in_code() const { return in_code_.load(std::memory_order_relaxed); }

   private:
    friend class Rendezvous;
    struct Letter {
      std::byte* page;
      Request request;
    };
    struct Mail {
      std::vector<Letter> letters;
      u64 posted{};  // letters so far
    };
    static constexpr std::size_t most_letters{256};  // then they become one for all pages

    void enter_after_mail();
    void take_mail();
    void carry_out(Letter const& letter);
    u64 post(std::span<std::byte* const> pages, Request request);

    Rendezvous& rendezvous_;
    PageListener& listener_;
    std::atomic<bool> in_code_{};
    std::atomic<bool> pending_{};
    std::atomic<u64> taken_{};  // letters carried out
    Guarded<Mail, LockRank::vcpu> mail_;
  };

  Rendezvous();
  Rendezvous(Rendezvous const&) = delete;
  Rendezvous& operator=(Rendezvous const&) = delete;

  bool has_several() const { return members_.size() > 1; }

  /// Any thread; the caller holds no lock that a vCPU in code may wait for. `from` is the caller's own part, or
  /// null when no vCPU asks: it hears of the pages at once, and of others' requests while it waits.
  void request(Member* from, std::span<std::byte* const> pages, Request request);
  /// Runs `change` while no vCPU is in code; all forget their mappings before they enter it again. Any thread
  /// that is not in code itself, one at a time.
  void change_mappings(std::function<void()> const& change);

 private:
  /// Between a store of in_code and a load of pending.
  void order_entry() const {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (!expedited_) [[unlikely]]
      full_fence();
  }
  static void full_fence();
  void order_all_entries() const;
  template <typename Done>
  static void wait_for(Member& member, Done&& done);

  bool expedited_;              // the kernel's membarrier makes every thread's entry ordered when it matters
  std::atomic<bool> closed_{};  // nobody enters code
  std::vector<Member*> members_;
};

}  // namespace vireo::engine::soft
