#pragma once

namespace vireo::engine::soft {
struct Window;
}

/// What translated code needs of the host's thread.
namespace vireo::engine::soft::translate {

class Translator;

/// Before the first entry on each thread: exceptions of the host in translated code come back as exits.
void prepare_host_thread(Translator* translator);
void leave_host_thread(Translator const* translator);  // before its end
/// GS base of this thread.
void set_window_base(Window const* window);
bool host_has_avx();
/// FDP changes with unmasked exceptions only (SDM vol. 1, 8.1.8), so that it never holds a host's address.
bool host_keeps_x87_data_pointer();

}  // namespace vireo::engine::soft::translate
