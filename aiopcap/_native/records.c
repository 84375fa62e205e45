/* Rows of a batch as pcap records, in this machine's byte order, and what can be said of rows. */
#include "records.h"

#include <string.h>

#include "wire.h"

enum { RECORD_HEADER = 16 };

static int check_row(const aiopcap_batch *batch, uint32_t row, uint32_t snaplen)
{
    uint32_t captured = batch->captured_lengths[row];

    if (batch->offsets[row] > batch->used || captured > batch->used - batch->offsets[row])
        return AIOPCAP_ROW_OUTSIDE;
    if (captured > batch->wire_lengths[row])
        return AIOPCAP_ROW_LENGTHS;
    if (captured > snaplen)
        return AIOPCAP_ROW_SNAPLEN;
    /* Seconds are 32 bits, unsigned. */
    if (batch->timestamps_ns[row] < 0
        || batch->timestamps_ns[row] > (int64_t)UINT32_MAX * 1000000000 + 999999999)
        return AIOPCAP_ROW_TIME;
    return AIOPCAP_ROW_FINE;
}

/* Why the first row that cannot be written cannot, and which it is; else the records' length. */
int aiopcap_check_rows(const aiopcap_batch *batch, uint32_t snaplen, uint32_t *row,
                       size_t *record_bytes)
{
    *record_bytes = 0;
    for (*row = 0; *row < batch->count; ++*row) {
        int fault = check_row(batch, *row, snaplen);
        if (fault != AIOPCAP_ROW_FINE)
            return fault;
        *record_bytes += RECORD_HEADER + (size_t)batch->captured_lengths[*row];
    }
    return AIOPCAP_ROW_FINE;
}

/* Write the records of the rows before end, from first on, while they fit; returns the next row. */
uint32_t aiopcap_encode_rows(const aiopcap_batch *batch, uint32_t first, uint32_t end,
                             int nanoseconds, uint8_t *out, size_t room, size_t *used)
{
    const uint32_t ns_per_fraction = nanoseconds ? 1 : 1000;
    uint32_t row;
    size_t at = 0;

    for (row = first; row < end && row < batch->count; row++) {
        uint32_t captured = batch->captured_lengths[row];
        uint64_t ns = (uint64_t)batch->timestamps_ns[row];
        uint32_t header[4];

        if (room - at < RECORD_HEADER || room - at - RECORD_HEADER < captured)
            break;
        header[0] = (uint32_t)(ns / 1000000000);
        header[1] = (uint32_t)(ns % 1000000000) / ns_per_fraction;
        header[2] = captured;
        header[3] = batch->wire_lengths[row];
        memcpy(out + at, header, sizeof header);
        memcpy(out + at + RECORD_HEADER, batch->data + batch->offsets[row], captured);
        at += RECORD_HEADER + captured;
    }
    *used = at;
    return row;
}

/*
 * How many of these bytes are whole records: where a file that could not grow must end.  A record
 * that says it has more than so many bytes captured is none.
 */
size_t aiopcap_whole_records(const uint8_t *records, size_t length, uint32_t most)
{
    size_t at = 0;

    while (length - at >= RECORD_HEADER) {
        uint32_t captured = aiopcap_u32(records + at + 8, 0);
        if (captured > most || length - at - RECORD_HEADER < captured)
            break;
        at += RECORD_HEADER + (size_t)captured;
    }
    return at;
}

/* Keep only the rows that pass, in order; returns how many. */
uint32_t aiopcap_filter_rows(const struct bpf_program *filter, aiopcap_batch *batch)
{
    uint32_t row, kept = 0;

    for (row = 0; row < batch->count; row++) {
        uint32_t offset = batch->offsets[row], captured = batch->captured_lengths[row];

        if (offset > batch->used || captured > batch->used - offset
            || !aiopcap_passes(filter, batch->data + offset, captured, batch->wire_lengths[row]))
            continue;
        batch->timestamps_ns[kept] = batch->timestamps_ns[row];
        batch->offsets[kept] = offset;
        batch->captured_lengths[kept] = captured;
        batch->wire_lengths[kept] = batch->wire_lengths[row];
        batch->interfaces[kept] = batch->interfaces[row];
        batch->options_lengths[kept] = batch->options_lengths[row];
        kept++;
    }
    batch->count = kept;
    return kept;
}
