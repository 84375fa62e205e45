/* Rows of several batches, brought into the order of their time stamps. */
#include "merge.h"

#include <string.h>

static int64_t head(const aiopcap_lane *lane)
{
    return lane->batch->timestamps_ns[lane->position];
}

/* The lane with the earliest head; of equal ones the first. */
static uint32_t first_lane(const aiopcap_lane *lanes, uint32_t count)
{
    uint32_t first = 0;

    for (uint32_t i = 1; i < count; i++)
        if (head(&lanes[i]) < head(&lanes[first]))
            first = i;
    return first;
}

/* How many rows of the lane that is first come before the heads of all others. */
static uint32_t run_of(const aiopcap_lane *lanes, uint32_t count, const aiopcap_lane *lane)
{
    const int64_t *times = lane->batch->timestamps_ns;
    int64_t last = INT64_MAX;
    uint32_t end;

    for (const aiopcap_lane *other = lanes; other < lanes + count; other++) {
        /* Where times are equal, lanes before it win.  Their heads are later: this does not wrap. */
        int64_t latest = other < lane ? head(other) - 1 : head(other);
        if (other != lane && latest < last)
            last = latest;
    }
    for (end = lane->position + 1; end < lane->batch->count && times[end] <= last; end++)
        ;
    return end - lane->position;
}

/* The bytes of a row, with its options behind them. */
static size_t row_bytes(const aiopcap_batch *batch, uint32_t row)
{
    uint32_t captured = batch->captured_lengths[row];
    uint32_t options = batch->options_lengths == NULL ? 0 : batch->options_lengths[row];

    return options == 0 ? captured : (((size_t)captured + 3) & ~(size_t)3) + options;
}

/* Copy so many rows, or as many as there is room for; -1 where bytes are outside the batch. */
static int copy_rows(aiopcap_lane *lane, uint32_t rows, aiopcap_batch *out)
{
    const aiopcap_batch *batch = lane->batch;

    for (; rows > 0; rows--, lane->position++) {
        uint32_t row = lane->position, offset = batch->offsets[row], copied = out->count;
        size_t length = row_bytes(batch, row);

        if (offset > batch->used || length > batch->used - offset)
            return -1;
        if (copied == out->capacity || length > out->size - out->used)
            break;
        out->timestamps_ns[copied] = batch->timestamps_ns[row];
        out->offsets[copied] = (uint32_t)out->used;
        out->captured_lengths[copied] = batch->captured_lengths[row];
        out->wire_lengths[copied] = batch->wire_lengths[row];
        out->interfaces[copied] =
            batch->interfaces == NULL ? lane->interface : batch->interfaces[row];
        out->options_lengths[copied] =
            batch->options_lengths == NULL ? 0 : batch->options_lengths[row];
        memcpy(out->data + out->used, batch->data + offset, length);
        out->used += length;
        out->count++;
    }
    return 0;
}

/*
 * Copy rows in order, until a lane is used up: what follows in that one decides what comes next.  It
 * ends before when there is no room, when rows of another link type are next, or a run of one lane
 * that is too long to be copied.
 *
 * Every lane has a row left, and out->size is below 4 GiB.  first is the lane that came first; where
 * nothing was copied, run is the number of rows that are to be taken from it as they are.  Returns
 * -1 where a row's bytes are outside its batch.
 */
int aiopcap_merge(aiopcap_lane *lanes, uint32_t count, uint32_t long_run, aiopcap_batch *out,
                  uint32_t *first, uint32_t *run)
{
    aiopcap_lane *lane = &lanes[first_lane(lanes, count)];
    uint32_t linktype = lane->linktype, rows = run_of(lanes, count, lane);

    *first = (uint32_t)(lane - lanes);
    *run = rows;
    out->count = 0;
    out->used = 0;
    while (rows < long_run && lane->linktype == linktype) {
        uint32_t end = lane->position + rows;

        if (copy_rows(lane, rows, out) < 0)
            return -1;
        if (lane->position < end || end == lane->batch->count)
            break;
        lane = &lanes[first_lane(lanes, count)];
        rows = run_of(lanes, count, lane);
    }
    return 0;
}

/* Another number for each: known ones are sorted and have their new ones, all others the other. */
void aiopcap_renumber(const uint32_t *numbers, uint32_t count, const uint32_t *known,
                      const uint32_t *new, uint32_t known_count, uint32_t other, uint32_t *out)
{
    uint32_t last = 0;
    int any = 0;

    for (uint32_t row = 0; row < count; row++) {
        uint32_t low = 0, high = known_count;

        if (any && numbers[row] == last) {
            out[row] = out[row - 1];
            continue;
        }
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            if (known[middle] < numbers[row])
                low = middle + 1;
            else
                high = middle;
        }
        out[row] = low < known_count && known[low] == numbers[row] ? new[low] : other;
        last = numbers[row];
        any = 1;
    }
}
