#pragma once

#include "vocab/integers.h"

/// National Semiconductor PC16550D data sheet, chapter 8.
namespace vireo::device::uart_spec {

enum Register : u8 {
  ReceiverBuffer = 0,           // also transmitter holding; divisor low with DLAB
  InterruptEnable = 1,          // divisor high with DLAB
  InterruptIdentification = 2,  // FIFO control when written
  LineControl = 3,
  ModemControl = 4,
  LineStatus = 5,
  ModemStatus = 6,
  Scratch = 7,
};

enum InterruptEnableBit : u8 {
  ReceivedData = 1 << 0,
  TransmitterEmpty = 1 << 1,
  ReceiverLineStatus = 1 << 2,
  ModemStatusChange = 1 << 3,
};

enum Identification : u8 {
  IdModemStatus = 0x0,
  IdNone = 0x1,
  IdTransmitterEmpty = 0x2,
  IdReceivedData = 0x4,
  IdReceiverLineStatus = 0x6,
  IdCharacterTimeout = 0xC,
  FifosEnabled = 0xC0,
};

enum FifoControlBit : u8 { FifoEnable = 1 << 0, ResetReceiver = 1 << 1, ResetTransmitter = 1 << 2 };

enum LineControlBit : u8 { DivisorLatchAccess = 1 << 7 };

enum ModemControlBit : u8 { Dtr = 1 << 0, Rts = 1 << 1, Out1 = 1 << 2, Out2 = 1 << 3, Loopback = 1 << 4 };

enum LineStatusBit : u8 {
  DataReady = 1 << 0,
  Overrun = 1 << 1,
  HoldingEmpty = 1 << 5,
  Empty = 1 << 6,
};

enum ModemStatusBit : u8 {
  DeltaMask = 0x0F,
  TrailingRing = 1 << 2,
  ClearToSend = 1 << 4,
  DataSetReady = 1 << 5,
  RingIndicator = 1 << 6,
  DataCarrierDetect = 1 << 7,
};

inline constexpr u8 fifo_depth{16};

}  // namespace vireo::device::uart_spec
