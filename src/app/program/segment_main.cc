// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/daemon.h"

int main(int argc, char** argv) { return cloudbus::run_program(cloudbus::Role::Segment, argc, argv); }
