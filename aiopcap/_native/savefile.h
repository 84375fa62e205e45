#ifndef AIOPCAP_SAVEFILE_H
#define AIOPCAP_SAVEFILE_H

#include <pcap/pcap.h>

#include "batch.h"

/* What a scan came back with.  Negative is final: the same answer comes again. */
enum {
    AIOPCAP_SCAN_MORE = 0,       /* everything complete is consumed; it wants more bytes */
    AIOPCAP_SCAN_FULL = 1,       /* the batch is full; more may be complete in these bytes */
    AIOPCAP_SCAN_INVALID = -1,   /* the bytes are not a savefile, or contradict themselves */
    AIOPCAP_SCAN_TRUNCATED = -2, /* the file ended inside a header, a record or a block */
};

enum { AIOPCAP_FORMAT_UNKNOWN = 0, AIOPCAP_FORMAT_PCAP = 1, AIOPCAP_FORMAT_PCAPNG = 2 };

enum { AIOPCAP_ERROR_TEXT = 256 };

typedef struct {
    uint16_t linktype;
    uint32_t snaplen;
    int binary_resolution;      /* the units are 2^-exponent s, else 10^-exponent s */
    uint32_t exponent;
    int64_t offset_seconds;
} aiopcap_interface;

/* A push parser: it is handed bytes, and knows neither files nor waiting. */
typedef struct {
    int format;
    int ready;                  /* link type and snaplen are known; packets may follow */
    int swapped;
    uint16_t major, minor;
    uint32_t linktype;          /* as in the file: a LINKTYPE_ value */
    uint32_t snaplen;
    uint32_t checksum_bits;     /* pcap: what the link type field says of frame checksums */
    uint32_t digits;            /* of a second, in the time stamps: 6 or 9 */

    uint32_t record_header;     /* pcap: 16, or 24 in the modified format */
    int lengths_swapped;

    aiopcap_interface *interfaces;      /* pcapng: of this section */
    uint32_t interface_count, interface_capacity;
    uint32_t largest_packet;    /* that a link type of the file allows */

    /* pcapng: of the last scan */
    uint32_t rows_linktype;     /* all rows' */
    int rows_have_options;
    uint8_t *kept;              /* blocks that tell of sections and interfaces, as in the file */
    size_t kept_size, kept_capacity;

    uint64_t skipped_blocks;    /* of other types */

    int status;
    char error[AIOPCAP_ERROR_TEXT];
} aiopcap_savefile;

aiopcap_savefile *aiopcap_savefile_new(void);
void aiopcap_savefile_free(aiopcap_savefile *file);
int aiopcap_savefile_scan(aiopcap_savefile *file, uint8_t *data, size_t length, int at_end,
                          aiopcap_batch *batch,
                          size_t *consumed, size_t *wanted);

/* Shared by the two formats. */
int aiopcap_savefile_fail(aiopcap_savefile *file, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
uint32_t aiopcap_savefile_limit(uint32_t linktype, uint32_t snaplen);
int aiopcap_pcap_scan(aiopcap_savefile *file, uint8_t *data, size_t length, int at_end,
                      aiopcap_batch *batch, size_t *consumed,
                      size_t *wanted);
int aiopcap_pcapng_scan(aiopcap_savefile *file, uint8_t *data, size_t length, int at_end,
                        aiopcap_batch *batch, size_t *consumed,
                        size_t *wanted);

#endif
