# SPDX-License-Identifier: Apache-2.0
"""Shows ids, streams and relays in gdb in one line each: `source tests/tools/gdb.py`. `print /r` shows them whole."""

import uuid

import gdb
import gdb.printing

LEG_SHIFT = 48  # kLegShift of stream.h


def enumerator(value):
    return str(value).rpartition("::")[2]


def owner(value):
    number = int(value)
    leg = number >> LEG_SHIFT
    return str(number & ((1 << LEG_SHIFT) - 1)) + (f" leg {leg}" if leg else "")


def uuid_text(value):
    elements = value["_M_elems"]
    return str(uuid.UUID(bytes=bytes(int(elements[i]) & 0xFF for i in range(16))))


def short_text(value):
    """A ShortText, one byte of length and the text. The standard library's pointer has its pointer deep inside."""
    pointer = value["bytes_"]["_M_t"]["_M_t"].cast(gdb.lookup_type("unsigned long"))
    at = gdb.Value(int(pointer)).cast(gdb.lookup_type("char").pointer())
    return at[1].address.string("utf-8", "replace", int(at[0]) & 0xFF) if int(pointer) else ""


class Owner:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        return owner(self.value)


class Uuid(Owner):
    def to_string(self):
        return uuid_text(self.value)


class Stream(Owner):
    def to_string(self):
        value = self.value
        words = [f"stream of {owner(value['owner'])}", f"sent={int(value['sent'])}/{int(value['send_limit'])}",
                 f"sending={enumerator(value['sending'])}", f"receiving={enumerator(value['receiving'])}"]
        return " ".join(words + [name for name in ("accepted", "wants", "queued") if value[name]])


class Relay(Owner):
    def to_string(self):
        value = self.value
        base = value.cast(gdb.lookup_type("cloudbus::Relay"))
        words = [f"{enumerator(value.type.strip_typedefs().unqualified())} {owner(base['id_'])}",
                 f"conversation={uuid_text(base['conversation_'])}", f"client={short_text(base['client_'])}",
                 f"peer={int(base['peer_'])}", f"stream={int(base['stream_'])}", f"stage={enumerator(base['stage_'])}"]
        flow = base["flow_"]
        words += [f"reading={enumerator(flow['reading_'])}", f"writing={enumerator(flow['writing_'])}"]
        flags = [field.name.rstrip("_") for field in flow.type.fields()
                 if field.type.name == "bool" and flow[field.name]]
        return " ".join(words + flags)


def is_relay(kind):
    """Relay, or a class that derives from it."""
    return kind.name == "cloudbus::Relay" or any(is_relay(field.type) for field in kind.fields() if field.is_base_class)


class Printers(gdb.printing.PrettyPrinter):
    """The ids are known by the names that they have in the source, the others by their class."""

    def __call__(self, value):
        name = value.type.unqualified().name
        if name in ("cloudbus::OwnerId", "cloudbus::Uuid"):
            return Owner(value) if name.endswith("OwnerId") else Uuid(value)
        kind = value.type.strip_typedefs().unqualified()
        if kind.code == gdb.TYPE_CODE_STRUCT and (kind.name or "").startswith("cloudbus::"):
            if kind.name == "cloudbus::Stream":
                return Stream(value)
            if is_relay(kind):
                return Relay(value)
        return None


gdb.printing.register_pretty_printer(None, Printers("cloudbus"), replace=True)
