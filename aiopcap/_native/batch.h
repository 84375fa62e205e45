#ifndef AIOPCAP_BATCH_H
#define AIOPCAP_BATCH_H

#include <stddef.h>
#include <stdint.h>

/* The interface of a packet whose source does not say. */
#define AIOPCAP_NO_INTERFACE UINT32_MAX

/*
 * Packets as columns over one buffer.  The caller owns every array and gives their sizes; a reader
 * fills rows from 0 and sets count, and offsets are relative to data.  The columns of interfaces and
 * options may be NULL where rows are only read.
 */
typedef struct {
    int64_t *timestamps_ns;
    uint32_t *offsets;
    uint32_t *captured_lengths;
    uint32_t *wire_lengths;
    uint32_t *interfaces;
    uint32_t *options_lengths;  /* of what follows a packet's bytes, from the next multiple of 4 on */
    uint32_t capacity;
    uint32_t count;
    uint8_t *data;
    size_t size;
    size_t used;
} aiopcap_batch;

#endif
