#pragma once

#include "machine/control/verb_table.h"

namespace vireo::machine {

class Machine;

/// What the control socket does with a machine, which outlives the table.
void add_machine_verbs(VerbTable& verbs, Machine& machine);
void add_screen_verbs(VerbTable& verbs, Machine& machine);

}  // namespace vireo::machine
