#ifndef AIOPCAP_BLOCKS_H
#define AIOPCAP_BLOCKS_H

#include "batch.h"

/* What a batch's interface numbers become in a file: row i of both, in any order. */
typedef struct {
    const uint32_t *batch_numbers;
    const uint32_t *file_numbers;
    uint32_t count;
} aiopcap_numbering;

int aiopcap_check_block_rows(const aiopcap_batch *batch, uint32_t snaplen, uint32_t *row,
                             size_t *block_bytes);
size_t aiopcap_block_length(const aiopcap_batch *batch, uint32_t row);
uint32_t aiopcap_encode_blocks(const aiopcap_batch *batch, uint32_t first, uint32_t end,
                               const aiopcap_numbering *numbering, int nanoseconds, uint8_t *out,
                               size_t room, size_t *used);
size_t aiopcap_whole_blocks(const uint8_t *blocks, size_t length);

#endif
