/* Rows of a batch as Enhanced Packet Blocks of pcapng, in this machine's byte order. */
#include "blocks.h"

#include <string.h>

#include "records.h"
#include "wire.h"

enum { ENHANCED_PACKET = 6, HEAD = 28, TRAILER = 4, LEAST = 12, END_OF_OPTIONS = 4 };

static size_t padded(size_t length)
{
    return (length + 3) & ~(size_t)3;
}

static size_t options_length(const aiopcap_batch *batch, uint32_t row)
{
    return batch->options_lengths == NULL ? 0 : batch->options_lengths[row];
}

/* How many bytes a row's block has. */
size_t aiopcap_block_length(const aiopcap_batch *batch, uint32_t row)
{
    size_t options = options_length(batch, row);

    return HEAD + padded(batch->captured_lengths[row])
           + (options ? padded(options) + END_OF_OPTIONS : 0) + TRAILER;
}

static int check_row(const aiopcap_batch *batch, uint32_t row, uint32_t snaplen)
{
    size_t captured = batch->captured_lengths[row], options = options_length(batch, row);
    size_t needed = options ? padded(captured) + options : captured;

    if (batch->offsets[row] > batch->used || needed > batch->used - batch->offsets[row])
        return AIOPCAP_ROW_OUTSIDE;
    if (captured > batch->wire_lengths[row])
        return AIOPCAP_ROW_LENGTHS;
    if (captured > snaplen)
        return AIOPCAP_ROW_SNAPLEN;
    if (batch->timestamps_ns[row] < 0)
        return AIOPCAP_ROW_TIME;
    return AIOPCAP_ROW_FINE;
}

/* Why the first row that cannot be written cannot, and which it is; else the blocks' length. */
int aiopcap_check_block_rows(const aiopcap_batch *batch, uint32_t snaplen, uint32_t *row,
                             size_t *block_bytes)
{
    *block_bytes = 0;
    for (*row = 0; *row < batch->count; ++*row) {
        int fault = check_row(batch, *row, snaplen);
        if (fault != AIOPCAP_ROW_FINE)
            return fault;
        *block_bytes += aiopcap_block_length(batch, *row);
    }
    return AIOPCAP_ROW_FINE;
}

/* The number that an interface of the batch has in the file; mostly that of the row before. */
static uint32_t file_number(const aiopcap_numbering *numbering, uint32_t number, uint32_t *recent)
{
    uint32_t i;

    if (*recent < numbering->count && numbering->batch_numbers[*recent] == number)
        return numbering->file_numbers[*recent];
    for (i = 0; i < numbering->count; i++) {
        if (numbering->batch_numbers[i] == number) {
            *recent = i;
            return numbering->file_numbers[i];
        }
    }
    return numbering->file_numbers[0];
}

static void encode_block(const aiopcap_batch *batch, uint32_t row, uint32_t number,
                         int nanoseconds, uint8_t *out, size_t length)
{
    const uint8_t *data = batch->data + batch->offsets[row];
    size_t captured = batch->captured_lengths[row], options = options_length(batch, row);
    uint64_t ns = (uint64_t)batch->timestamps_ns[row], ticks = nanoseconds ? ns : ns / 1000;
    uint32_t total = (uint32_t)length;
    uint32_t head[7] = {ENHANCED_PACKET, total, number, (uint32_t)(ticks >> 32), (uint32_t)ticks,
                        (uint32_t)captured, batch->wire_lengths[row]};

    memcpy(out, head, sizeof head);
    memcpy(out + HEAD, data, captured);
    memset(out + HEAD + captured, 0, length - HEAD - captured);
    if (options)
        memcpy(out + HEAD + padded(captured), data + padded(captured), options);
    memcpy(out + length - TRAILER, &total, sizeof total);
}

/*
 * Write the blocks of the rows before end, from first on, while they fit; returns the next row.
 * All rows have been checked, and the numbering has at least one row.
 */
uint32_t aiopcap_encode_blocks(const aiopcap_batch *batch, uint32_t first, uint32_t end,
                               const aiopcap_numbering *numbering, int nanoseconds, uint8_t *out,
                               size_t room, size_t *used)
{
    uint32_t row, recent = 0;
    size_t at = 0;

    for (row = first; row < end && row < batch->count; row++) {
        size_t length = aiopcap_block_length(batch, row);
        uint32_t number = numbering->file_numbers[0];

        if (length > room - at || length > UINT32_MAX)
            break;
        if (batch->interfaces != NULL)
            number = file_number(numbering, batch->interfaces[row], &recent);
        encode_block(batch, row, number, nanoseconds, out + at, length);
        at += length;
    }
    *used = at;
    return row;
}

/* How many of these bytes are whole blocks: where a file that could not grow must end. */
size_t aiopcap_whole_blocks(const uint8_t *blocks, size_t length)
{
    size_t at = 0;

    while (length - at >= LEAST) {
        uint32_t total = aiopcap_u32(blocks + at + 4, 0);
        if (total < LEAST || total > length - at)
            break;
        at += total;
    }
    return at;
}
