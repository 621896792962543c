"""A Modbus TCP device of another make: every type in every byte order, holding and input registers with holes between
the values, coils and discrete inputs. Prints its port, then serves until it is ended."""

import asyncio
import logging

from pymodbus.client import ModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

TYPE = ModbusTcpClient.DATATYPE
# The same list stands in the test.
VALUES = [
    (TYPE.UINT16, 54321),
    (TYPE.INT16, -12345),
    (TYPE.UINT32, 4000000001),
    (TYPE.INT32, -2000000001),
    (TYPE.UINT64, 9007199254740991),
    (TYPE.INT64, -9007199254740991),
    (TYPE.FLOAT32, 1.02),
    (TYPE.FLOAT64, -273.15),
]
STRIDE = 6


def swapped(register):
    return (register & 0xFF) << 8 | register >> 8


def registers(base):
    """One value each STRIDE registers; the registers between do not exist."""
    out = []
    for i, (kind, value) in enumerate(VALUES):
        for j, order in enumerate(["ABCD", "CDAB", "BADC", "DCBA"]):
            words = "little" if order in ("CDAB", "DCBA") else "big"
            data = ModbusTcpClient.convert_to_registers(value, kind, word_order=words)
            if order in ("BADC", "DCBA"):
                data = [swapped(word) for word in data]
            out.append(SimData(base + (i * 4 + j) * STRIDE, values=data, datatype=DataType.REGISTERS))
    return out


def device(number):
    coils = [SimData(16, values=[True, False, True, True], datatype=DataType.BITS)]
    discrete = [SimData(0, values=[False, True], datatype=DataType.BITS)]
    return SimDevice(number, simdata=(coils, discrete, registers(0), registers(1000)))


async def main():
    server = ModbusTcpServer(context=[device(1), device(7)], address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


logging.disable(logging.CRITICAL)
asyncio.run(main())
