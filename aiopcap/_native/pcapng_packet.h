#ifndef AIOPCAP_PCAPNG_PACKET_H
#define AIOPCAP_PCAPNG_PACKET_H

#include "savefile.h"

enum {
    BLOCK_SECTION = 0x0a0d0d0a,
    BLOCK_INTERFACE = 1,
    BLOCK_PACKET = 2,
    BLOCK_SIMPLE_PACKET = 3,
    BLOCK_STATISTICS = 5,
    BLOCK_ENHANCED_PACKET = 6
};

enum { OPTION_END = 0 };

/* A block is a head (type, length), a body, and the length again. */
enum { BLOCK_HEAD = 8, BLOCK_LEAST = 12, SECTION_LEAST = 28 };

int aiopcap_pcapng_packet(aiopcap_savefile *file, uint32_t type, uint8_t *body, size_t length,
                          size_t body_offset, aiopcap_batch *batch);

#endif
