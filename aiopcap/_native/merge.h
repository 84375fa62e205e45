#ifndef AIOPCAP_MERGE_H
#define AIOPCAP_MERGE_H

#include "batch.h"

/* One source of a merge, and how far its rows are merged. */
typedef struct {
    const aiopcap_batch *batch;
    uint32_t position;
    uint32_t linktype;
    uint32_t interface;         /* of all rows, where the batch has no column of them */
} aiopcap_lane;

int aiopcap_merge(aiopcap_lane *lanes, uint32_t count, uint32_t long_run, aiopcap_batch *out,
                  uint32_t *first, uint32_t *run);
void aiopcap_renumber(const uint32_t *numbers, uint32_t count, const uint32_t *known,
                      const uint32_t *new, uint32_t known_count, uint32_t other, uint32_t *out);

#endif
