#ifndef AIOPCAP_RECORDS_H
#define AIOPCAP_RECORDS_H

#include <pcap/pcap.h>

#include "batch.h"

/* Why a packet cannot be written. */
enum {
    AIOPCAP_ROW_FINE = 0,
    AIOPCAP_ROW_OUTSIDE = 1,     /* its bytes are not in the buffer */
    AIOPCAP_ROW_LENGTHS = 2,     /* captured more than there was on the wire */
    AIOPCAP_ROW_SNAPLEN = 3,     /* longer than the file's snaplen */
    AIOPCAP_ROW_TIME = 4         /* before 1970, or after 2106-02-07T06:28:15 */
};

int aiopcap_check_rows(const aiopcap_batch *batch, uint32_t snaplen, uint32_t *row,
                       size_t *record_bytes);
uint32_t aiopcap_encode_rows(const aiopcap_batch *batch, uint32_t first, uint32_t end,
                             int nanoseconds, uint8_t *out, size_t room, size_t *used);
size_t aiopcap_whole_records(const uint8_t *records, size_t length, uint32_t most);
uint32_t aiopcap_filter_rows(const struct bpf_program *filter, aiopcap_batch *batch);

#endif
