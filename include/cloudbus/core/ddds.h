#pragma once
#include <cstdint>
#include <string>
#include "cloudbus/core/time.h"
namespace cloudbus { struct NaptrRecord { std::uint16_t order, preference; std::string flags, services, regexp, replacement; Duration ttl; }; }
