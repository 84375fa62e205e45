#ifndef AIOPCAP_WIRE_H
#define AIOPCAP_WIRE_H

#include <stdint.h>
#include <string.h>

#include <pcap/pcap.h>

/* Numbers in a savefile: unaligned, and in the byte order of the machine that wrote them. */

static inline uint16_t aiopcap_u16(const uint8_t *at, int swapped)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return swapped ? __builtin_bswap16(value) : value;
}

static inline uint32_t aiopcap_u32(const uint8_t *at, int swapped)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return swapped ? __builtin_bswap32(value) : value;
}

static inline uint64_t aiopcap_u64(const uint8_t *at, int swapped)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return swapped ? __builtin_bswap64(value) : value;
}

static inline int aiopcap_passes(const struct bpf_program *filter, const uint8_t *data,
                                 uint32_t captured, uint32_t length)
{
    return filter == NULL || bpf_filter(filter->bf_insns, data, length, captured) != 0;
}

#endif
